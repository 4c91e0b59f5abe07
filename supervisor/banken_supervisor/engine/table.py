"""The table of watchdogs: every record, and what it is found by. Nothing is decided here.

``by_name`` finds a watchdog by its name, ``by_frame`` by the bytes of its plain feed, ``take_owned`` by the process
that it belongs to, ``deadlines`` by the time at which it is due.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from banken.protocol.messages import Declaration, Feeders, ProcessIdentity
from banken_supervisor.engine.allowance import NOTHING_ALLOWED
from banken_supervisor.engine.deadlines import Deadlines
from banken_supervisor.engine.effects import Effect, WatchProcess
from banken_supervisor.engine.ladder import StepKey
from banken_supervisor.engine.principal import KEY_PART
from banken_supervisor.engine.record import ENDED, Member, Record, deadline, standing
from banken_supervisor.engine.states import State
from banken_supervisor.engine.turns import Turns

POOL_FRAMES_MAX = 64
"""Feeds known by their bytes per pooled name; those of further processes are decoded each time."""

SHARED_MAX = 10_000
"""Equal declarations and incarnations that are kept once; beyond that many different ones sharing begins anew."""

SPENT_MAX = RELEASED_MAX = 10_000
"""Released names that are remembered, the latest: their budgets, and for the other members of a cluster."""

_IN_INCIDENTS = (State.ALIVE, State.EXPIRED)
"""Between these two the incident itself is the journal's entry: ten thousand verdicts are not written twice."""

_OWNED_SPARE = 64
"""A process's list is cleared of watchdogs that it lost when it lost so many more than it has."""

ProcessKey = tuple[bytes, int, int]
"""Boot, pid and start of a process."""


class Owned:
    """The watchdogs of one process, with some that it has lost. A dict would cost 80 bytes more for each."""

    __slots__ = ("live", "program", "records")

    def __init__(self) -> None:
        self.program: str | None = None
        """the program that started it, where that is known"""
        self.records: list[Record] = []
        self.live = 0
        """how many it still owns; never too many, so that a process that owns none is forgotten"""


