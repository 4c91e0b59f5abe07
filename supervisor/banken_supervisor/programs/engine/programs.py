"""All programs: what is asked of them and what becomes of them, decided; nothing here starts or ends a process.

An end that nobody asked for goes to ``_ended``: the restart policy, then the backoff, then the budgets (the
program's own and those of its groups), then the group's strategy. Who is to come up or go down is handed to
``Moves``. What was asked for is never counted. A requested start of a program that is stopped or given up begins
with a clean sheet: its failures are forgotten. A member that is down because it was stopped, is done or was given
up stays down whatever its group does.
"""

from __future__ import annotations

from collections.abc import Iterable

from banken_supervisor.engine.ladder import delay
from banken_supervisor.engine.policy import Group, ProgramSpec, Restart
from banken_supervisor.programs.engine.effects import ProgramEffect, ProgramEventType
from banken_supervisor.programs.engine.groups import Grouping
from banken_supervisor.programs.engine.moves import Moves
from banken_supervisor.programs.engine.record import Program, signal_number
from banken_supervisor.programs.engine.restart_budget import Spending
from banken_supervisor.programs.engine.states import IllegalStep, ProgramState, ProgramTrigger

PROGRAMS_MAX = 10_000

_S, _T, _E = ProgramState, ProgramTrigger, ProgramEventType

_ANOTHER_PROCESS = ("command", "environment", "directory", "user", "log", "dies_with_supervisor", "terminal")
"""Fields of a ProgramSpec: when one of them changes, the process that runs is not the one that is wanted."""


class UnknownProgram(LookupError):
    """No program has this name; the message says which there are."""


