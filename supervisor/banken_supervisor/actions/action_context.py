"""What actions may ask of the supervisor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from banken.protocol.incidents import Incident
from banken.protocol.messages import ProcessIdentity
from banken_supervisor import evidence
from banken_supervisor.actions.target import ActionTarget
from banken_supervisor.observability.log_queue import log
from banken_supervisor.processes.peer_credentials import PeerCredentials
from banken_supervisor.processes.process_handles import ProcessHandles

MARGIN_S = 0.5
"""Seconds of a dump's time that are left for what comes after collecting."""


class ActionContext(ProcessHandles):
    """Called from the executor's threads, many at once. ``ProcessHandles`` has what concerns one process.

    ``callback``: calls what is bound to a name on this thread, and raises what it raises; LookupError: nothing is.
    ``restart``: has the loop restart a program; returns at once.
    ``directory``: the address's, where workers leave their dumps. ``peers``: who has connected; None: not known.
    """

    def __init__(
        self,
        directory: str,
        callback: Callable[[str, Incident], None],
        restart: Callable[[str], None],
        peers: PeerCredentials | None = None,
    ) -> None:
        super().__init__()
        self._peers = peers
        self._directory = directory
        self.callback = callback
        self.restart = restart
        self.last_output: Callable[..., list[str]] = lambda name, *, has_ended: []
        """the last lines that a program wrote; ``has_ended``: the process that has ended last. It reads the disk"""
        self.targets: Mapping[str, Sequence[str]] = {}
        """apprise URLs by the name of the target; replaced whole when the config changes"""
        self.withheld: Collection[str] = ()
        """variables of this process that the config's secrets are read from; no command inherits them"""

    def here(self, who: ProcessIdentity) -> bool:
        """Whether it is a process of this host and boot that said so itself: a pid in a feed proves nothing."""
        return super().here(who) and self.is_proved(who)

    def trust(self, who: ProcessIdentity) -> None:
        """A process that the supervisor started itself is known without having connected."""
        if self._peers is not None:
            self._peers.trust(who)

    def allow(self, who: ProcessIdentity) -> None:
        """A process of another user may be acted upon, whatever of that user names it."""
        if self._peers is not None:
            self._peers.allow(who)

    def is_proved(self, who: ProcessIdentity) -> bool:
        """Whether a process said itself that it is this one, or is trusted."""
        return self._peers is None or self._peers.is_proved(who)

    def speaks_for(self, pid: int, who: ProcessIdentity) -> bool:
        """Whether a message that came over a connection of the process ``pid`` may name ``who``; 0: unknown."""
        return self._peers is None or self._peers.speaks_for(pid, who)

    def collect(
        self, target: ActionTarget, seconds: float, recovered: Callable[[], bool] = lambda: False
    ) -> Mapping[str, Any]:
        """Evidence of what the process does, taken within so many seconds. Says so where no process is known.

        ``recovered``: whether it was fed since the verdict; what it does then is not where it was stuck.
        """
        incident = target.incident
        known = {
            "silence": incident.silence,
            "status": incident.status,
            "progress": incident.progress,
            "cause": incident.cause.value,
            "feeds": list(map(list, target.feeds)),
        }
        if target.who is None:
            headline = "no process is known: it was never fed, or by commands only"
            return {"headline": headline, "problems": [], "said": known}
        if super().here(target.who) and not self.is_proved(target.who):
            headline = f"pid {target.who.pid} is not looked at: a message named it, but that did not come from it"
            return {"headline": headline, "problems": [], "said": known}
        found = evidence.collect(
            target.who,
            address_directory=self._directory,
            seconds_max=max(0.1, seconds - MARGIN_S),
            scope=None if target.scope is None else target.scope._asdict(),
            recovered=recovered,
            verdict=incident.opened,
        )
        return {**found, "said": known}

    def summary(self, evidence_: Mapping[str, Any], lines: int) -> Sequence[str]:
        """The most useful lines of some evidence, at most so many."""
        return evidence.summary_lines(dict(evidence_), lines)

    def urls(self, target: str) -> Sequence[str]:
        """The apprise URLs of a notification target: secrets. LookupError: there is no such target."""
        try:
            return self.targets[target]
        except KeyError:
            raise LookupError(f"no notification target is called {target!r}") from None

    def log(self, level: int, text: str) -> None:
        """Write one line to the supervisor's log. It may wait for the log."""
        log.log(level, "%s", text)
