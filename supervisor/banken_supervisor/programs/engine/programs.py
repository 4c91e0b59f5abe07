"""Decides what happens to all programs. It returns effects; it does not start or end a process itself.

An end without a request goes to ``_ended``: first the restart policy, then the backoff, then the budgets (the
program's own and those of its groups), then the group's strategy. ``Sequencer`` starts and stops the programs.
Requested starts and stops never count as restarts. A start request for a stopped or given-up program resets its
failures. A program that was stopped, has finished or was given up is not started by its group.
"""

from __future__ import annotations

from collections.abc import Iterable

from banken_supervisor.engine.exit_status import exit_text
from banken_supervisor.engine.ladder import delay
from banken_supervisor.engine.policy import Group, ProgramSpec, Restart
from banken_supervisor.programs.engine.effects import ProgramEffect, ProgramEventType
from banken_supervisor.programs.engine.groups import Grouping
from banken_supervisor.programs.engine.record import Program, signal_number
from banken_supervisor.programs.engine.restart_budget import RestartBudgets, RestartPace
from banken_supervisor.programs.engine.sequencer import Sequencer
from banken_supervisor.programs.engine.states import IllegalProgramTransition, ProgramState, ProgramTrigger

_S, _T, _E = ProgramState, ProgramTrigger, ProgramEventType
_UP = (_S.STARTING, _S.RUNNING)

_ANOTHER_PROCESS = (
    "command", "environment", "env_clear", "env_file", "directory", "user", "attributes", "log",
    "dies_with_supervisor", "terminal",
)  # fmt: skip
"""Fields of a ProgramSpec: if one of them changes, the running process must be replaced."""


START_GAP_S = 0.1
"""Seconds from one start of a program to the next one by itself, whatever its backoff: one that ends at once would
take a whole core with its starts."""


class UnknownProgram(LookupError):
    """No program has this name; the message lists the programs."""


SHORTAGE_WAIT_S = 5.0
"""Seconds at most before the next attempt, where the system lacked something for a start."""


