"""Programs on their way up and down: waves, rounds and stop timeouts. Why they move is decided in programs.py.

A wave goes level after level: upward each level is spawned when nobody of the one before is waited for; downward
each gets its stop signal when the one before is gone. Whoever is asked for something else leaves its wave. A round
is a downward wave, a wait, and an upward wave of the same programs.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from heapq import heappop, heappush

from banken_supervisor.programs.engine.effects import (
    KillGroup,
    ProgramEffect,
    ProgramEvent,
    ProgramEventType,
    SendSignal,
    Spawn,
)
from banken_supervisor.programs.engine.groups import Grouping
from banken_supervisor.programs.engine.record import Program, Round, Wave, signal_number
from banken_supervisor.programs.engine.restart_budget import Spending
from banken_supervisor.programs.engine.states import ProgramState, ProgramTrigger

KILL_PATIENCE = 5.0
"""Seconds after SIGKILL until a program counts as unkillable."""

SPAWN_PATIENCE = 10.0
"""Seconds that others wait for one program's spawn."""

_S, _T, _E = ProgramState, ProgramTrigger, ProgramEventType


class Moves:
    """Moves the programs of ``programs``, and appends what is to be done to ``out``. For ``Programs`` only."""

    def __init__(self, programs: dict[str, Program], spending: Spending) -> None:
        self.out: list[ProgramEffect] = []
        self.grouping = Grouping()
        self._programs = programs
        self._spending = spending
        self._timers: list[tuple[float, int, Program | Round]] = []
        """valid while the item's own ``due`` is the entry's time"""
        self._timers_set = 0

    # -- the way up and the way down ----------------------------------------------------------------

    def rise(self, programs: Iterable[Program], now: float) -> None:
        """Spawn these, which are QUEUED: the lowest level at once."""
        self._begin(list(programs), True, None, now)

    def fall(self, programs: Iterable[Program], now: float, round_: Round | None = None) -> None:
        """End these, which are STOPPING: the highest level at once."""
        self._begin(list(programs), False, round_, now)

    def leave_wave(self, programs: Iterable[Program], now: float) -> None:
        """Nobody waits for these any longer."""
        for wave in _take_out(programs):
            self._advance(wave, now)

    def go_round(self, programs: list[Program], not_before: float, why: str, now: float) -> None:
        """Take down those that are up; start all of them when all are gone and ``not_before`` has come.

        A round that one of them is in already becomes part of this one.
        """
        programs = self._with_rounds(programs)
        for program in programs:
            if program.round is not None:
                not_before = max(not_before, program.round.not_before)
            if program.state is _S.BACKOFF and program.due is not None:
                not_before = max(not_before, program.due)
        round_ = Round(tuple(each.name for each in programs), not_before)
        # All of them join before anybody leaves a wave: an older round that ends must find none of them.
        for program in programs:
            program.round, program.again = round_, False
        held, falling = [], []
        for program in programs:
            if program.state in (_S.QUEUED, _S.BACKOFF):
                program.move(_T.HOLD, now)
                program.due = None
                held.append(program)
            else:
                if program.state is not _S.STOPPING:
                    program.why = why
                program.move(_T.STOP, now)
                falling.append(program)
        self.leave_wave(held, now)
        self.fall(falling, now, round_)

    def signal_now(self, program: Program, now: float) -> None:
        """End it if its turn has come. One whose spawn is under way is ended when that is done."""
        if not program.process or program.signalled:
            return
        if not all(program.name in wave.waiting for wave in program.waves):
            return
        program.signalled = True
        self.out.append(SendSignal(program.name, signal.SIGCONT))  # a stopped process acts on no other signal
        self.out.append(SendSignal(program.name, signal_number(program.spec.stop_signal)))
        self.set_timer(program, now + program.spec.stop_timeout)

    # -- time ---------------------------------------------------------------------------------------

    def set_timer(self, item: Program | Round, when: float) -> None:
        """``item`` comes up at ``when``, and at no other time."""
        item.due = when
        self._timers_set += 1
        heappush(self._timers, (when, self._timers_set, item))

    def next_due(self) -> float | None:
        """When the first timer goes; None: there is none."""
        while self._timers and self._timers[0][2].due != self._timers[0][0]:
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def due(self, now: float) -> None:
        """Do all that was due by ``now``."""
        while (when := self.next_due()) is not None and when <= now:
            item = heappop(self._timers)[2]
            item.due = None
            if isinstance(item, Round):
                self._raise(item, now)
            elif item.state is _S.BACKOFF:
                item.move(_T.DUE, now)
                self.rise([item], now)
            else:
                self._overdue(item, now)

    # -- what is told -------------------------------------------------------------------------------

    def tell(self, kind: ProgramEventType, program: Program, **data: object) -> None:
        """One event, in the order of all effects."""
        self.out.append(ProgramEvent(kind, program.name, data))

    # -- inside -------------------------------------------------------------------------------------

    def _begin(self, programs: list[Program], upward: bool, round_: Round | None, now: float) -> None:
        wave = Wave(upward, ((self.grouping.rank(each.name), each.name) for each in programs), round_)
        former = _take_out(programs, upward_only=not upward)
        for program in programs:
            program.waves.append(wave)
        self._advance(wave, now)
        for each in former:
            self._advance(each, now)

    def _advance(self, wave: Wave, now: float) -> None:
        """Go on to the next level if nobody of this one is waited for; and so on."""
        while not wave.waiting:
            if not wave.levels:
                round_, wave.round = wave.round, None
                if round_ is not None:
                    self._all_down(round_, now)
                return
            level = [self._programs.get(name) for name in wave.levels.pop()]
            mine = [each for each in level if each is not None and wave in each.waves]  # others went elsewhere
            wave.waiting.update(each.name for each in mine)
            for program in mine:
                if wave.upward:
                    self._spawn(program, now)
                else:
                    self.signal_now(program, now)

    def _spawn(self, program: Program, now: float) -> None:
        program.move(_T.TURN, now)
        self._spending.made(program.name, now)
        self.set_timer(program, now + SPAWN_PATIENCE)
        self.out.append(Spawn(program.name))

    def _all_down(self, round_: Round, now: float) -> None:
        if round_.not_before <= now:
            self._raise(round_, now)
        else:
            self.set_timer(round_, round_.not_before)

    def _with_rounds(self, programs: list[Program]) -> list[Program]:
        found = {each.name: each for each in programs}
        for program in programs:
            for name in () if program.round is None else program.round.names:
                mate = self._programs.get(name)
                if mate is not None and mate.round is program.round:
                    found[name] = mate
        return list(found.values())

    def _raise(self, round_: Round, now: float) -> None:
        rising = []
        for name in round_.names:
            program = self._programs.get(name)
            if program is None or program.round is not round_:
                continue  # it was asked for something else meanwhile
            program.round = None
            if program.state is _S.STOPPING:  # nobody could wait for it: it starts when it is gone
                program.again = True
            else:
                program.move(_T.DUE, now)
                rising.append(program)
        self.rise(rising, now)

    def _overdue(self, program: Program, now: float) -> None:
        """Nobody answered in time: the system to a spawn, the program to its signal, or to SIGKILL."""
        if not program.process:
            self.tell(_E.SLOW, program, after=SPAWN_PATIENCE)
            self._let_others_go_on(program, now)
        elif not program.killed:
            program.killed = True
            self.tell(_E.KILLED, program, after=program.spec.stop_timeout)
            self.out.append(KillGroup(program.name))
            self.set_timer(program, now + KILL_PATIENCE)
        else:
            self.tell(_E.UNKILLABLE, program, after=KILL_PATIENCE)
            self._let_others_go_on(program, now)

    def _let_others_go_on(self, program: Program, now: float) -> None:
        # Where its own turn has not come yet it goes on waiting for others.
        waiting = [wave for wave in program.waves if program.name in wave.waiting]
        program.waves = [wave for wave in program.waves if wave not in waiting]
        for wave in waiting:
            wave.waiting.discard(program.name)
            self._advance(wave, now)


def _take_out(programs: Iterable[Program], *, upward_only: bool = False) -> list[Wave]:
    """All leave their waves before any of these goes on: it would take them along. The waves, each once."""
    left: dict[int, Wave] = {}
    for program in programs:
        for wave in tuple(program.waves):
            if wave.upward or not upward_only:
                left[id(wave)] = wave
                wave.waiting.discard(program.name)
                program.waves.remove(wave)
    return list(left.values())
