"""What all benchmarks share: figures and verdicts, child processes that are always ended, clocks of other
processes.

A figure is *met* or *missed* against the limit asked of it, or it is only told. Nothing here knows any
result: limits are constants in the benchmark's own file, values are what was measured in this run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Timer
from typing import IO, Any

HERE = Path(__file__).resolve().parent
ROOTS = (HERE.parent / "client", HERE.parent / "supervisor")

MET = "met"
MISSED = "missed"
TOLD = ""
SKIPPED = "skipped"


@dataclass(slots=True)
class Figure:
    """One line of the table. ``at_most`` / ``at_least`` is what was asked; neither: the figure is only
    told."""

    benchmark: str
    what: str
    value: float | None
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    """more of what was measured, for the JSON"""

    @property
    def verdict(self) -> str:
        """Whether the limit was kept."""
        if self.value is None:
            return SKIPPED
        if self.at_most is None and self.at_least is None:
            return TOLD
        kept = (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )
        return MET if kept else MISSED

    @property
    def asked(self) -> str:
        """The limit in words."""
        if self.at_most is not None:
            return f"≤ {number(self.at_most)} {self.unit}".rstrip()
        if self.at_least is not None:
            return f"≥ {number(self.at_least)} {self.unit}".rstrip()
        return ""

    @property
    def measured(self) -> str:
        """The value in words."""
        return "–" if self.value is None else f"{number(self.value)} {self.unit}".rstrip()

    def as_json(self) -> dict[str, Any]:
        """The figure as plain data."""
        return {
            "benchmark": self.benchmark,
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "at_most": self.at_most,
            "at_least": self.at_least,
            "verdict": self.verdict,
            "note": self.note,
            **({"data": self.data} if self.data else {}),
        }


def number(value: float) -> str:
    """Three significant digits, thousands set apart."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of ``values`` do not exceed: nearest rank, never interpolated
    down."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def interleaved(rounds: int, contenders: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Run each contender once a round, A B C A B C …, so that a noisy minute hits all of them.

    Every other round goes backwards, so that nobody always runs right after the same neighbour.
    """
    results: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        names = list(contenders)
        for name in names if turn % 2 == 0 else reversed(names):
            results[name].append(contenders[name]())
    return results


def ratio(results: dict[str, list[float]], above: str, below: str) -> float:
    """The median of the ratios of each round: what was measured side by side is compared."""
    return median(a / b for a, b in zip(results[above], results[below], strict=True))


def per_call_ns(call: Callable[[], object], calls: int) -> float:
    """Nanoseconds a call takes in a hot loop, the loop's own few nanoseconds included."""
    turns = range(calls)
    start = time.perf_counter_ns()
    for _ in turns:
        call()
    return (time.perf_counter_ns() - start) / calls


def environment() -> dict[str, str]:
    """A child's environment: both source roots importable, bytecode cached, nothing else of Python's."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "BANKEN_"))}
    kept["PYTHONPATH"] = os.pathsep.join(map(str, ROOTS))
    return kept


@contextmanager
def short_directory() -> Iterator[str]:
    """A directory whose name leaves room for the path of a Unix socket; gone afterwards."""
    base = "/tmp" if os.path.isdir("/tmp") else None
    path = tempfile.mkdtemp(prefix="bkb", dir=base)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Child:
    """A process of a benchmark: a file of this directory, run by this interpreter.

    It talks in lines of JSON: it says the first one when it is ready, hears others on its standard input
    and answers. Its standard error is kept and shown when it fails. Leaving the ``with`` block ends it:
    SIGTERM, then SIGKILL.
    """

    def __init__(self, *command: object, module: str | None = None, file: str | None = None) -> None:
        self.name = f"{module or file} {' '.join(map(str, command))}"
        target = ["-m", module] if module else [str(HERE / f"{file}.py")]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed in end)
        self.process = subprocess.Popen(
            [sys.executable, *target, *map(str, command)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def line(self, within_s: float = 180.0) -> dict[str, Any]:
        """Its next line; RuntimeError with its standard error when there is none, or none in time."""
        assert self.process.stdout is not None
        watchdog = Timer(within_s, self.process.kill)
        watchdog.start()
        try:
            text = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        if not text:
            self.process.wait(10)
            raise RuntimeError(f"{self.name}: exit {self.process.returncode}\n{self.errors()}")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def ask(self, **data: Any) -> dict[str, Any]:
        """Tell it something and wait for its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(data) + "\n")
        self.process.stdin.flush()
        return self.line()

    def errors(self) -> str:
        """What it wrote to its standard error so far, the end of it."""
        return written(self._errors)[-4000:].decode(errors="replace")

    def terminate(self) -> None:
        """Ask it to end, and to tell what it found."""
        self.process.send_signal(signal.SIGTERM)

    def end(self, patience_s: float = 5.0) -> None:
        """See to it that it is gone."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(patience_s)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(OSError):  # what was never read need not be written either
                pipe.close()
        self._errors.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def say(**data: Any) -> None:
    """A child's line to its parent."""
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


def asked() -> Iterator[dict[str, Any]]:
    """In a child: what the parent asks, until it hangs up."""
    for line in sys.stdin:
        yield json.loads(line)


def exit_on_sigterm(code: int = 0) -> None:
    """SIGTERM raises SystemExit, so that ``finally`` runs."""

    def leave(_number: int, _frame: object) -> None:
        raise SystemExit(code)

    signal.signal(signal.SIGTERM, leave)


# -- what the kernel knows of another process (Linux) -------------------------------------------------


def written(file: IO[bytes]) -> bytes:
    """What a process has written to ``file`` by now. A seek would move the place at which it goes on writing."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process so far, to the nanosecond: its CPU clock, see
    clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wakeups(pid: int) -> int:
    """How often the threads of a process went to sleep and were woken: voluntary context switches."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt"))
    return total


def wait_for(what: str, ready: Callable[[], bool], within_s: float, every_s: float = 0.05) -> None:
    """Poll until ``ready``; TimeoutError names what did not come."""
    deadline = time.monotonic() + within_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {within_s:g} s")
        time.sleep(every_s)
