"""Ends what the process of a program has started: it is gone when the program is said to be gone.

All of them get the stop signal when the program is stopped, or when its process has ended by itself, and have the
stop timeout from then on; then SIGKILL. What got away is told. Searching takes long and waiting longer, so both are
done by jobs in the lane of the program: before its next process is started.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from banken_supervisor.actions.job import Job
from banken_supervisor.engine.policy import ProgramSpec
from banken_supervisor.processes import control_groups
from banken_supervisor.processes.orphans import Orphans
from banken_supervisor.processes.run_processes import RunProcesses
from banken_supervisor.processes.scan import command_of
from banken_supervisor.programs.engine.record import signal_number
from banken_supervisor.programs.spawn import Child

WORK_LIMIT_S = 60.0
"""Seconds until a job counts as stuck. Further jobs of its program wait all the same: a second spawn beside a
hanging one could make two processes."""

NAMED_MAX = 10
"""Processes that are named in one text."""

_IN_BACKGROUND = (
    "its process ended with exit status 0 and left {} in another session. If it puts itself into the background, "
    "start it so that it stays in the foreground (nginx: -g 'daemon off;'; others: --foreground, --no-daemon, -D, "
    "-f): what it leaves cannot be watched, and is ended"
)


class StartedProcesses:
    """Of all programs of one supervisor. Called on the loop's thread.

    ``tell``: called on other threads with a program, what happened and a sentence. ``forget``: called there with a
    program and its run, of which nothing is left.
    """

    def __init__(
        self,
        submit: Callable[[Job], None],
        tell: Callable[[str, str, str], None],
        forget: Callable[[str, str], None],
    ) -> None:
        self.orphans = Orphans()
        self._submit = submit
        self._tell = tell
        self._forget = forget
        self._runs: dict[str, RunProcesses] = {}
        """by program; used by the jobs of its lane"""
        self._stop_sent: dict[str, float] = {}
        """by program: when it got its stop signal, monotonic"""
        self._strays_told: set[int] = set()

    def add(self, child: Child) -> None:
        """A process of a program was made, or adopted."""
        self._runs[child.name] = RunProcesses(child.run, child.handle.pid, child.handle.start, self.orphans)
        self._stop_sent.pop(child.name, None)

    def stop(self, name: str, number: int) -> None:
        """Send a program its stop signal, or SIGKILL: to its process, and to all that this has started."""
        self._stop_sent.setdefault(name, monotonic())
        run = self._runs.get(name)
        if run is not None:

            def send() -> None:
                run.find()  # before the process ends: then it no longer has descendants
                run.signal_first(number)
                run.signal(number)

            self._submit(Job(name, send, limit_s=WORK_LIMIT_S, holds_lane=True))

    def ended(
        self,
        spec: ProgramSpec,
        child: Child,
        then: Callable[[], None],
        *,
        by_itself: bool = False,
        is_first_left: bool = False,
    ) -> None:
        """The process of a program has ended: end all that it has started, forget the run, and call ``then``.

        ``by_itself``: with exit status 0, and nobody had asked for it. ``is_first_left``: it was another one than
        the first, which is to end, too."""
        self._runs[child.name].is_first_meant = is_first_left
        self._end(spec, child.run, self._runs.pop(child.name), then, by_itself=by_itself)

    def end_remains(self, spec: ProgramSpec, run: str, start: int, then: Callable[[], None]) -> None:
        """The same for a run of an earlier supervisor; its process had started at this tick and has ended."""
        self._end(spec, run, RunProcesses(run, 0, start, self.orphans), then)

    def _end(
        self,
        spec: ProgramSpec,
        run: str,
        found: RunProcesses,
        then: Callable[[], None],
        *,
        by_itself: bool = False,
    ) -> None:
        name, number = spec.name, signal_number(spec.stop_signal)
        until = self._stop_sent.pop(name, monotonic()) + spec.stop_timeout

        def end() -> None:
            try:
                if by_itself and found.find() and (away := found.left_session()):
                    self._tell(name, "left-behind", _IN_BACKGROUND.format(", ".join(away[:NAMED_MAX])))
                if left := found.end(number, until):
                    text = f"not all that it started has ended: {', '.join(left[:NAMED_MAX])}"
                    self._tell(name, "got-away", text)
                self._tell_strays(name, found)
            finally:
                found.close()
                control_groups.leave(run)
                self._forget(name, run)
                then()

        limit = max(0.0, until - monotonic()) + WORK_LIMIT_S
        self._submit(Job(name, end, limit_s=limit, holds_lane=True, outside=True))

    def _tell_strays(self, name: str, found: RunProcesses) -> None:
        strays = [each for each in found.strays if each.pid not in self._strays_told]
        if strays:
            self._strays_told.update(each.pid for each in strays)
            names = ", ".join(f"pid {each.pid} ({command_of(each.pid)})" for each in strays[:NAMED_MAX])
            self._tell(name, "got-away", f"it, or another one, may have started what runs on: {names}")