class Programs:
    """Every program of one supervisor. ``now`` is deadline time, in seconds, and never goes back.

    Each method returns the effects to carry out, in order. ``random`` is in [0, 1).
    """

    def __init__(self) -> None:
        self._programs: dict[str, Program] = {}
        self._budgets = RestartBudgets()
        self._pace = RestartPace()
        self._sequencer = Sequencer(self._programs, self._budgets)
        self.get = self._programs.get
        """the record of one program; read-only"""
        self.all = self._programs.values
        """every record, in the order in which they were added; read-only"""
        self.next_due = self._sequencer.next_due
        """when ``due`` has something to do next; None: no timer is set"""

    # -- requests of the operator ---------------------------------------------------------------------

    def apply(self, specs: Iterable[ProgramSpec], groups: Iterable[Group], now: float) -> list[ProgramEffect]:
        """Apply a config. This does not start new programs.

        A program that is no longer configured is stopped and forgotten. One that is up and whose process would
        differ is restarted. Other changes take effect at the next decision. ValueError, and nothing has changed:
        a stop signal does not exist.
        """
        wanted = {spec.name: spec for spec in specs}
        for spec in wanted.values():
            signal_number(spec.stop_signal)
        self._sequencer.grouping = Grouping(wanted.values(), groups)
        changed = []
        for name, spec in wanted.items():
            program = self._programs.setdefault(name, Program(spec, now))
            differs = any(getattr(program.spec, key) != getattr(spec, key) for key in _ANOTHER_PROCESS)
            if differs and program.state in _UP:
                changed.append(program)
            program.spec = spec
            if program.leaving:  # it was being removed, and is configured again
                program.leaving, program.again = False, spec.autostart
        removed = [each for each in self._programs.values() if each.name not in wanted]
        for program in removed:
            program.leaving = True
        self._stop(removed, now, "it is no longer in the configuration")
        for program in removed:
            self._forget_if_down(program)
        if changed:
            self._sequencer.restart_together(changed, now, "its configuration changed", now)
        for name in wanted:
            if self._programs[name].spec.ready is None:
                self._ready(name, now)
        self._sequencer.look_again(now)
        return self._effects()

    def start(self, names: str | Iterable[str], now: float) -> list[ProgramEffect]:
        """Start these, lower orders first; those that are up are left alone. UnknownProgram."""
        self._start(self._known(names), now)
        return self._effects()

    def stop(self, names: str | Iterable[str], now: float, why: str = "asked to stop") -> list[ProgramEffect]:
        """Stop these, higher orders first, each order when the one before has ended. UnknownProgram."""
        self._stop(self._known(names), now, why)
        return self._effects()

    def restart(
        self, names: str | Iterable[str], now: float, why: str = "asked to restart", *, with_group: bool = False
    ) -> list[ProgramEffect]:
        """Stop these and start them when all have ended; start those that are down. UnknownProgram.

        ``with_group``: also restart the programs that the group's strategy restarts with them.
        """
        chosen = self._known(names)
        if with_group:
            ending = [each for each in chosen if each.wanted]  # starting one that is down affects no other
            chosen = list(dict.fromkeys([*chosen, *(mate for each in ending for mate in self._affected(each))]))
        together = [each for each in chosen if each.state in _UP]
        if together and with_group:
            together = [each for each in chosen if each.wanted]
        rest = dict.fromkeys(chosen)
        for each in together:
            del rest[each]
        self._start(rest, now)
        if together:
            self._sequencer.restart_together(together, now, why, now)
        return self._effects()

    # -- reports of the shell -----------------------------------------------------------------------

    def started(
        self, name: str, pid: int, now: float, *, adopted: bool = False, ready: bool = False
    ) -> list[ProgramEffect]:
        """The process that a ``Spawn`` asked for exists. ``adopted``: one of an earlier supervisor still runs;
        ``ready``: and it was ready."""
        program = self._programs[name]
        program.transition(_T.ADOPTED if adopted else _T.SPAWNED, now)
        program.process = True
        program.started_at = now
        program.due = None
        self._sequencer.emit(_E.ADOPTED if adopted else _E.STARTED, program, pid=pid)
        if program.state is _S.RUNNING:
            if program.spec.ready is None or ready:
                self._sequencer.now_ready(program, now)
            self._sequencer.leave_waves([program], now)
        else:
            self._sequencer.signal_if_turn(program, now)
        return self._effects()

    def ready(self, name: str, now: float) -> list[ProgramEffect]:
        """It is ready, by what its spec says. Nothing happens where it was, or is not up."""
        self._ready(name, now)
        return self._effects()

    def extend_stop(self, name: str, until: float) -> None:
        """It is being stopped, and asks not to be killed before ``until``."""
        program = self._programs.get(name)
        if program is not None and program.signalled and not program.killed and program.due is not None:
            self._sequencer.set_timer(program, max(program.due, until))

    def failed(
        self, name: str, reason: str, now: float, random: float, *, shortage: bool = False
    ) -> list[ProgramEffect]:
        """The process that a ``Spawn`` asked for could not be started.

        ``shortage``: the system lacked something for it, which is no fault of the program's: it is tried again for
        ever, and no budget is charged.
        """
        program = self._programs[name]
        if program.process:
            raise IllegalProgramTransition(f"{name}: a spawn failed, but there is a process")
        if program.state is _S.STOPPING:
            self._sequencer.emit(_E.FAILED, program, reason=reason, wanted=False)
            self._gone(program, None, now)
        else:
            self._sequencer.emit(_E.FAILED, program, reason=reason)
            program.started_at = now
            self._ended(program, None, now, random, charged=not shortage)
        return self._effects()

    def exited(
        self,
        name: str,
        status: int | None,
        now: float,
        random: float,
        *,
        failed: bool | None = None,
        leftovers: bool = False,
    ) -> list[ProgramEffect]:
        """Its process ended. ``status``: exit status; negative: minus the signal number; None: unknown.
        ``failed``: whether that is a failure; None: unless the status is 0.
        ``leftovers``: the end of all that it had started is reported by ``cleared``."""
        program = self._programs[name]
        if not program.process:
            raise IllegalProgramTransition(f"{name}: it exited, but there is no process")
        program.process = False
        if program.state is _S.STOPPING:
            self._gone(program, status, now)
            return self._effects()
        program.leftovers = leftovers
        ran = now - program.started_at
        self._sequencer.emit(_E.EXITED, program, status=status, ran=ran)
        if ran >= program.stable_run:
            program.failures = 0
        self._ended(program, status, now, random, failed=status != 0 if failed is None else failed)
        return self._effects()

    def cleared(self, name: str, now: float) -> list[ProgramEffect]:
        """All that its process had started, which ended by itself, has ended too."""
        program = self._programs.get(name)
        if program is not None and program.leftovers:
            program.leftovers = False
            if program.state is _S.STOPPING:
                self._gone(program, None, now)
        return self._effects()

    # -- timers --------------------------------------------------------------------------------

    def due(self, now: float) -> list[ProgramEffect]:
        """Handle every timer that expired by ``now``."""
        self._sequencer.due(now)
        return self._effects()

    # -- requests -----------------------------------------------------------------------------------

    def _start(self, programs: Iterable[Program], now: float) -> None:
        starting = []
        for program in programs:
            if program.group_restart is not None:  # it starts with its group, now as requested
                self._budgets.cancel(program.name)
                continue
            before = program.state
            if before in (_S.STOPPED, _S.GIVEN_UP):
                groups = self._sequencer.grouping.groups_of(program.name) if before is _S.GIVEN_UP else ()
                self._budgets.forget(program.name, groups)
                program.failures = 0
            program.transition(_T.START, now)
            if program.state is _S.STOPPING:
                program.again = True
            elif program.state is _S.QUEUED and before is not _S.QUEUED:
                program.due = None
                self._budgets.cancel(program.name)
                starting.append(program)
        self._sequencer.move_in_order(starting, now, upward=True)

    def _stop(self, programs: Iterable[Program], now: float, why: str) -> None:
        stopping, down = [], []
        for program in programs:
            before = program.state
            program.again, program.group_restart, program.why = False, None, why
            self._budgets.cancel(program.name)
            waits = program.leftovers and before not in _UP and before is not _S.STOPPING
            program.ready, program.awaits = False, ()
            program.transition(_T.STOP_LEFTOVERS if waits else _T.STOP, now)
            if waits:
                program.due = None  # of its backoff
            if program.state is _S.STOPPING:
                stopping.append(program)
            elif program.state is _S.STOPPED and before is not _S.STOPPED:
                program.due = None
                self._sequencer.emit(_E.STOPPED, program, why=why, status=None, again=False)
                down.append(program)
        self._sequencer.leave_waves(down, now)
        self._sequencer.move_in_order(stopping, now, upward=False)

    def _ready(self, name: str, now: float) -> None:
        program = self._programs.get(name)
        if program is not None and program.state is _S.RUNNING and not program.ready:
            self._sequencer.emit(_E.READY, program, after=now - program.started_at)
            self._sequencer.now_ready(program, now)

    # -- ends ---------------------------------------------------------------------------------

    def _ended(
        self,
        program: Program,
        status: int | None,
        now: float,
        random: float,
        *,
        failed: bool = True,
        charged: bool = True,
    ) -> None:
        """It ended without a request, or did not start. Order: policy, backoff, budgets, strategy."""
        program.due = None
        program.ready &= not failed
        policy = program.spec.restart
        if policy is Restart.NEVER or (policy is Restart.ON_FAILURE and not failed):
            program.transition(_T.END, now)
            program.why = "it ended" if status is None else exit_text(status)
            why = f"its restart policy is {policy.value!r}"
            is_ready = not failed and program.spec.ready is not None and program.spec.ready.ended
            if is_ready:
                self._sequencer.emit(_E.READY, program, after=now - program.started_at)
            self._sequencer.emit(_E.STOPPED, program, why=why, status=status, again=False)
            self._sequencer.leave_waves([program], now)
            if is_ready:
                self._sequencer.now_ready(program, now)
            return
        groups = self._sequencer.grouping.groups_of(program.name)
        wait = delay(program.spec.backoff, program.failures, random)
        if not charged:
            wait = min(wait, SHORTAGE_WAIT_S)
        again = program.failures > 0  # its last run was short, too
        wait = max(wait, program.started_at + START_GAP_S - now, self._pace.wait(now) if again else 0.0)
        exhausted = self._budgets.exhausted(program.spec, groups, now, now + wait) if charged else None
        others = self._affected(program)
        if exhausted is not None:
            owner, budget = exhausted
            program.transition(_T.GIVE_UP, now)
            self._sequencer.emit(_E.GAVE_UP, program, of=owner, count=budget[0], period=budget[1])
            # The programs that restart with it depend on it.
            self._stop(others, now, f"{program.name} was given up")
            self._sequencer.leave_waves([program], now)
            return
        if charged:
            self._budgets.plan(program.spec, groups)
        if again:
            self._pace.plan(now)
        program.failures += 1
        program.ready = False
        program.transition(_T.RETRY, now)
        self._sequencer.emit(_E.BACKOFF, program, seconds=wait, attempt=program.failures)
        if others:
            why = f"{program.name} ended, and its group restarts with it"
            self._sequencer.restart_together([program, *others], now + wait, why, now)
        else:
            self._sequencer.leave_waves([program], now)
            self._sequencer.set_timer(program, now + wait)

    def _gone(self, program: Program, status: int | None, now: float) -> None:
        """It has ended after a stop request."""
        program.due = program.stop_rank = None
        program.signalled = program.killed = False
        again = program.wanted and not program.leaving
        self._sequencer.emit(_E.STOPPED, program, why=program.why, status=status, again=again)
        if program.group_restart is not None:
            program.transition(_T.WAIT_FOR_GROUP, now)
            self._sequencer.leave_waves([program], now)
            return
        program.transition(_T.GONE, now)
        program.again = False
        self._sequencer.leave_waves([program], now)
        if again:
            program.transition(_T.START, now)
            self._sequencer.move_in_order([program], now, upward=True)
        else:
            self._forget_if_down(program)

    def _affected(self, program: Program) -> list[Program]:
        """The other programs that its group's strategy restarts with it: those that are up, or will start."""
        others = (self._programs.get(name) for name in self._sequencer.grouping.others(program.name))
        return [each for each in others if each is not None and each.wanted]

    # -- helpers -------------------------------------------------------------------------------

    def _known(self, names: str | Iterable[str]) -> list[Program]:
        chosen = [names] if isinstance(names, str) else dict.fromkeys(names)
        for name in chosen:
            if name not in self._programs:
                known = ", ".join(list(self._programs)[:10]) or "none"
                raise UnknownProgram(f"no program is called {name!r}; there are: {known}")
        return [self._programs[name] for name in chosen]

    def _forget_if_down(self, program: Program) -> None:
        if program.leaving and program.state is _S.STOPPED:
            self._budgets.forget(program.name)
            del self._programs[program.name]

    def _effects(self) -> list[ProgramEffect]:
        out, self._sequencer.out = self._sequencer.out, []
        return out
