"""One round of names that several processes feed: the engine, its clock, and who talks to it (members.py)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, NamedTuple

from banken.protocol.messages import Declaration, Kind, ProcessIdentity
from banken_supervisor.engine.deadlines import TICKS_PER_SECOND
from banken_supervisor.engine.effects import Effect, RunStep, WatchProcess
from banken_supervisor.engine.ladder import Budget, Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.record import UNARMED
from restart_kit import House

from .mail import Finding
from .members_oracle import PROOFS, Oracle, other_feeders
from .members_plan import SECONDS, Deed, Plan

LADDER = Ladder((Step(do="log"), Step(do="kill", after=5.0, budget=Budget(2, 300.0))))
BEGIN = 1000.0
AGAIN_S = 0.5
"""After a restart a client says again that it is idle."""

KINDS = {
    "feed": Kind.FEED,
    "note": Kind.NOTE,
    "declare": Kind.DECLARE,
    "work": Kind.WORK,
    "idle": Kind.WORK,
    "extend": Kind.EXTEND,
    "pause": Kind.PAUSE,
    "resume": Kind.RESUME,
    "fail": Kind.FAIL,
    "release": Kind.RELEASE,
    "leave": Kind.LEAVING,
    "die": Kind.LEAVING,
}


class Report(NamedTuple):
    """What a round showed."""

    seed: int
    findings: list[Finding]
    verdicts: int
    words: int
    restarts: int
    tail: list[str]


@dataclass
class Round:
    """One round. The engine is a new one after each restart."""

    plan: Plan
    words: int = 0
    restarts: int = 0
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=200))

    def __post_init__(self) -> None:
        said = self.plan.said
        self.oracle = Oracle(said, tells_end=self.plan.tells_end)
        self.house = House(**{name: self._policy(word) for name, word in said.items() if self._has_policy})
        self.house.not_awaited = set(said)
        self.house.shelf.registry.clear()
        self._later: list[Deed] = []
        self._away: str | None = None
        """the supervisor does not run, and what becomes of the feeds"""
        self._unread: list[Deed] = []
        self._is_stalled = False
        self._begun: dict[int, ProcessIdentity] = {}
        self._live: dict[ProcessIdentity, int] = {}
        self._watched: set[ProcessIdentity] = set()
        self._ends: list[tuple[ProcessIdentity, int | None]] = []
        self._doomed: set[int] = set()
        self._idle: dict[tuple[int, str], bool] = {}
        self._seen = 0
        self._refusal: Any = None
        self._away_s = 0.0
        self.house.crash(0.0)
        self._wire()

    @property
    def _has_policy(self) -> bool:
        return self.plan.is_operators or self.plan.has_ladder

    def _policy(self, word: Declaration) -> Policy:
        ladder = LADDER if self.plan.has_ladder else Ladder(())
        return Policy(word, ladder=ladder, worker_declares=not self.plan.is_operators)

    def _wire(self) -> None:
        processes = self.house.engine.processes
        processes.lives = lambda process: process in self._live
        processes.has_ended = lambda process: process not in self._live
        processes.tells_end = lambda process: self.plan.tells_end
        self._seen = 0
        tell = self.house.engine.tell

        def noted(*args: Any, **more: Any) -> Any:
            self._refusal = tell(*args, **more)
            return self._refusal

        self.house.engine.tell = noted  # type: ignore[method-assign]

    def run(self, *, stop_at_finding: bool = True) -> Report:
        """All its deeds, then the end: everybody releases everything, and nothing is left."""
        deeds = deque(self.plan.deeds)
        end = max([SECONDS, *(each.at for each in deeds)])
        try:
            while not (stop_at_finding and self.oracle.findings):
                is_later = bool(self._later) and (not deeds or self._later[0].at <= deeds[0].at)
                if not (is_later or deeds):
                    break
                at = (self._later if is_later else deeds)[0].at
                if at > end:
                    break
                if self._until(BEGIN + at):
                    self._do(heappop(self._later) if is_later else deeds.popleft())
            if not self.oracle.findings:
                self._finish()
        except Exception as fault:  # whatever the engine raises is a finding
            self.oracle.find("broken", "", repr(fault))
        return Report(
            self.plan.seed, self.oracle.findings, self.oracle.verdicts, self.words, self.restarts, list(self.tail)
        )

    # -- time -------------------------------------------------------------------------------------------

    def _until(self, when: float) -> bool:
        """The engine judges whenever something is due, as its loop does. False: something else comes first now."""
        house = self.house
        if self._away is not None:
            return True
        while not self._is_stalled and not self.oracle.findings:
            due = house.engine.table.deadlines.next_due()
            if due is None or due >= when:
                break
            house.now = max(house.now, due)
            self._sweep()
            if self._later and BEGIN + self._later[0].at < when:
                return False
        house.now = max(house.now, when)
        if not self._is_stalled:
            self._sweep()
        return True

    def _sweep(self) -> None:
        house = self.house
        verdicts = house.engine.verdicts
        if verdicts.sweep(house.now, house.out):
            verdicts.judge(house.now, house.now, house.out)
        house.keep()
        armed = {
            record.name: None if record.armed == UNARMED else record.armed / TICKS_PER_SECOND
            for record in house.engine.table
        }
        self.oracle.swept(house.now, self._news(), armed)
        self._look()

    def _news(self) -> list[Effect]:
        """What the engine has told since; what it asks for is done."""
        found = self.house.out[self._seen :]
        self._seen = len(self.house.out)
        for effect in found:
            if isinstance(effect, RunStep) and effect.step.do == "kill" and effect.process in self._live:
                self._kill(effect.process)
            elif isinstance(effect, WatchProcess):
                self._watched.add(effect.process)
        return found

    def _look(self) -> None:
        """The engine's own counts agree with what there is."""
        table = self.house.engine.table
        found: dict[Any, int] = {}
        for record in table:
            found[record.state] = found.get(record.state, 0) + 1
            if record.is_down != (self.oracle.incident_of(record.name) is not None):
                self.oracle.find("broken", record.name, f"it is {record.state}, and its incident is another matter")
        if {state: count for state, count in table.states.items() if count} != found:
            self.oracle.find("broken", "", f"{table.states} are counted, there are {found}")

    # -- deeds ------------------------------------------------------------------------------------------

    def _do(self, deed: Deed) -> None:
        what = deed.what
        self.tail.append(f"{deed.at:9.3f} {what} {deed.who or ''} {deed.name} {deed.value or ''}")
        if what == "start":
            if deed.who not in self._begun:
                process = ProcessIdentity(b"bootboot", 100 + deed.who, 1000 + deed.who, b"aaaa")
                self._begun[deed.who] = process
                self._live[process] = deed.who
                self.oracle.live.add(process.pid)
        elif what in ("end", "unseen"):
            self._end(deed)
        elif what == "restart":
            if self._away is None:
                self._go_on()
                self._away, self._away_s = deed.name or "lost", deed.value
                self._after(deed.value, "back")
        elif what == "back":
            self._back()
        elif what == "stall":
            if self._away is None and not self._is_stalled:
                self._is_stalled = True
                self._after(deed.value, "go on")
        elif what == "go on":
            self._go_on()
        elif what == "reload":
            self._reload(deed)
        elif self._is_sayable(deed):
            if self._away is not None:
                if self._away == "kept" or what not in PROOFS:
                    self._unread.append(deed)
            elif self._is_stalled:
                self._unread.append(deed)
            else:
                self._say(deed)

    def _after(self, seconds: float, what: str, who: int = 0, name: str = "", value: float = 0.0) -> None:
        heappush(self._later, Deed(round(self.house.now - BEGIN + seconds, 3), what, who, name, value))

    def _is_sayable(self, deed: Deed) -> bool:
        if not deed.who:
            return True
        process = self._begun.get(deed.who)
        is_last = deed.what in ("leave", "release", "die")
        return process in self._live and (deed.who not in self._doomed or is_last)

    def _say(self, deed: Deed) -> None:
        house, what, name = self.house, deed.what, deed.name
        process = self._begun[deed.who] if deed.who else None
        watched = self.oracle.names.get(name)
        pid = 0 if process is None else process.pid
        if process is None and watched is None:
            return
        if (
            process is not None
            and what not in (*PROOFS, "declare")
            and (watched is None or pid not in watched.lives)
        ):
            return
        arguments: tuple[Any, ...] = {
            "note": (deed.value, None),
            "work": (deed.value, None),
            "idle": (None, None),
            "extend": (deed.value,),
            "pause": (deed.value,),
            "fail": ("it says so",),
            "leave": (None,),
            "die": ("ValueError",),
        }.get(what, ())
        declared = None if self.plan.is_operators or process is None else self.oracle.said[name]
        self._refusal = None
        house.say(KINDS[what], name, *arguments, who=process, declared=declared)
        is_refused = self._refusal is not None
        self.words += 1
        if what in PROOFS:
            self._idle[deed.who, name] = what == "idle"
        if what in ("leave", "die"):
            self._doomed.add(deed.who)
        self.oracle.heard(house.now, what, name, pid, deed.value, refused=is_refused, told=self._news())
        self._look()

    def _end(self, deed: Deed) -> None:
        process = self._begun.get(deed.who)
        if process is None or self._live.pop(process, None) is None:
            return
        self.oracle.live.discard(process.pid)
        if deed.what == "unseen":
            if process in self._watched and self._away is None:
                self.house.engine.processes.ended_unseen(process, self.house.now, self.house.out)
            return
        if process not in self._watched or self._away is not None:
            return
        self._ends.append((process, int(deed.value) if self.plan.tells_end else None))
        if not self._is_stalled:
            self._tell_ends()

    def _tell_ends(self) -> None:
        """Of the processes that have ended; what they sent before has been read."""
        house, ends, self._ends = self.house, self._ends, []
        for process, status in ends:
            house.engine.processes.exited(process, house.now, house.out, status)
            house.keep()
            self.oracle.ended(house.now, process.pid, status, self._news())
        owed = self.oracle.owed(ends[0][0].pid) if len(ends) == 1 else []
        house.now += 2 / TICKS_PER_SECOND  # then it is due
        self._sweep()
        house.now += 2 / TICKS_PER_SECOND  # what was due beside that
        self._sweep()
        for name in owed:
            if self.oracle.incident_of(name) is None:
                self.oracle.find("missed", name, f"process {ends[0][0].pid} ended with {ends[0][1]}")

    def _kill(self, process: ProcessIdentity) -> None:
        """By the ladder: it dies at once, ends in order, or ignores that for a while."""
        number = self._live[process]
        if number in self._doomed:
            return
        self._doomed.add(number)
        how = (number + self.restarts) % 4
        if how == 1:
            for name in self.plan.said:
                self._after(0.1, "leave", number, name)
        elif how == 2:
            for name in self.plan.said:
                self._after(0.1, "release", number, name)
        self._after(0.2 if how else 3.0, "end", number, "", 0 if how in (1, 2) else -9)

    def _go_on(self) -> None:
        """After a standstill what was said meanwhile is read before anything is judged."""
        if self._away is not None:
            return
        self._is_stalled = False
        self.house.keep()  # the loop does so in each turn
        unread, self._unread = self._unread, []
        for deed in unread:
            self._say(deed)
        if self._ends:
            self._tell_ends()
        elif unread:
            self._sweep()

    def _back(self) -> None:
        """Another supervisor begins."""
        house = self.house
        self._away = None
        self._watched.clear()
        self._ends.clear()
        self.restarts += 1
        house.crash(self._away_s)
        self._wire()
        kept = {record.name for record in house.engine.table if record.awaited}
        self.oracle.restarted(house.now, self._news(), kept)
        for process in [each for each in self._watched if each not in self._live]:
            house.engine.processes.gone(process, house.now)
            self.oracle.gone(house.now, process.pid)
        house.keep()
        self._watched.intersection_update(self._live)
        self._go_on()
        for (number, name), is_idle in self._idle.items():
            if is_idle:
                self._after(AGAIN_S, "idle", number, name)

    def _reload(self, deed: Deed) -> None:
        if self._away is not None or not self.plan.is_operators:
            return
        house, name = self.house, deed.name
        before = self.oracle.said[name]
        said = before._replace(timeout=deed.value) if deed.value else other_feeders(before)
        policy = house.operators[name] = self._policy(said)
        house.engine.rules.declare(name, policy)
        house.engine.reconsider()
        house.keep()
        self.oracle.reloaded(house.now, name, said, self._news())

    def _finish(self) -> None:
        """Everybody releases everything."""
        self._doomed.clear()
        if self._away is not None:
            self._back()
        self._go_on()
        for name in self.plan.said:
            self._say(Deed(0.0, "resume", 0, name))
            for number in self._begun:
                if self._begun[number] in self._live:
                    self._say(Deed(0.0, "release", number, name))
        for name in self.plan.said:
            self.house.say(Kind.RELEASE, name, who=None)
        self._news()
        self.oracle.names.clear()
        if not self.oracle.findings:
            self._until(self.house.now + 5.0)
        table = self.house.engine.table
        watched = [each.pid for each in self._begun.values() if table.watches(each)]
        states = {state: count for state, count in table.states.items() if count}
        left = [[record.name for record in table], watched, table.by_frame, states, table.deadlines.pop_due(1e9)]
        if any(left) or table.names_by_key:
            self.oracle.find("broken", "", f"all have released all, and there is left: {left}")
