"""Collects evidence: its parts in order, under one deadline. A part that fails adds a sentence to ``problems``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeAlias, TypeVar

import psutil

from banken.clock import wall
from banken.diagnostics.introspection import introspect
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.evidence import (
    announced_dumps,
    process_facts,
    size_limits,
    stacks,
    text,
)
from banken_supervisor.evidence.announced_dumps import Announcement, NotAnnounced
from banken_supervisor.evidence.headline import headline
from banken_supervisor.evidence.stacks import StackFault
from banken_supervisor.evidence.time_limits import Deadline, TooLate, attempt
from banken_supervisor.processes.handle import ProcessError, ProcessHandle
from banken_supervisor.processes.shortage import patiently

T = TypeVar("T")

Evidence: TypeAlias = dict[str, Any]
"""Plain data: str, int, float, bool, None, lists and dicts of them; text.BLANK says what each key is."""

PROC_S = 1.0
"""Longest that one reading of /proc may take, seconds."""

ASK_S = 1.0
"""Longest that a worker's own thread may take to answer, seconds; it needs the interpreter lock for that."""

ASK_IDLE_S = 0.3
"""The same where its stacks are known already and show no event loop."""

SIGNAL_S = 2.0
"""Longest that a dump by signal may take, seconds."""

TARGETS_MAX = 32
"""Threads whose file or connection is looked up."""

IDLE = 0.05
"""Share of one CPU below which a process counts as idle."""

WAIT_LOOKS = 5
WAIT_AGAIN_S = 0.02
"""How often, and after how long, a thread is read again that was caught between two waits."""

WAITS_MAX = 256
"""Threads whose wait in the kernel is read."""


def collect(
    who: ProcessIdentity,
    *,
    address_directory: str,
    seconds_max: float = 5.0,
    bytes_max: int = 256 * 1024,
    py_spy: str | bool = True,
    scope: dict[str, Any] | None = None,
    recovered: Callable[[], bool] = lambda: False,
    verdict: float | None = None,
) -> Evidence:
    """What the process ``who`` is doing now, in at most ``seconds_max`` seconds and ``bytes_max`` bytes.

    Nothing is read unless the process is identified for certain. It is never changed, but py-spy pauses it for 10
    to 40 ms, or it gets the signal that it asked for. A stopped one stays stopped.

    ``py_spy``: whether to use it when it is installed; a path: that one. ``scope``: the work that is late, as in
    text.BLANK; the headline is then about the thread that is in it. ``recovered``: asked whether it moves again
    since the ``verdict`` (wall clock): then its stacks show another place than where it was stuck, and the headline
    says so. Never raises for anything that the process, the system or py-spy does; ValueError for limits that are
    no limits.
    """
    if not seconds_max > 0 or bytes_max < size_limits.BYTES_MIN:
        raise ValueError(f"seconds_max is more than 0 and bytes_max at least {size_limits.BYTES_MIN}")
    began = time.monotonic()
    evidence = {**deepcopy(text.BLANK), "pid": who.pid, "start": who.start, "taken": wall(), "scope": scope}
    try:
        with patiently(lambda: ProcessHandle.open(who)) as process:
            evidence["identity"] = "verified"
            _Collection(evidence, process, Deadline(seconds_max), address_directory, py_spy, recovered).run()
        if not evidence["headline"]:
            evidence["headline"] = headline(evidence, verdict)
    except ProcessError as fault:
        evidence.update(identity=fault.kind, headline=str(fault))
        evidence["problems"].append(str(fault))
    except Exception as fault:  # noqa: BLE001  # evidence is a help: its lack must not stop what follows it
        evidence["problems"].append(f"collecting failed: {fault!r}")
        evidence["headline"] = evidence["headline"] or f"pid {who.pid}: nothing is known, for collecting failed"
    evidence["seconds"] = round(time.monotonic() - began, 3)
    return size_limits.fit(evidence, bytes_max)