class Table:
    """Records of watchdogs by name, bytes, owner and time."""

    def __init__(self) -> None:
        self.by_name: dict[str, Record] = {}
        self.turns = Turns(self.by_name)
        self.by_frame: dict[bytes, Record | Member] = {}
        self.deadlines = Deadlines()
        self.states: Counter[State] = Counter()
        self.shortest_timeout = inf
        """seconds; of all that were ever declared"""
        self.longest_frame = 0
        """bytes of the longest feed that is known by its bytes"""
        self.tracks_changes = False
        self.changed: dict[str, None] = {}
        """names whose checkpoint (snapshot.py) has changed, or that are watched no longer: the caller takes out
        what it has written. Empty unless ``tracks_changes``."""
        self.fed: dict[str, None] = {}
        """names whose last feed is to be written (last_feeds.py); as ``changed``"""
        self.checks_of: dict[str, tuple[str, ...]] = {}
        """by owner: the names of its checks (checks.py)"""
        self.spent: dict[str, Mapping[StepKey, list[float]]] = {}
        """by name: what a watchdog that was released had used up of its budgets"""
        self.keeps_released = False
        self.released_here: set[str] = set()
        """those of ``released`` of which an operator said it to this member of a cluster alone"""
        self.released_by_operator: set[str] = set()
        """those of ``released`` of which an operator said it, not the process that ended"""
        self.released: dict[str, float] = {}
        """when names were released that are not watched, the latest last; empty unless ``keeps_released``"""
        self.removals = 0
        """records that were removed so far"""
        self._owned: dict[ProcessIdentity, Owned] = {}
        self.names_by_key: Counter[bytes] = Counter()
        """how many watchdogs processes own, or share, by the first bytes of their boot id: by key, where they came
        in with one (principal.py)"""
        self._incarnations: dict[ProcessKey, dict[ProcessIdentity, None]] = {}
        """those of ``_owned``, by what they have in common but their random parts"""
        self._shared: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self.by_name)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.by_name.values())

    # -- records --------------------------------------------------------------------------------------

    def add(self, record: Record) -> None:
        """Watch it: WAITING, and not armed yet."""
        self.by_name[record.name] = record
        self._forget_released(record.name)
        self.states[record.state] += 1
        self.note_timeout(record.declaration)
        self.mark_changed(record)

    def remove(self, record: Record) -> None:
        """Watch it no longer; it has been moved to RELEASED."""
        self.turns.release(record.name)
        self.deadlines.disarm(record)
        self.clear_members(record)
        self._disown(record)
        self.states[State.RELEASED] -= 1
        self.removals += 1
        del self.by_name[record.name]

    def note_released(self, name: str, at: float, *, by_operator: bool = False) -> None:
        """For the other members of a cluster."""
        if self.keeps_released:
            by_operator |= name in self.released_by_operator  # until it is watched again
            self._forget_released(name)
            self.released[name] = at
            if by_operator:
                self.released_by_operator.add(name)
            if len(self.released) > RELEASED_MAX:
                self._forget_released(next(iter(self.released)))

    def _forget_released(self, name: str) -> None:
        self.released.pop(name, None)
        self.released_here.discard(name)
        self.released_by_operator.discard(name)

    def keep_spent(self, name: str, step_runs: Mapping[StepKey, list[float]]) -> None:
        """Who is released and watched again has no new budget."""
        self.spent.pop(name, None)
        if step_runs:
            self.spent[name] = step_runs
        if len(self.spent) > SPENT_MAX:
            del self.spent[next(iter(self.spent))]

    def note_timeout(self, declaration: Declaration) -> None:
        """``shortest_timeout`` takes account of this declaration."""
        self.shortest_timeout = min(self.shortest_timeout, declaration.timeout, declaration.grace)

    def move(self, record: Record, state: State) -> None:
        """Set its state, and count it in its groups. What is to be done about it is the caller's.

        Only an ALIVE watchdog is known by its bytes: any other one's next feed is looked at.
        """
        before = record.state
        if state is before:
            return
        if before is State.ALIVE:
            self.forget_frames(record)
        record.state = state
        self.states[before] -= 1
        self.states[state] += 1
        if before not in _IN_INCIDENTS or state not in _IN_INCIDENTS:
            self.mark_changed(record)
        if record.details is not None and record.details.groups:
            self.count_member(record)

    def count_member(self, record: Record) -> None:
        """Each of its groups counts it where it stands now, and is looked at in the next sweep."""
        details = record.details
        if details is None or not details.groups:
            return
        alive, starting = standing(record, details)
        were_alive, were_starting = details.counted
        details.counted = alive, starting
        for group in details.groups:
            quorum = group.quorum
            assert quorum is not None
            quorum.alive += alive - were_alive
            quorum.starting += starting - were_starting
            if record.is_down:
                quorum.down[record.name] = None
            else:
                quorum.down.pop(record.name, None)
            self.look_at_group(group)

    def await_feeds(self, record: Record) -> None:
        """Its worker is there: it is judged from now on. The caller arms it."""
        details = record.details
        if details is not None and (details.dormant or details.stopped_with is not None):
            details.dormant = False
            details.stopped_with = details.back_by = None
            self.mark_changed(record)
            self.count_member(record)

    def look_at_group(self, group: Record) -> None:
        """Have the next sweep look at it."""
        assert group.quorum is not None
        group.quorum.changed = True
        self.deadlines.arm(group, 0.0)

    def mark_changed(self, record: Record) -> None:
        """Its checkpoint has changed."""
        if self.tracks_changes:
            self.changed[record.name] = None

    def end_extension(self, record: Record) -> None:
        """An extension is over, and what a restart allowed: the checkpoint has it, and would bring it back."""
        details = record.details
        if details is None:
            return
        details.allowed = NOTHING_ALLOWED
        if details.extended_until is not None:
            details.extended_until = None
            self.mark_changed(record)

    def arm(self, record: Record) -> None:
        """Have the sweep look at it when it is due."""
        due = deadline(record)
        if due is not None:
            self.deadlines.arm(record, due)

    # -- by bytes -------------------------------------------------------------------------------------

    def know_frame(self, record: Record, frame: bytes, member: Member | None = None) -> None:
        """From now on this frame needs nothing but its time stored: the record's, or its process's."""
        fed = record if member is None else member
        if record.frame == frame:
            self.by_frame[frame] = fed
        elif record.declaration.feeders is not Feeders.LATEST and record.frame is not None:
            details = record.detailed()
            if frame not in details.frames:
                if len(details.frames) >= POOL_FRAMES_MAX:
                    return
                details.frames += (frame,)
            self.by_frame[frame] = fed
        else:
            if record.frame is not None:
                self.by_frame.pop(record.frame, None)
            record.frame = frame
            self.by_frame[frame] = fed
        self.longest_frame = max(self.longest_frame, len(frame))

    def forget_frames(self, record: Record) -> None:
        """Decode its next feed."""
        if record.frame is not None:
            self.by_frame.pop(record.frame, None)
            record.frame = None
        if record.details is not None and record.details.frames:
            for frame in record.details.frames:
                self.by_frame.pop(frame, None)
            record.details.frames = ()

    # -- by owner -------------------------------------------------------------------------------------

    def set_owner(self, record: Record, process: ProcessIdentity | None, out: list[Effect]) -> None:
        """The record belongs to this process from now on; a former owner may no longer feed it. None: to none, and
        what a former owner or member still says is out of date."""
        details = record.details
        if record.owner is not None:
            details = record.detailed()
            is_over = process is None or record.owner in (details.leaving or details.ended or ())
            details.displace(record.owner, ENDED if is_over else record.fed_at)
        if details is not None:
            details.leaving = details.ended = None
            if process is None:
                for member in details.members or ():
                    details.displace(member, ENDED)
                self.clear_members(record)
        self._disown(record)
        record.owner = process
        self.mark_changed(record)
        if process is not None:
            self.watch_end(record, process, out)

    def clear_members(self, record: Record) -> None:
        """Several processes fed it: none does any more, but for its owner."""
        if record.details is None:
            return
        members, record.details.members = record.details.members or (), None
        for member in members:
            if member != record.owner:
                self.lose(member)

    def watch_end(self, record: Record, process: ProcessIdentity, out: list[Effect]) -> None:
        """The end of this process concerns the record: its owner, or one of its members."""
        owned = self._owned.get(process)
        if owned is None:
            owned = self._owned[process] = Owned()
            self._incarnations.setdefault(process[:3], {})[process] = None
            out.append(WatchProcess(process))
        owned.records.append(record)
        self._count(process, owned, 1)
        if len(owned.records) > 2 * owned.live + _OWNED_SPARE:
            self._clear_lost(process, owned)

    def pass_on(self, record: Record, former: ProcessIdentity, process: ProcessIdentity, out: list[Effect]) -> None:
        """A member is known by another identity of the same process from now on."""
        self.lose(former)
        self.watch_end(record, process, out)
        self.mark_changed(record)

    def take_owned(self, process: ProcessIdentity) -> list[Record]:
        """The watchdogs of a process that has ended."""
        owned = self._owned.get(process)
        if owned is None:
            return []
        self._forget_process(process)
        return self._still_owned(process, owned)

    def owned(self, process: ProcessIdentity) -> list[Record]:
        """The watchdogs of a process."""
        owned = self._owned.get(process)
        return [] if owned is None else self._still_owned(process, owned)

    def assign(self, process: ProcessIdentity, program: str) -> list[Record]:
        """Note which program has started this process. The watchdogs that it owns."""
        owned = self._owned.get(process)
        if owned is not None:
            owned.program = program
        return self.owned(process)

    def watches(self, process: ProcessIdentity | None) -> bool:
        """Whether this process owns a watchdog and is not known to have ended."""
        return process in self._owned

    def incarnations(self, process: ProcessIdentity) -> list[ProcessIdentity]:
        """The identities of this process that own watchdogs: one, but for their random parts."""
        return list(self._incarnations.get(process[:3], ()))

    def names_of(self, process: ProcessIdentity) -> int:
        """How many watchdogs this process owns, or shares, by all of its identities."""
        return sum(self._owned[each].live for each in self._incarnations.get(process[:3], ()))

    def program_of(self, process: ProcessIdentity | None) -> str | None:
        """The program that has started this process, where that is known and it owns a watchdog."""
        owned = None if process is None else self._owned.get(process)
        return None if owned is None else owned.program

    def of_program(self, program: str) -> list[Record]:
        """The watchdogs of all processes that this program has started."""
        found = [(process, owned) for process, owned in self._owned.items() if owned.program == program]
        return [record for process, owned in found for record in self._still_owned(process, owned)]

    def _disown(self, record: Record) -> None:
        """A process that owns none any more is forgotten: nobody asks how it ends."""
        owner, record.owner = record.owner, None
        if owner is not None:
            self.lose(owner)

    def lose(self, process: ProcessIdentity) -> None:
        """One of its watchdogs is not this process's any more, neither as its owner nor as one of its members."""
        owned = self._owned.get(process)
        if owned is not None:
            self._count(process, owned, -1)
            if owned.live <= 0:
                self._clear_lost(process, owned)
                if not owned.records:
                    self._forget_process(process)

    def _count(self, process: ProcessIdentity, owned: Owned, more: int) -> None:
        owned.live += more
        self.names_by_key[process.boot[:KEY_PART]] += more

    def _forget_process(self, process: ProcessIdentity) -> None:
        owned = self._owned.pop(process)
        self._count(process, owned, -owned.live)
        if not self.names_by_key[process.boot[:KEY_PART]]:
            del self.names_by_key[process.boot[:KEY_PART]]
        same = self._incarnations[process[:3]]
        del same[process]
        if not same:
            del self._incarnations[process[:3]]

    def _clear_lost(self, process: ProcessIdentity, owned: Owned) -> None:
        owned.records = self._still_owned(process, owned)
        self._count(process, owned, len(owned.records) - owned.live)

    def _still_owned(self, process: ProcessIdentity, owned: Owned) -> list[Record]:
        by_name = self.by_name
        kept = dict.fromkeys(
            record.name
            for record in owned.records
            if by_name.get(record.name) is record and (record.owner == process or is_member(record, process))
        )
        return [by_name[name] for name in kept]

    # -- memory ---------------------------------------------------------------------------------------

    def share(self, value: Any) -> Any:
        """An equal value that is kept already: a worker with a thousand names says who it is a thousand times."""
        if len(self._shared) >= SHARED_MAX:
            self._shared.clear()
        return self._shared.setdefault(value, value)


def is_member(record: Record, process: ProcessIdentity) -> bool:
    """Whether this is one of several processes that feed it."""
    details = record.details
    return details is not None and details.members is not None and process in details.members
