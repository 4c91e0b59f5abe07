"""Starts and stops programs in order: waves, group restarts and timeouts. programs.py decides which and why.

A wave starts or stops programs level by level. A start wave spawns a level when it waits for no program of the
level before. A stop wave signals a level when all programs of the level before have ended. A program that gets
another request leaves its wave. A group restart is a stop wave, a backoff and a start wave of the same programs.
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
from banken_supervisor.programs.engine.record import GroupRestart, Program, Rank, Wave, signal_number
from banken_supervisor.programs.engine.restart_budget import RestartBudgets
from banken_supervisor.programs.engine.states import ProgramState, ProgramTrigger

KILL_PATIENCE = 5.0
"""Seconds from SIGKILL until a program is reported as unkillable."""

SPAWN_PATIENCE = 10.0
"""Seconds that other programs wait for the spawn of one."""

_S, _T, _E = ProgramState, ProgramTrigger, ProgramEventType


class Sequencer:
    """Changes the state of the given programs and appends effects to ``out``. Used by ``Programs`` only."""

    def __init__(self, programs: dict[str, Program], budgets: RestartBudgets) -> None:
        self.out: list[ProgramEffect] = []
        self.grouping = Grouping()
        self._programs = programs
        self._budgets = budgets
        self._timers: list[tuple[float, int, Program | GroupRestart]] = []
        """an entry is valid while the ``due`` of its item equals the time of the entry"""
        self._timers_set = 0

    # -- starting and stopping ----------------------------------------------------------------

    def move_in_order(
        self, programs: list[Program], now: float, *, upward: bool, group_restart: GroupRestart | None = None
    ) -> None:
        """Spawn these QUEUED programs, the lowest level at once, or stop STOPPING ones, the highest at once."""
        rank = self.grouping.rank if upward else self._stop_rank
        wave = Wave(upward, ((rank(each.name), each.name) for each in programs), group_restart)
        former = _remove_from_waves(programs, upward_only=not upward)
        for program in programs:
            program.waves.append(wave)
        for each in (wave, *former):
            self._advance(each, now)

    def leave_waves(self, programs: Iterable[Program], now: float) -> None:
        """Remove these programs from their waves, so that no program waits for them."""
        for wave in _remove_from_waves(programs):
            self._advance(wave, now)

    def restart_together(self, programs: list[Program], not_before: float, why: str, now: float) -> None:
        """Stop those that are up; start all when all have stopped and ``not_before`` has come.

        If one of them takes part in another group restart, that one is merged into this one.
        """
        programs = self._with_group_restarts(programs)
        for program in programs:
            if program.group_restart is not None:
                not_before = max(not_before, program.group_restart.not_before)
            if program.state is _S.BACKOFF and program.due is not None:
                not_before = max(not_before, program.due)
        group_restart = GroupRestart(tuple(each.name for each in programs), not_before)
        # All join before any leaves a wave: an older group restart that completes now must find none of them.
        for program in programs:
            program.group_restart, program.again, program.ready = group_restart, False, False
            program.awaits = ()
        waiting, stopping = [], []
        for program in programs:
            if program.state in (_S.QUEUED, _S.BACKOFF):
                program.transition(_T.WAIT_FOR_GROUP, now)
                program.due = None
                waiting.append(program)
            else:
                if program.state is not _S.STOPPING:
                    program.why = why
                program.transition(_T.STOP, now)
                stopping.append(program)
        self.leave_waves(waiting, now)
        self.move_in_order(stopping, now, upward=False, group_restart=group_restart)

    def signal_if_turn(self, program: Program, now: float) -> None:
        """Send its stop signal if its turn has come. During a spawn: nothing; ``started`` calls this again."""
        if not program.process or program.signalled:
            return
        if not all(program.name in wave.waiting for wave in program.waves):
            return
        program.signalled = True
        self.out.append(SendSignal(program.name, signal.SIGCONT))  # a process in SIGSTOP acts on no other signal
        self.out.append(SendSignal(program.name, signal_number(program.spec.stop_signal)))
        self.set_timer(program, now + program.spec.stop_timeout)

    def now_ready(self, program: Program, now: float) -> None:
        """Others may start after it."""
        program.ready = True
        self.look_again(now)

    def look_again(self, now: float) -> None:
        """Start those that wait for others, all of which are ready by now."""
        for each in list(self._programs.values()):
            if each.state is _S.QUEUED and each.awaits:
                each.awaits = tuple(name for name in each.spec.after if not self._is_ready(name))
                if not each.awaits:
                    self._spawn_or_wait(each, now)

    # -- time ---------------------------------------------------------------------------------------

    def set_timer(self, item: Program | GroupRestart, when: float) -> None:
        """Set the only timer of ``item`` to ``when``."""
        item.due = when
        self._timers_set += 1
        heappush(self._timers, (when, self._timers_set, item))

    def next_due(self) -> float | None:
        """When the first timer expires; None: there is none."""
        while self._timers and self._timers[0][2].due != self._timers[0][0]:
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def due(self, now: float) -> None:
        """Handle every timer that expired by ``now``."""
        while (when := self.next_due()) is not None and when <= now:
            item = heappop(self._timers)[2]
            item.due = None
            if isinstance(item, GroupRestart):
                self._start_group(item, now)
            elif item.state is _S.BACKOFF:
                item.transition(_T.DUE, now)
                self.move_in_order([item], now, upward=True)
            else:
                self._timed_out(item, now)

    # -- events -------------------------------------------------------------------------------

    def emit(self, kind: ProgramEventType, program: Program, **data: object) -> None:
        """Append an event to the effects."""
        self.out.append(ProgramEvent(kind, program.name, data))

    # -- inside -------------------------------------------------------------------------------------

    def _advance(self, wave: Wave, now: float) -> None:
        """Go to the next level while the wave waits for no program."""
        while not wave.waiting:
            if not wave.levels:
                group_restart, wave.group_restart = wave.group_restart, None
                if group_restart is not None and group_restart.not_before <= now:
                    self._start_group(group_restart, now)
                elif group_restart is not None:
                    self.set_timer(group_restart, group_restart.not_before)
                return
            level = [self._programs.get(name) for name in wave.levels.pop()]
            present = [each for each in level if each is not None and wave in each.waves]  # others left the wave
            wave.waiting.update(each.name for each in present)
            for program in present:
                if wave.upward:
                    self._spawn_or_wait(program, now)
                elif program.is_overdue:  # that was told, and no timer would end a wait for it
                    wave.waiting.discard(program.name)
                    program.waves.remove(wave)
                else:
                    self.signal_if_turn(program, now)

    def _stop_rank(self, name: str) -> Rank:
        program = self._programs[name]
        if program.stop_rank is None:
            program.stop_rank = self.grouping.rank(name)
        return program.stop_rank

    def _spawn_or_wait(self, program: Program, now: float) -> None:
        """Its turn has come: it starts, unless one that it starts after is not ready."""
        program.awaits = tuple(name for name in program.spec.after if not self._is_ready(name))
        self.set_timer(program, now + SPAWN_PATIENCE)
        if program.awaits:
            self.emit(_E.WAITS, program, **{"for": list(program.awaits)})
            return
        program.transition(_T.TURN, now)
        program.leftovers = program.ready = False
        self._budgets.record_spawn(program.name, now)
        self.out.append(Spawn(program.name))

    def _is_ready(self, name: str) -> bool:
        """One that is not configured, which the config refuses, is waited for by nobody."""
        program = self._programs.get(name)
        return program is None or program.ready

    def _with_group_restarts(self, programs: list[Program]) -> list[Program]:
        found = {each.name: each for each in programs}
        for program in programs:
            for name in () if program.group_restart is None else program.group_restart.names:
                mate = self._programs.get(name)
                if mate is not None and mate.group_restart is program.group_restart:
                    found[name] = mate
        return list(found.values())

    def _start_group(self, group_restart: GroupRestart, now: float) -> None:
        starting = []
        for name in group_restart.names:
            program = self._programs.get(name)
            if program is None or program.group_restart is not group_restart:
                continue  # it has got another request since
            program.group_restart = None
            if program.state is _S.STOPPING:  # unkillable: it starts when its process has ended
                program.again = True
            else:
                program.transition(_T.DUE, now)
                starting.append(program)
        self.move_in_order(starting, now, upward=True)

    def _timed_out(self, program: Program, now: float) -> None:
        """A timeout: of the spawn, of the stop signal, or of SIGKILL."""
        if program.state is _S.QUEUED:
            pass  # it waits until others are ready
        elif program.process and not program.killed:
            program.killed = True
            self.emit(_E.KILLED, program, after=program.spec.stop_timeout)
            self.out.append(KillGroup(program.name))
            self.set_timer(program, now + KILL_PATIENCE)
            return
        elif program.process:
            self.emit(_E.UNKILLABLE, program, after=KILL_PATIENCE)
        else:
            self.emit(_E.SLOW, program, after=SPAWN_PATIENCE)
        # Nothing waits for it any more. It stays in waves in which its own turn has not come yet.
        waiting = [wave for wave in program.waves if program.name in wave.waiting]
        program.waves = [wave for wave in program.waves if wave not in waiting]
        for wave in waiting:
            wave.waiting.discard(program.name)
            self._advance(wave, now)


def _remove_from_waves(programs: Iterable[Program], *, upward_only: bool = False) -> list[Wave]:
    """Remove these programs from their waves. Returns the waves, each once; the caller then advances them.

    All are removed before any wave advances: a wave would spawn or signal those that are still in it.
    """
    left: dict[int, Wave] = {}
    for program in programs:
        for wave in tuple(program.waves):
            if wave.upward or not upward_only:
                left[id(wave)] = wave
                wave.waiting.discard(program.name)
                program.waves.remove(wave)
    return list(left.values())