class Programs:
    """Every program of one supervisor. ``now`` is deadline time, in seconds, and never goes back.

    Each method gives what is to be done, in this order. ``random`` is in [0, 1).
    """

    def __init__(self) -> None:
        self._programs: dict[str, Program] = {}
        self._spending = Spending()
        self._moves = Moves(self._programs, self._spending)

    # -- what the operator says ---------------------------------------------------------------------

    def apply(self, specs: Iterable[ProgramSpec], groups: Iterable[Group], now: float) -> list[ProgramEffect]:
        """The operator's word, in force from now on. New programs are not started by this.

        One that is no longer named is stopped and forgotten; one whose process would be another is restarted if it
        is up; of one that differs otherwise the next decision follows the new word. ValueError, and nothing has
        changed, for a signal that does not exist or too many programs.
        """
        wanted = {spec.name: spec for spec in specs}
        if len(wanted) > PROGRAMS_MAX:
            raise ValueError(f"{len(wanted)} programs; at most {PROGRAMS_MAX} are allowed")
        for spec in wanted.values():
            signal_number(spec.stop_signal)
        self._moves.grouping = Grouping(wanted.values(), groups)
        changed = []
        for name, spec in wanted.items():
            program = self._programs.setdefault(name, Program(spec, now))
            up = program.state in (_S.STARTING, _S.RUNNING)
            if up and any(getattr(program.spec, field) != getattr(spec, field) for field in _ANOTHER_PROCESS):
                changed.append(program)
            program.spec = spec
            if program.leaving:  # it was on its way out, and is named again
                program.leaving, program.again = False, spec.autostart
        self._dismiss([each for each in self._programs.values() if each.name not in wanted], now)
        if changed:
            self._moves.go_round(changed, now, "its configuration changed", now)
        return self._effects()

    def start(self, names: str | Iterable[str], now: float) -> list[ProgramEffect]:
        """Start these, lower orders first; nothing happens to those that are up. UnknownProgram."""
        self._start(self._known(names), now)
        return self._effects()

    def stop(self, names: str | Iterable[str], now: float, why: str = "asked to stop") -> list[ProgramEffect]:
        """Stop these, higher orders first and the next when the former are gone. UnknownProgram."""
        self._stop(self._known(names), now, why)
        return self._effects()

    def restart(
        self, names: str | Iterable[str], now: float, why: str = "asked to restart", *, with_group: bool = False
    ) -> list[ProgramEffect]:
        """Stop these and start them when all are gone; start those that are down. UnknownProgram.

        ``with_group``: also those whose group's strategy starts them again when one of these ends.
        """
        chosen = self._known(names)
        if with_group:
            ending = [each for each in chosen if each.wanted]  # the start of one that is down concerns nobody else
            chosen = list(dict.fromkeys([*chosen, *(mate for each in ending for mate in self._affected(each))]))
        up = (_S.STARTING, _S.RUNNING)
        ending_any = any(each.state in up for each in chosen)
        round_: list[Program] = []
        rest: list[Program] = []
        for program in chosen:
            takes_part = ending_any and (program.wanted if with_group else program.state in up)
            (round_ if takes_part else rest).append(program)
        self._start(rest, now)
        if round_:
            self._moves.go_round(round_, now, why, now)
        return self._effects()

    # -- what the shell tells -----------------------------------------------------------------------

    def started(self, name: str, pid: int, now: float) -> list[ProgramEffect]:
        """The process that a ``Spawn`` asked for exists."""
        program = self._programs[name]
        program.move(_T.SPAWNED, now)
        program.process = True
        program.started_at = now
        program.due = None
        self._moves.tell(_E.STARTED, program, pid=pid)
        if program.state is _S.RUNNING:
            self._moves.leave_wave([program], now)
        else:
            self._moves.signal_now(program, now)
        return self._effects()

    def adopted(self, name: str, pid: int, now: float) -> list[ProgramEffect]:
        """A process of this program runs that a former supervisor had started."""
        program = self._programs[name]
        program.move(_T.ADOPTED, now)
        program.process = True
        program.started_at = now
        self._moves.tell(_E.ADOPTED, program, pid=pid)
        return self._effects()

    def failed(self, name: str, reason: str, now: float, random: float) -> list[ProgramEffect]:
        """The process that a ``Spawn`` asked for could not be made."""
        program = self._programs[name]
        if program.process:
            raise IllegalStep(f"{name}: a spawn failed, but there is a process")
        if program.state is _S.STOPPING:
            self._moves.tell(_E.FAILED, program, reason=reason, wanted=False)
            self._gone(program, None, now)
        else:
            self._moves.tell(_E.FAILED, program, reason=reason)
            self._ended(program, None, now, random)
        return self._effects()

    def exited(self, name: str, status: int | None, now: float, random: float) -> list[ProgramEffect]:
        """Its process ended. ``status``: exit status, minus the number of the signal, or None where unknown."""
        program = self._programs[name]
        if not program.process:
            raise IllegalStep(f"{name}: it exited, but there is no process")
        program.process = False
        if program.state is _S.STOPPING:
            self._gone(program, status, now)
            return self._effects()
        ran = now - program.started_at
        self._moves.tell(_E.EXITED, program, status=status, ran=ran)
        if ran >= program.stable_run:
            program.failures = 0
        self._ended(program, status, now, random)
        return self._effects()

    # -- what is due --------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """When ``due`` has something to do next; None: not before something is told."""
        return self._moves.next_due()

    def due(self, now: float) -> list[ProgramEffect]:
        """Do all that was due by ``now``."""
        self._moves.due(now)
        return self._effects()

    # -- what can be asked --------------------------------------------------------------------------

    def get(self, name: str) -> Program | None:
        """The record of one name; to be read only."""
        return self._programs.get(name)

    def all(self) -> Iterable[Program]:
        """Every record, in the order in which they became known; to be read only."""
        return self._programs.values()

    def __len__(self) -> int:
        return len(self._programs)

    # -- requests -----------------------------------------------------------------------------------

    def _start(self, programs: Iterable[Program], now: float) -> None:
        rising = []
        for program in programs:
            if program.round is not None:  # it comes up with its group, and because it was asked for
                self._spending.cancel(program.name)
                continue
            before = program.state
            if before in (_S.STOPPED, _S.GIVEN_UP):
                groups = self._moves.grouping.of(program.name) if before is _S.GIVEN_UP else ()
                self._spending.forget(program.name, groups)
                program.failures = 0
            program.move(_T.START, now)
            if program.state is _S.STOPPING:
                program.again = True
            elif program.state is _S.QUEUED and before is not _S.QUEUED:
                program.due = None
                self._spending.cancel(program.name)
                rising.append(program)
        self._moves.rise(rising, now)

    def _stop(self, programs: Iterable[Program], now: float, why: str) -> None:
        falling, down = [], []
        for program in programs:
            before = program.state
            program.again, program.round, program.why = False, None, why
            self._spending.cancel(program.name)
            program.move(_T.STOP, now)
            if program.state is _S.STOPPING:
                falling.append(program)
            elif program.state is _S.STOPPED and before is not _S.STOPPED:
                program.due = None
                self._moves.tell(_E.STOPPED, program, why=why, status=None, again=False)
                down.append(program)
        self._moves.leave_wave(down, now)
        self._moves.fall(falling, now)

    def _dismiss(self, programs: list[Program], now: float) -> None:
        for program in programs:
            program.leaving = True
        self._stop(programs, now, "it is no longer in the configuration")
        for program in programs:
            self._forget_if_down(program)

    # -- what ended ---------------------------------------------------------------------------------

    def _ended(self, program: Program, status: int | None, now: float, random: float) -> None:
        """It ended by itself. Policy, backoff, budgets, strategy: in this order."""
        program.due = None
        policy = program.spec.restart
        if policy is Restart.NEVER or (policy is Restart.ON_FAILURE and status == 0):
            program.move(_T.END, now)
            why = f"its restart policy is {policy.value!r}"
            self._moves.tell(_E.STOPPED, program, why=why, status=status, again=False)
            self._moves.leave_wave([program], now)
            return
        groups = self._moves.grouping.of(program.name)
        wait = delay(program.spec.backoff, program.failures, random)
        spent = self._spending.spent(program.spec, groups, now, now + wait)
        others = self._affected(program)
        if spent is not None:
            whose, budget = spent
            program.move(_T.GIVE_UP, now)
            self._moves.tell(_E.GAVE_UP, program, of=whose, count=budget[0], period=budget[1])
            # Whoever would have started again with it cannot do without it.
            self._stop(others, now, f"{program.name} was given up")
            self._moves.leave_wave([program], now)
            return
        self._spending.plan(program.spec, groups)
        program.failures += 1
        program.move(_T.RETRY, now)
        self._moves.tell(_E.BACKOFF, program, seconds=wait, attempt=program.failures)
        if others:
            why = f"{program.name} ended, and its group restarts with it"
            self._moves.go_round([program, *others], now + wait, why, now)
        else:
            self._moves.leave_wave([program], now)
            self._moves.set_timer(program, now + wait)

    def _gone(self, program: Program, status: int | None, now: float) -> None:
        """It was to stop, and has."""
        program.due = None
        program.signalled = program.killed = False
        again = program.wanted and not program.leaving
        self._moves.tell(_E.STOPPED, program, why=program.why, status=status, again=again)
        if program.round is not None:
            program.move(_T.HOLD, now)
            self._moves.leave_wave([program], now)
            return
        program.move(_T.GONE, now)
        program.again = False
        self._moves.leave_wave([program], now)
        if again:
            program.move(_T.START, now)
            self._moves.rise([program], now)
        else:
            self._forget_if_down(program)

    def _affected(self, program: Program) -> list[Program]:
        """Who else starts again when it does, by its group's strategy: those that are up, or will be."""
        others = (self._programs.get(name) for name in self._moves.grouping.others(program.name))
        return [each for each in others if each is not None and each.wanted]

    # -- small things -------------------------------------------------------------------------------

    def _known(self, names: str | Iterable[str]) -> list[Program]:
        chosen = [names] if isinstance(names, str) else dict.fromkeys(names)
        for name in chosen:
            if name not in self._programs:
                known = ", ".join(list(self._programs)[:10]) or "none"
                raise UnknownProgram(f"no program is called {name!r}; there are: {known}")
        return [self._programs[name] for name in chosen]

    def _forget_if_down(self, program: Program) -> None:
        if program.leaving and program.state is _S.STOPPED:
            self._spending.forget(program.name)
            del self._programs[program.name]

    def _effects(self) -> list[ProgramEffect]:
        out, self._moves.out = self._moves.out, []
        return out