class _Collection:
    """What the parts of one collection share."""

    def __init__(
        self,
        evidence: Evidence,
        handle: ProcessHandle,
        deadline: Deadline,
        directory: str,
        py_spy: str | bool,
        recovered: Callable[[], bool],
    ) -> None:
        self._evidence = evidence
        self._problems: list[str] = evidence["problems"]
        self._handle = handle
        self._deadline = deadline
        self._directory = directory
        self._py_spy = py_spy
        self._recovered = recovered
        self._waits: dict[int, dict[str, Any]] = {}

    def run(self) -> None:
        """All parts: first the quick and certain ones, and the stacks before what may block."""
        pid = self._handle.pid
        process = self._part("its state", lambda: process_facts.facts(pid))
        if process is None:
            self._check_life()
            return
        self._evidence["process"] = process
        process["ended"] = not self._handle.alive
        if process["ended"]:
            return
        cpu_s = min(process_facts.CPU_S, 0.1 * self._deadline.left())
        process["cpu_now"] = self._part("its use of the CPU", lambda: process_facts.cpu_share(pid, cpu_s))
        # Before anything pauses it: afterwards it waits for its tracer, or not at all.
        self._wait(process)
        self._evidence["looked"] = wall()
        moved = self._recovered()
        for step in (self._stacks, self._details):
            try:
                step(process)
            except Exception as fault:  # noqa: BLE001  # what was found so far is kept
                self._problems.append(f"collecting failed: {fault!r}")
        self._evidence["moved"] = "before" if moved else "meanwhile" if self._recovered() else None
        self._check_life()

    def _wait(self, process: dict[str, Any]) -> None:
        """What its threads wait for. One that uses no CPU and seems to run was only just woken: read it again."""
        idle = process["cpu_now"] is not None and process["cpu_now"] < IDLE
        for _ in range(WAIT_LOOKS):
            self._waits = self._part("what its threads wait for", self._read_waits) or {}
            wait = self._evidence["main_wait"] = self._waits.get(self._handle.pid)
            if not idle or wait is None:
                return
            if wait["state"] != "R":
                if process["state"] == "R":  # it was only just woken then, too
                    process.update(process_facts.state(wait["state"]))
                return
            time.sleep(self._deadline.left(WAIT_AGAIN_S))

    def _read_waits(self) -> dict[int, dict[str, Any]]:
        pid = self._handle.pid
        found = process_facts.tids(pid)[:WAITS_MAX]
        return {tid: process_facts.wait(pid, tid, target=number < TARGETS_MAX) for number, tid in enumerate(found)}

    def _details(self, process: dict[str, Any]) -> None:
        pid = self._handle.pid
        process.update(self._part("its descriptors", lambda: process_facts.descriptors(pid)) or {})
        process["children"] = self._part("its children", lambda: process_facts.children(pid)) or []
        process["cgroup"] = self._part("its cgroup", lambda: process_facts.cgroup_memory(pid))
        # Last, for it may block while the process's memory map is locked.
        process["cmdline"] = self._part("its command line", lambda: process_facts.command_line(pid)) or []

    def _stacks(self, process: dict[str, Any]) -> None:
        """Threads by the least intrusive means that works, and tasks if the worker answers.

        py-spy needs nothing of the worker; its own thread needs the interpreter lock; the signal needs neither, but
        interrupts what the main thread is doing in the kernel.
        """
        letter = process["state"]
        threads = self._by_py_spy(letter, bool(process["tracer"]))
        by = "py-spy"
        # A supervisor in the process that it watches asks nobody; and the lock of the announcement, which its own
        # process does not see, would be given up as soon as that closes the file.
        itself = self._handle.pid == os.getpid()
        mine = None if itself else self._announcement(needed=threads is None)
        answered: list[dict[str, Any]] = []
        if itself or (mine is not None and letter not in "Tt"):
            answer = introspect() if mine is None else self._asked(mine, threads)
            answered = size_limits.answered_threads(answer, self._handle.pid)
            self._evidence["tasks"] = size_limits.answered_tasks(answer)
            self._evidence["tasks_left_out"] = size_limits.whole(answer.get("tasks_left_out"), 2**31)
            if threads is None and answered:
                threads, by = answered, "the worker"
                self._evidence["threads_left_out"] = size_limits.whole(answer.get("threads_left_out"), 2**31)
            elif threads is None and mine is not None:
                threads, by = self._by_signal(mine), "faulthandler"
        elif mine is not None and threads is None:
            self._problems.append("a stopped process cannot dump its stacks before it goes on; py-spy could")
        if threads is not None:
            self._evidence["stacks_by"] = by
            self._evidence["threads"] = size_limits.ordered(self._named(threads, answered))

    def _by_py_spy(self, letter: str, traced: bool) -> list[dict[str, Any]] | None:
        path = stacks.find() if self._py_spy is True else self._py_spy
        if not path:
            return None
        seconds = self._deadline.left() * 0.6
        dump = self._held(lambda process: stacks.dump(path, process, letter, traced, seconds))
        threads, doubt = self._part("stacks by py-spy", dump, seconds + 0.2) or (None, "")
        self._problems += filter(None, [doubt])
        return threads

    def _announcement(self, *, needed: bool) -> Announcement | None:
        """The worker's announcement; that there is none is a problem only where it is ``needed``."""
        try:
            return attempt(lambda: announced_dumps.find(self._directory, self._handle), self._deadline.left(PROC_S))
        except (NotAnnounced, TooLate) as fault:
            if needed:
                known = isinstance(self._py_spy, str) or stacks.find()
                hint = "" if known else " (py-spy, which is not found here, needs no such call: pip install py-spy)"
                self._problems.append(f"no stacks from the worker: {fault}{hint}")
            return None

    def _by_signal(self, mine: Announcement) -> list[dict[str, Any]] | None:
        seconds = min(SIGNAL_S, self._deadline.left() * 0.6)
        dump = self._held(lambda process: announced_dumps.dump(process, mine, seconds))
        threads, whole = self._part("stacks by signal", dump, seconds + 0.2) or (None, True)
        if not whole:
            most = announced_dumps.THREADS_WRITTEN_MAX
            self._problems.append(f"faulthandler writes {most} threads, and the main thread last")
        return threads or None

    def _asked(self, mine: Announcement, threads: list[dict[str, Any]] | None) -> dict[str, Any]:
        """The worker's own answer. The wait is shorter where stacks are known and show no event loop."""
        wanted = threads is None or any(
            loop in frame["file"] for each in threads for frame in each["frames"] for loop in ("asyncio", "uvloop")
        )
        unknown = "its asyncio tasks are not known"
        seconds = self._deadline.left(ASK_S if wanted else ASK_IDLE_S)
        try:
            return attempt(lambda: announced_dumps.ask(mine, self._handle, seconds), seconds + 0.1)
        except TooLate as fault:
            if wanted:
                self._problems.append(f"{unknown}: {fault}; something may hold its interpreter lock")
        except (NotAnnounced, OSError) as fault:
            if wanted and threads is not None:  # else stacks are what matters, and the signal may bring them
                self._problems.append(f"{unknown}: {fault}")
        return {}

    def _named(self, threads: list[dict[str, Any]], answered: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Threads completed from the other sources: names, kernel ids, and what they wait in."""
        known = {each["thread"]: each for each in answered}
        for thread in threads:
            other = known.get(thread["thread"], {})
            thread["name"] = thread["name"] or other.get("name")
            thread["tid"] = thread["tid"] or other.get("tid")
            thread["wait"] = self._waits.get(thread["tid"])
        return threads

    def _held(self, work: Callable[[ProcessHandle], T]) -> Callable[[], T]:
        """``work`` with a handle of its own: it may outlive the deadline, and this collection's handle."""

        def run() -> T:
            with ProcessHandle.open_pid(self._handle.pid, self._handle.start) as process:
                return work(process)

        return run

    def _part(self, what: str, work: Callable[[], T], seconds: float = PROC_S) -> T | None:
        """What one part found; None and a sentence in ``problems``: it failed or was late."""
        left = self._deadline.left(seconds)
        if not left:
            self._problems.append(f"{what}: no time was left for it")
            return None
        try:
            found = attempt(work, left)
        except (TooLate, StackFault, NotAnnounced, ProcessError) as fault:
            self._problems.append(f"{what}: {fault}")
        except (OSError, psutil.Error) as fault:
            self._problems.append(f"{what}: {getattr(fault, 'strerror', None) or fault}")
        except Exception as fault:  # noqa: BLE001  # one part's mistake costs that part
            self._problems.append(f"{what}: failed: {fault!r}")
        else:
            if self._handle.owns_pid:
                return found
            self._problems.append(f"{what}: it ended meanwhile, so this may be about another process")
        return None

    def _check_life(self) -> None:
        if not self._handle.alive and not (self._evidence["process"] or {}).get("ended"):
            problem = f"pid {self._handle.pid} ended while it was looked at"
            self._problems.append(problem)
            self._evidence.update(identity="gone", headline=problem)
