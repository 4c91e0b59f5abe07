"""Faults planted between the parts of the product, each of which the whole simulation must find. ``FAULTS`` is the
table of them: what is wrong, whose promise to the next part is broken, and what it is found as.

``python -m simulation.whole_faults`` from ``tests/`` tries all.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from banken.client.callback_listener import CallbackListener
from banken.client.sender import Sender
from banken.client.zmq_client import Client
from banken_supervisor.engine import restore
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import Event, WatchProcess
from banken_supervisor.engine.incidents import Incidents
from banken_supervisor.engine.process_lifecycle import ProcessLifecycle
from banken_supervisor.engine.states import State
from banken_supervisor.journal.entries import IncidentClosed, IncidentRecord
from banken_supervisor.journal.write_queue import WriteQueue
from banken_supervisor.journal.writer import Journal
from banken_supervisor.outbox import checkpoints, outbox
from banken_supervisor.outbox.checkpoints import Checkpoints
from banken_supervisor.outbox.outbox import Outbox
from banken_supervisor.outbox.publisher import Publisher
from banken_supervisor.runtime.effect_runner import EffectRunner
from banken_supervisor.runtime.loop import Loop
from banken_supervisor.runtime.mailbox import Mailbox
from banken_supervisor.runtime.runtime_config import RuntimeConfig

from .whole import Report, simulate
from .whole_plan import Trouble, plan_of

SECONDS = 900.0
SEEDS = 12


@dataclass(frozen=True)
class Planted:
    """One fault. ``kinds``: what may be found; ``troubles``: what happens meanwhile, as weights."""

    says: str
    owner: Any
    name: str
    instead: Any
    """gets what it replaces first; or a value"""
    kinds: tuple[str, ...]
    troubles: tuple[str, ...] = ("hang", "kill-at", "kill-at")

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Inside, the product has it."""
        right, wrong = getattr(self.owner, self.name), self.instead
        if callable(wrong):

            def instead(*args: Any, **more: Any) -> Any:
                return wrong(right, *args, **more)

            with mock.patch.object(self.owner, self.name, instead):
                yield
        else:
            with mock.patch.object(self.owner, self.name, wrong):
                yield

    def seek(self) -> Report | None:
        """The first run that finds it."""
        for seed in range(SEEDS):
            with self.planted():
                report = simulate(seed, self.plan(seed), SECONDS)
            if any(each.kind in self.kinds for each in report.findings):
                return report
        return None

    def plan(self, seed: int) -> list[Trouble]:
        return plan_of(self.troubles, seed, SECONDS, 45)


# -- the wrong parts: what is replaced comes first ------------------------------------------------------------


def _nothing(right: Any, *args: Any, **more: Any) -> None:
    pass


def _at_once(right: Any, self: Outbox, do: Any, ticket: int = 0) -> None:
    do()


def _step_at_once(right: Any, self: EffectRunner, do: Any) -> None:
    do()


def _told_twice(right: Any, self: Publisher, event: Event) -> None:
    if event.name is not None and self.sequence % 7 == 6:
        self.sequence -= 1
    right(self, event)


def _too_early(right: Any, self: Journal, file: Any, files: Any, batch: Any) -> None:
    self._call(self._committed, batch[-1][0])
    right(self, file, files, batch)


def _without_steps(right: Any, *args: Any) -> Any:
    found = right(*args)
    return replace(found, open=[each._replace(steps=()) for each in found.open])


def _without_incidents(right: Any, *args: Any) -> Any:
    return replace(right(*args), open=[])


def _without_pauses(right: Any, *args: Any) -> Any:
    found = right(*args)
    return found._replace(state=State.ALIVE, left=None) if found.state is State.PAUSED else found


def _pause_by_the_wall(right: Any, entry: Any, incidents: int, clocks: Any) -> Any:
    until = entry.paused_until
    return right(entry, incidents, clocks)._replace(left=None if until is None else until - clocks._now.wall)


def _no_barrier(right: Any, self: Driver) -> int | None:
    if self.engine.verdicts.sweep(self.now, self.out):
        self.engine.verdicts.judge(self.now, self.now, self.out, 1000)
    return None


def _all_credited(right: Any, self: Driver, real: float, asked: float) -> float:
    return right(self, real, 1e9)  # type: ignore[no-any-return]


def _sent_anyway(right: Any, self: Sender, frame: bytes, wait: float = 0.0, *, insist: bool = False) -> bool:
    right(self, frame, wait, insist=insist)
    return True


def _without_the_end(right: Any, event: Event, seq: int, at: float) -> Any:
    return [each for each in right(event, seq, at) if not isinstance(each, IncidentClosed)]


def _without_the_incident(right: Any, event: Event, seq: int, at: float) -> Any:
    return [each for each in right(event, seq, at) if not isinstance(each, IncidentRecord)]


def _as_news(right: Any, self: Incidents, name: str, now: float) -> Any:
    found = right(self, name, now)
    return found and Event(
        found.type, found.name, {key: value for key, value in found.data.items() if key != "replay"}
    )


def _unwritten(right: Any, self: Checkpoints, changed: dict[str, None]) -> None:
    changed.clear()


def _seen_forgotten(right: Any, self: CallbackListener, event: Any) -> None:
    self._seen.clear()
    right(self, event)


def _no_watch(right: Any, self: EffectRunner, woke: float, effect: Any) -> None:
    if not isinstance(effect, WatchProcess):
        right(self, woke, effect)


