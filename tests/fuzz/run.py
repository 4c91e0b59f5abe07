"""Inputs of any kind for everything that reads what others wrote. From ``tests/``:

    python -m fuzz.run --quick                       the kept inputs, and some thousand fresh ones, as in CI
    python -m fuzz.run --quick --times 640           10,000,000 in all, in about an hour of one CPU
    python -m fuzz.run --inputs 1000000 --seed 7     so many for each target
    python -m fuzz.run --target codec --inputs 100000 --guided
    python -m fuzz.run --target codec --input FILE   one input, with its traceback

Each target runs in a process of its own. ``--guided``: atheris (extra ``fuzz``) chooses inputs by the code that
they reach. A line for each target is printed: inputs, crashes (its process ended), exceptions (of the product or
of a rule of the target's), CPU time of the slowest input, memory after a warm-up and at the end. What failed is
kept in files, which are named. Ends with 1 if anything failed, or memory grew by more than ``--growth`` MB.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import fuzz.targets

TESTS = Path(__file__).resolve().parents[1]
ROOTS = (TESTS, TESTS.parent / "client", TESTS.parent / "supervisor")

_running: list[int] = []
"""Process groups of workers."""

LIVE = ("wire", "http", "tcp")
"""Not to be guided: the code that they reach is another process's."""


class Result(NamedTuple):
    """What became of one target."""

    name: str
    inputs: int
    crash: str
    """how its process ended, and with which input; empty: in order"""
    faults: dict[str, dict[str, Any]]
    slowest: float
    memory: tuple[float, float]

    @property
    def errors(self) -> int:
        return sum(noted["count"] for noted in self.faults.values())

    @property
    def growth(self) -> float:
        return self.memory[1] - self.memory[0]


def run(name: str, inputs: int, seed: int, place: Path, *, guided: bool = False) -> Result:
    """Try one target in a process of its own, which may write below ``place``."""
    place.mkdir(parents=True)
    command = [sys.executable, "-m", "fuzz.worker", name, str(inputs), str(seed), str(place)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, ROOTS))}
    if guided:
        command.append("--guided")
    with (place / "log").open("wb") as log:
        worker = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env=environment, cwd=place, start_new_session=True
        )
    _running.append(worker.pid)
    try:
        report, _ = worker.communicate()
    finally:
        _end(worker.pid)
    if worker.returncode == 0 and report:
        found = json.loads(report)
        return Result(name, found["inputs"], "", found["faults"], found["slowest"], tuple(found["memory"]))
    content = (place / "input").read_bytes() if (place / "input").exists() else b""
    (place / "crash").write_bytes(content[4 : 4 + int.from_bytes(content[:4], "big")])
    status = worker.returncode
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    last = (place / "log").read_text(errors="replace")[-3_000:]
    return Result(name, 0, f"{how}; input: {place / 'crash'}\n{last}", {}, 0.0, (0.0, 0.0))


def _end(group: int) -> None:
    """End a worker, with what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    _running.remove(group)


def _stop(*_: object) -> None:
    for group in _running:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    os._exit(1)


HEAD = f"{'target':<18}{'inputs':>12}{'crashes':>9}{'exceptions':>12}{'slowest':>11}{'memory, MB':>19}"


def line(each: Result) -> str:
    """One line of the table."""
    memory = f"{each.memory[0]:.1f} -> {each.memory[1]:.1f}"
    slowest = f"{each.slowest * 1000:.1f} ms"
    return f"{each.name:<18}{each.inputs:>12,}{bool(each.crash):>9}{each.errors:>12,}{slowest:>11}{memory:>19}"


def summary(results: list[Result]) -> str:
    """The last line of the table, and what failed."""
    crashes, errors = sum(bool(each.crash) for each in results), sum(each.errors for each in results)
    lines = [f"{'all':<18}{sum(each.inputs for each in results):>12,}{crashes:>9}{errors:>12,}"]
    for each in results:
        lines += [f"\n{each.name} crashed: {each.crash}"] if each.crash else []
        for place, noted in each.faults.items():
            lines += [f"\n{each.name}: {noted['count']:,} times {place}", noted["text"], noted["file"]]
    return "\n".join(lines)


def main() -> int:
    """Run it."""
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="fuzz.run", description=__doc__, formatter_class=raw)
    parser.add_argument("--target", action="append", choices=list(fuzz.targets.TARGETS), help="default: all")
    parser.add_argument("--inputs", type=int, default=100_000, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--guided", action="store_true", help="choose inputs by coverage; not for wire and http")
    parser.add_argument("--quick", action="store_true", help="about 15,000 in all, few where each takes long")
    parser.add_argument("--times", type=int, default=1, help="with --quick: times as many")
    parser.add_argument("--jobs", type=int, default=2, help="targets that are tried at once")
    parser.add_argument("--growth", type=float, default=32.0, help="MB that memory may grow")
    parser.add_argument("--input", type=Path, help="try the bytes of this file on the one --target")
    given = parser.parse_args()
    names = given.target or [each for each in fuzz.targets.TARGETS if not (given.guided and each in LIVE)]
    if given.guided and importlib.util.find_spec("atheris") is None:
        parser.error("--guided needs atheris: pip install -e '.[test,fuzz]'")
    if given.input is not None:
        target = fuzz.targets.load(names[0])
        target.check(given.input.read_bytes())
        target.close()
        return 0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    place = Path(tempfile.mkdtemp(prefix="bk-fuzz-"))
    results = []
    print(HEAD)

    def tried(name: str) -> Result:
        inputs = fuzz.targets.kind(name).QUICK * given.times if given.quick else given.inputs
        return run(name, inputs, given.seed, place / name, guided=given.guided)

    with ThreadPoolExecutor(given.jobs) as pool:
        for result in pool.map(tried, names):
            results.append(result)
            print(line(result), flush=True)
    print(summary(results))
    grown = [each.name for each in results if each.growth > given.growth]
    if grown:
        print(f"\nmemory grew by more than {given.growth:g} MB: {', '.join(grown)}")
    if grown or any(each.crash or each.faults for each in results):
        return 1
    shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
