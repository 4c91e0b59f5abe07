"""Faults planted in the engine that the rounds of several processes must find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from banken_supervisor.engine import (
    admission,
    engine,
    lifecycle,
    members,
    message_kinds,
    process_lifecycle,
    restore,
    verdicts,
)
from banken_supervisor.engine.members import extend, keep
from banken_supervisor.engine.message_kinds import MessageKinds
from banken_supervisor.engine.record import Member, Record
from banken_supervisor.engine.table import Table

MODULES = (admission, engine, lifecycle, members, message_kinds, process_lifecycle, restore, verdicts)


@dataclass(frozen=True)
class Fault:
    """A mistake. ``seen_as``: the kinds of finding that it may be."""

    says: str
    owner: Any
    """a class; or the module, and then the name is replaced wherever it was imported"""
    name: str
    instead: Any
    seen_as: tuple[str, ...]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Inside, the engine has the fault."""
        right = getattr(self.owner, self.name)
        modules = [each for each in MODULES if hasattr(each, self.name)]
        places = modules if self.owner is members else [self.owner]
        with ExitStack() as stack:
            for place in places:
                stack.enter_context(patch.object(place, self.name, self.instead))
            assert getattr(self.owner, self.name) is not right
            yield


def _nothing(*args: Any, **more: Any) -> None:
    pass


def _never(*args: Any, **more: Any) -> bool:
    return False


def _for_all(self: MessageKinds, record: Record, message: Any, now: float, out: list[Any]) -> None:
    if record.is_judged:
        self._table.forget_frames(record)
        extend(record, now + message.args[0])
        self._table.mark_changed(record)
        self._table.arm(record)


def _kept_for_all(record: Record, member: Member) -> None:
    for each in (record.detailed().members or {}).values():
        keep(record, each)


def _with_time(right: Callable[..., None]) -> Callable[..., None]:
    def drop(record: Record, member: Member, now: float) -> None:
        right(record, member, now)
        record.fed_at = now
        for each in (record.detailed().members or {}).values():
            each.fed_at = now

    return drop


FAULTS = (
    Fault("Another process's word ends an incident.", members, "is_aside", _never, ("broken",)),
    Fault("An extension of one process is for all.", MessageKinds, "_extend", _for_all, ("missed",)),
    Fault("A feed of one process is one of all.", members, "keep", _kept_for_all, ("missed",)),
    Fault("Who is due first is not looked for.", members, "show_first", _nothing, ("missed", "false")),
    Fault("The end of one process gives the others time.", members, "drop", _with_time(members.drop), ("missed",)),
    Fault("A pause of several counts as silence.", members, "start_again", _nothing, ("false",)),
    Fault("Who fed once is judged.", Member, "joined", property(lambda one: one.words >= 1), ("false", "missed")),
    Fault("A restart forgets who fed.", members, "bring_back", _nothing, ("missed", "false", "broken")),
    Fault("What was idle made no progress.", members, "end_idle", _nothing, ("false",)),
    Fault("A process that left is watched on.", Table, "lose", _nothing, ("broken",)),
)