def _judged_at_once(
    right: Any, self: ProcessLifecycle, process: Any, now: float, out: Any, status: int | None = None
) -> None:
    owned = [record for record in self._table if record.owner == process and record.is_judged]
    right(self, process, now, out, status)
    for record in owned:
        if record.details is not None and record.details.ended:
            self.judge_end(record, now, now, out)


def _dropped(right: Any, self: WriteQueue, batch: Any) -> None:
    self._taken_since = None


def _flag_kept(right: Any, self: Mailbox) -> Any:
    found = right(self)
    self._signalled = True
    return found


def _names_dropped(right: Any, self: RuntimeConfig, former: RuntimeConfig, targets: Any) -> None:
    right(self, former, targets)
    for name in former.callbacks:
        targets.callbacks.name(name, None)


def _not_left(right: Any, self: Any, linger: float) -> None:
    right(self, 0.0)


def _no_order(right: Any, self: Outbox) -> None:
    pending = self._pending
    if len(pending) > 1 and pending[-1].ticket <= self._durable:
        pending.reverse()
    right(self)


LIFE = ("hang", "kill-worker", "exit", "crash", "leave", "stop-worker", "stall", "stall-at")

FAULTS = (
    Planted("An event is told before it is on disk.", Outbox, "after_commit", _at_once, ("lost",)),
    Planted("The journal says that it has written before it has.", Journal, "_write", _too_early, ("lost",)),
    Planted("A step begins before its start is on disk.", EffectRunner, "_after_commit", _step_at_once,
            ("doubled", "order")),
    Planted("An event gets the number of the one before.", Publisher, "publish", _told_twice, ("doubled", "order")),
    Planted("Events are told in another order.", Outbox, "turn", _no_order, ("order",)),
    Planted("A restored ladder begins at its first step again.", checkpoints, "snapshot_from", _without_steps,
            ("doubled",)),
    Planted("A restored incident is forgotten.", checkpoints, "snapshot_from", _without_incidents,
            ("doubled", "missed", "lost")),
    Planted("An incident's opening is not written.", outbox, "_entries", _without_the_incident,
            ("lost", "doubled")),
    Planted("An incident's end is not written.", outbox, "_entries", _without_the_end, ("lost",)),
    Planted("An incident is repeated to a late listener as news.", Incidents, "replay", _as_news, ("doubled",)),
    Planted("A late listener is not told of the open incident.", Loop, "_welcome", _nothing, ("lost",)),
    Planted("A listener runs the callback for each repetition.", CallbackListener, "_on_event", _seen_forgotten,
            ("doubled",)),
    Planted("A restored pause has ended.", checkpoints, "_checkpoint_from", _without_pauses, ("false",),
            ("pause", "pause", "hang", "kill-at")),
    Planted("A restored pause ends by the clock on the wall.", checkpoints, "_checkpoint_from", _pause_by_the_wall,
            ("false", "missed"), ("pause", "pause", "kill-at", "clock")),
    Planted("No checkpoint is written.", Checkpoints, "_next", _unwritten, ("missed", "false", "doubled")),
    Planted("A new journal is not filled again.", Checkpoints, "_journal_changed", _nothing,
            ("missed", "lost", "doubled"), ("lose", "hang", "kill-at")),
    Planted("What could not be written is dropped.", WriteQueue, "give_back", _dropped, ("lost", "missed"),
            ("full", "failing", "hang", "kill-at")),
    Planted("Verdicts fall before the queue was read.", Driver, "decide", _no_barrier, ("false",), ("stall",)),
    Planted("A stall counts as silence.", Driver, "wake", _all_credited, ("false",), ("hang", "stall", "stall")),
    Planted("A new supervisor gives nobody time to come back.", restore, "RETURN_S", 0.0, ("false",)),
    Planted("A feed that was not sent opens the window.", Sender, "send", _sent_anyway, ("false", "missed"),
            ("cut", "cut", "kill-at", "no-descriptor")),
    Planted("A last word is not waited for.", Client, "_close", _not_left, ("lost", "false"),
            ("exit", "crash", "leave", "late")),
    Planted("The end of a process is judged before its last words are read.", ProcessLifecycle, "exited",
            _judged_at_once, ("false",), ("exit", "leave", "crash", "stall", "stall")),
    Planted("Processes are not watched.", EffectRunner, "_begin", _no_watch, ("missed",), LIFE),
    Planted("A message to the loop wakes it once only.", Mailbox, "take", _flag_kept, ("lost",), LIFE),
    Planted("The loop does not hear that a commit is done.", Outbox, "committed", _nothing, ("lost",)),
    Planted("A reload takes the callbacks' names away.", RuntimeConfig, "replace", _names_dropped, ("lost",),
            ("reload", "hang", "hang")),
)  # fmt: skip


def main() -> None:
    """Try all, or those whose text holds the first argument."""
    missed = 0
    for fault in FAULTS:
        if len(sys.argv) > 1 and sys.argv[1] not in fault.says:
            continue
        began = time.process_time()
        found = fault.seek()
        took = time.process_time() - began
        missed += found is None
        what = (
            "NOT FOUND"
            if found is None
            else f"{found.findings[0].kind} (seed {found.seed}): {found.findings[0].why}"
        )
        print(f"{took:5.1f} s  {fault.says}  {what}", flush=True)
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
