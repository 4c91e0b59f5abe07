"""The whole system in one simulated world: workers with the real client, the real supervisor with its journal, and
between them a simulated host. ``python -m simulation.whole HOURS SEED`` from ``tests/`` runs it by hand.

One run is an hour with a hundred troubles (whole_plan.py), from one seed, and its trace is the same each time. The
oracle (whole_oracle.py) judges what workers did against what was told, done and kept. A run that finds something is
cut down to the troubles that are needed for it, and printed as a script that replays it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import NamedTuple

from banken.protocol.incidents import Incident

from .whole_deeds import did
from .whole_host import COMMIT_S, Host
from .whole_net import KERNEL_BYTES
from .whole_oracle import Finding, Oracle
from .whole_plan import TIMEOUTS, Trouble, plan
from .whole_workers import Worker, forget_clients
from .whole_world import BEGIN, Armed, Process, World

ROOM = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where the journals lie: in memory, if they can."""
HOUR = 3600.0
LOOK_S = 1.0
CALM_S = 90.0
"""Seconds without trouble at the end of a run, in which everything has to come right."""


class Report(NamedTuple):
    """What one run showed."""

    seed: int
    seconds: float
    troubles: int
    findings: list[Finding]
    fingerprint: str
    tail: list[str]
    verdicts: int
    deeds: int
    calls: int
    lives: int


