"""Makes a supervisor a member of a cluster. Loaded only then: with it comes urllib3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from banken.address import Address
from banken.clock import wall
from banken_supervisor.actions.base import Action
from banken_supervisor.actions.job import Job
from banken_supervisor.actions.step_elsewhere import Other, StepElsewhere
from banken_supervisor.actions.target import ActionTarget
from banken_supervisor.control.leader_steps import HANDED, asked
from banken_supervisor.coordination.settings import ClusterSettings
from banken_supervisor.coordination.store_thread import StoreThread
from banken_supervisor.engine.record import Record
from banken_supervisor.journal import IncidentClosed
from banken_supervisor.journal.entries import HANDED_OVER
from banken_supervisor.runtime.cluster import Cluster
from banken_supervisor.runtime.effect_runner import EffectRunner
from banken_supervisor.runtime.incident_search import IncidentSearch
from banken_supervisor.runtime.loop import Loop
from banken_supervisor.runtime.members import Members, member
from banken_supervisor.runtime.steps_for_leader import StepsForLeader

if TYPE_CHECKING:
    from banken_supervisor.runtime.remote_access import RemoteAccess


def join(settings: ClusterSettings, loop: Loop, remote: RemoteAccess | None, listen: Sequence[Address]) -> None:
    """Make this loop's supervisor a member of a cluster, before its first turn. KeyRefused: a file cannot be used.

    ``remote``, ``listen``: how it lets other hosts in, and where; without, it neither asks nor answers others.
    """
    dispatcher, programs, post = loop.dispatcher, loop.programs, loop.mailbox.post
    pair = None if remote is None else remote.keys.pair
    address = settings.address or (listen[0].text if listen else "")
    own = member(settings.member, loop.run_id, address, "" if pair is None else pair[0].decode(), settings.ttl)

    def let_in(keys: dict[str, bytes]) -> None:
        if remote is not None:
            remote.let_members_in(keys)

    def make_members(store: StoreThread, limit: float, tell: Callable[[str, str], None]) -> Members:
        return Members(own, pair, store, post, let_in, limit, tell)

    def make(effects: EffectRunner) -> Cluster:
        return Cluster(settings, loop.run_id, loop.driver, post, effects.run_step, hand_over, make_members)

    def hand_over(name: str, incident: str) -> None:
        dispatcher.hand_over(name, incident)
        if loop.outbox is not None:  # its history ends here: whoever leads goes on with it
            loop.outbox.journal.record(IncidentClosed(incident, wall(), HANDED_OVER, 1))

    def is_local(record: Record) -> bool:
        policy = record.policy
        if policy is not None and policy.is_local is not None:
            return policy.is_local
        return is_here(record)

    def is_here(record: Record) -> bool:
        return record.name in programs or (record.owner is not None and not dispatcher.is_elsewhere(record.owner))

    def permits(target: ActionTarget) -> bool:
        permit = cluster.for_leader.permits(target)
        return cluster.terms.permits(target) if permit is None else permit

    def for_other(action: Action, target: ActionTarget) -> Action | None:
        """What has an action done by the member that has its process."""
        if action.name not in HANDED or target.fence is None:
            return None
        links = sorted(cluster.members.links.items())
        return StepElsewhere(action, asked(target, action.name), [
            Other(name, lambda link=link: link.is_up, link.connect) for name, link in links  # type: ignore[misc]
        ])  # fmt: skip

    loop.bind_cluster(make)
    assert loop.cluster is not None
    gate, cluster = loop.driver.engine.succession.gate, loop.cluster
    cluster.for_leader = StepsForLeader(loop.driver, lambda: cluster.view, dispatcher, is_here)
    cluster.end.for_leader, cluster.end.take_reports = cluster.for_leader, loop.messages.take_reports
    cluster.end.waits_for_others = lambda: dispatcher.executor.runs(StepElsewhere)
    cluster.incidents = IncidentSearch(
        None if loop.outbox is None else loop.outbox.find,
        lambda lane, work: loop.background.submit(Job(lane, work)), post, cluster.members.links,
    )  # fmt: skip
    dispatcher.executor.permits, dispatcher.fence_of = permits, cluster.terms.fence_of
    dispatcher.for_other = for_other
    gate.is_local, gate.may_act = is_local, lambda: cluster.view.may_act