class Run:
    """One run. ``troubles``: what happens. ``names``: which workers there are."""

    def __init__(self, seed: int, troubles: Sequence[Trouble], folder: Path, names: Sequence[str] = ()) -> None:
        self.world = World(seed)
        self.host = Host(self.world, folder)
        self.oracle = Oracle(self.world, self.host.journal)
        self.seed, self.troubles, self.lives = seed, troubles, 0
        self.workers = {
            name: Worker(self.host, self.oracle, name, timeout, declares=name.startswith("own"), seed=seed)
            for name, timeout in TIMEOUTS.items()
            if not names or name in names
        }
        host, oracle = self.host, self.oracle
        host.decided, host.told, host.woke = oracle.decided, oracle.told, oracle.woke
        host.wire.arrived = oracle.arrived
        host.ready = self._ready
        oracle.disturbed = self._disturbed
        self._deed_hangs = self._deed_raises = self._commit_s = 0.0
        self._ways: dict[str, float] = {}
        """by worker, and "" for all: until when its messages were hindered"""
        self._ending = False

    def run(self, seconds: float, *, stop_at_finding: bool = True) -> Report:
        world, oracle = self.world, self.oracle
        end = BEGIN + seconds + CALM_S
        did.append(self._deed)
        try:
            with self.host.installed():
                self._start()
                for number, worker in enumerate(self.workers.values()):
                    world.after(0.3 + 0.1 * number, worker.start)
                for each in self.troubles:
                    world.after(each.at, partial(self._happens, each))
                world.after(seconds, self._calm)
                world.after(LOOK_S, self._look)
                while world.now < end and not (stop_at_finding and oracle.findings):
                    world.run(min(end, world.now + 10.0))
                self._close()
        finally:
            did.pop()
            forget_clients()
        return Report(
            self.seed, world.now - BEGIN, len(self.troubles), oracle.findings, world.fingerprint(),
            list(world.tail), oracle.verdicts, oracle.deeds, oracle.calls, self.lives,
        )  # fmt: skip

    def _look(self) -> None:
        for fault in self.world.broken:
            self.oracle.wrong("broken", "", fault)
        self.world.broken.clear()
        process, slow = self.host.process, self.host.disk.slow
        self.oracle.commit_s, self._commit_s = max(slow, self._commit_s), slow
        if self.oracle.up and process is not None and not process.stopped:
            self.oracle.look()
            for each in self.workers.values():
                each.listening()
        if self.host.disk.mood != "ok" or self.host.disk.slow > 1.0:
            self.oracle.trouble = self.world.now
        self.world.after(LOOK_S, self._look)

    def _calm(self) -> None:
        """No more trouble, not even such as waits for a point that was not passed yet."""
        if self.host.process is not None:
            self.host.process.armed.clear()

    def _close(self) -> None:
        """The supervisor ends in order, and its journal has all."""
        self._ending = True
        self.host.stop()
        self.world.run(self.world.now + 10.0)
        if self.oracle.up:
            self.oracle.wrong("broken", "", "SIGTERM did not end it within 10 s")

    # -- the supervisor -------------------------------------------------------------------------------

    def _start(self) -> None:
        self.lives += 1
        self.host.start()
        process = self.host.process
        assert process is not None

        def ended() -> None:
            if self.oracle.up:
                self.oracle.died(cleanly=process.status == 0)
            if self._ending:
                return
            self.world.after(self._back, self._start)
            self._back = 0.5

        self._back = 0.5
        process.ended.append(ended)

    def _ready(self) -> None:
        loop = self.host.loop
        assert loop is not None
        self.oracle.run = loop.driver.engine.incidents._run_id
        self.oracle.started()

    # -- what happens ---------------------------------------------------------------------------------

    def _disturbed(self, process: Process | None) -> float:
        who = "" if process is None else process.name
        return max(self._ways.get(who, -inf), self._ways.get("", -inf))

    def _happens(self, one: Trouble) -> None:
        self.world.say("trouble", *one[1:])
        if one.what in ("stop-worker", "late", "cut", "no-descriptor", "narrow", "hang"):
            self._ways[one.who] = self.world.now + one.seconds
        HAPPENS[one.what](self, one)

    def _for_a_while(self, seconds: float, set_to: Callable[[bool], None]) -> None:
        set_to(True)
        self.world.after(seconds, lambda: set_to(False))

    def _worker(self, one: Trouble) -> Worker | None:
        found = self.workers.get(one.who)
        return found if found is not None and found.process is not None and found.process.alive else None

    def _hang(self, one: Trouble) -> None:
        if (worker := self._worker(one)) is not None:
            worker.silent_until = self.world.now + one.seconds

    def _kill_worker(self, one: Trouble) -> None:
        if (worker := self._worker(one)) is not None and worker.process is not None:
            worker.process.end(-9)
            self.world.after(one.seconds, partial(self._start_again, worker))

    def _start_again(self, worker: Worker) -> None:
        if worker.process is None or not worker.process.alive:
            worker.start()

    def _end_worker(self, one: Trouble) -> None:
        if (worker := self._worker(one)) is not None and worker.process is not None:
            worker.process.ended.append(lambda: self.world.after(one.seconds, partial(self._start_again, worker)))
            worker.ask(partial(worker.end, one.what, int(one.amount)))

    def _stop_worker(self, one: Trouble) -> None:
        if (worker := self._worker(one)) is not None and worker.process is not None:
            worker.process.stop(one.seconds)

    def _tell(self, one: Trouble) -> None:
        if (worker := self._worker(one)) is not None:
            worker.ask(partial(worker.tell, one.what, "out of cheese" if one.what == "fail" else one.amount))

    def _idle(self, one: Trouble) -> None:
        if (worker := self._worker(one)) is not None:
            worker.ask(partial(worker.idle, one.seconds, busy=one.what == "busy"))

    def _section(self, one: Trouble) -> None:
        if (worker := self._worker(one)) is not None:
            worker.ask(partial(worker.section, one.amount, one.seconds))

    def _fork(self, one: Trouble) -> None:
        if (worker := self._worker(one)) is not None:
            worker.ask(partial(worker.fork, int(one.amount)))

    def _late(self, one: Trouble) -> None:
        if (worker := self._worker(one)) is not None and worker.process is not None:
            pid, delay = worker.process.pid, self.host.wire.delay
            delay[pid] = one.amount
            self.world.after(one.seconds, lambda: delay.pop(pid, None))

    def _cut(self, one: Trouble) -> None:
        worker = self._worker(one)
        for link in self.host.wire.links:
            if worker is not None and link.socket.process is worker.process:
                link.cut()
        for late in (0.01, 0.2):  # it feeds before it has a connection again, and soon after
            self.world.after(late, lambda: worker and worker.ask(lambda: None))

    def _no_descriptor(self, one: Trouble) -> None:
        self._for_a_while(one.seconds, lambda on: setattr(self.host.wire, "refuses", on))

    def _garbage(self, one: Trouble) -> None:
        for number in range(int(one.amount)):
            if self.host.wire.listener is not None:
                self.host.wire.listener.arrive(bytes((0xC1, number)) * (1 + number))

    def _double(self, one: Trouble) -> None:
        self.host.wire.doubles += int(one.amount)

    def _narrow(self, one: Trouble) -> None:
        wire = self.host.wire

        def set_to(on: bool) -> None:
            wire.kernel_bytes = int(one.amount) if on else KERNEL_BYTES
            for link in wire.links:
                link.move_soon()

        self._for_a_while(one.seconds, set_to)

    def _stall(self, one: Trouble) -> None:
        if self.host.process is not None and self.host.process.alive:
            self.host.process.stop(one.seconds)

    def _stall_at(self, one: Trouble) -> None:
        process = self.host.process
        if process is not None:
            process.armed.append(Armed(one.point, int(one.amount), lambda: process.stop(one.seconds)))

    def _kill_at(self, one: Trouble) -> None:
        process = self.host.process
        if process is None or not process.alive:
            return

        def kill() -> None:
            self._back = one.seconds
            process.end(-9)

        process.armed.append(Armed(one.point, int(one.amount), kill))

    def _term(self, one: Trouble) -> None:
        self._back = one.seconds
        self.host.stop()

    def _reload(self, one: Trouble) -> None:
        self.host.reload()

    def _mood(self, one: Trouble) -> None:
        self.oracle.trouble = self.world.now

        def set_to(on: bool) -> None:
            self.host.disk.mood = one.what if on else "ok"

        self._for_a_while(one.seconds, set_to)

    def _slow(self, one: Trouble) -> None:
        def set_to(on: bool) -> None:
            self.host.disk.slow = one.amount if on else COMMIT_S

        self._for_a_while(one.seconds, set_to)

    def _lose(self, one: Trouble) -> None:
        self.host.lose_journal()
        self.oracle.lose()

    def _clock(self, one: Trouble) -> None:
        self.world.offset += one.amount

    def _no_thread(self, one: Trouble) -> None:
        process = self.host.process
        if process is not None:
            self.oracle.threads_short = self.world.now + one.seconds
            self._for_a_while(one.seconds, lambda on: setattr(process, "gives_threads", not on))

    def _deed_hang(self, one: Trouble) -> None:
        self._deed_hangs = self.world.now + one.seconds

    def _deed_raise(self, one: Trouble) -> None:
        self._deed_raises = self.world.now + one.seconds

    def _deaf(self, one: Trouble) -> None:
        self.oracle.deaf = self.world.now + one.seconds
        self._for_a_while(one.seconds, lambda on: self.host.wire.deafen(on=on))

    def _deed(self, step: int, incident: Incident) -> None:
        self.world.passes("deed")
        self.oracle.deed(step, incident)
        if self.world.now < self._deed_raises:
            raise SystemExit("a deed that raises")
        if self.world.now < self._deed_hangs:
            self.oracle.slow_deeds = self.world.now
            self.world.sleep(45.0)


HAPPENS: dict[str, Callable[[Run, Trouble], None]] = {
    "hang": Run._hang, "idle": Run._idle, "busy": Run._idle, "kill-worker": Run._kill_worker,
    "exit": Run._end_worker, "crash": Run._end_worker, "leave": Run._end_worker,
    "stop-worker": Run._stop_worker, "fail": Run._tell, "pause": Run._tell, "extend": Run._tell,
    "section": Run._section, "fork": Run._fork, "late": Run._late, "cut": Run._cut,
    "no-descriptor": Run._no_descriptor, "garbage": Run._garbage, "double": Run._double, "narrow": Run._narrow,
    "stall": Run._stall, "stall-at": Run._stall_at, "kill-at": Run._kill_at, "term": Run._term,
    "reload": Run._reload, "full": Run._mood, "failing": Run._mood, "slow": Run._slow, "lose": Run._lose,
    "clock": Run._clock, "no-thread": Run._no_thread, "deed-hangs": Run._deed_hang,
    "deed-raises": Run._deed_raise, "deaf": Run._deaf,
}  # fmt: skip


def simulate(
    seed: int,
    troubles: Sequence[Trouble],
    seconds: float,
    names: Sequence[str] = (),
    *,
    stop_at_finding: bool = True,
) -> Report:
    """One run, in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=ROOM, prefix="bk-") as folder:
        return Run(seed, troubles, Path(folder), names).run(seconds, stop_at_finding=stop_at_finding)


def shrink(
    report: Report, troubles: Sequence[Trouble], seconds: float
) -> tuple[list[Trouble], list[str], float, Report]:
    """The troubles and the workers without which the first finding of ``report`` is not there, how many seconds it
    takes, and that run.

    Delta debugging (Zeller, Hildebrandt: "Simplifying and Isolating Failure-Inducing Input", 2002).
    """
    best, kind = report, report.findings[0].kind
    left = [each for each in troubles if each.at <= report.findings[0].at]
    seconds = min(seconds, max(1.0, report.findings[0].at + 5.0 - CALM_S))
    names = list(TIMEOUTS)

    def fails(some: Sequence[Trouble], who: Sequence[str]) -> bool:
        nonlocal best
        found = simulate(report.seed, some, seconds, who)
        if not found.findings or found.findings[0].kind != kind:
            return False
        best = found
        return True

    size = max(1, len(left) // 2)
    while left:
        for start in range(0, len(left), size):
            without = left[:start] + left[start + size :]
            if fails(without, names):
                left = without
                break
        else:
            if size == 1:
                break
            size = max(1, size // 2)
    for name in list(names):
        others = [each for each in names if each != name]
        if others and fails([each for each in left if each.who != name], others):
            left, names = [each for each in left if each.who != name], others
    return left, names, seconds, best


def script(report: Report, troubles: Sequence[Trouble], seconds: float, names: Sequence[str]) -> str:
    """A Python script that replays it, from ``tests/``."""
    lines = [f"    {each}," for each in troubles]
    found = report.findings[0]
    return "\n".join([
        f"# {found.kind} at {found.at}: {found.name}: {found.why}",
        "from simulation.whole import simulate",
        "from simulation.whole_plan import Trouble",
        "report = simulate(", f"  {report.seed}, [", *lines, f"  ], {seconds}, {list(names)},", ")",
        'print("\\n".join([*report.tail, *map(str, report.findings)]))',
    ])  # fmt: skip


def main() -> None:
    """By hand."""
    hours, seed = int(sys.argv[1]), int(sys.argv[2])
    began, bad = time.process_time(), 0
    passed, troubles, verdicts, lives, deeds = 0.0, 0, 0, 0, 0
    for number in range(seed, seed + hours):
        planned = plan(number)
        report = simulate(number, planned, HOUR)
        passed += report.seconds / HOUR
        troubles, verdicts, lives = troubles + report.troubles, verdicts + report.verdicts, lives + report.lives
        deeds += report.deeds + report.calls
        if report.findings:
            bad += 1
            left, names, seconds, best = shrink(report, planned, HOUR)
            print("\n".join(best.tail[-30:]), script(best, left, seconds, names), sep="\n", flush=True)
    took = time.process_time() - began
    print(
        f"seeds {seed} to {seed + hours - 1}: {passed:.1f} hours, {troubles} troubles, {lives} supervisors, "
        f"{verdicts} verdicts, {deeds} callbacks in {took:.0f} s of CPU ({passed / took:.2f} h/s): "
        + (f"{bad} runs with a finding" if bad else "nothing false, missed, doubled, lost or out of order")
    )
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
