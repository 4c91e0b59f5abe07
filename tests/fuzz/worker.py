"""One target in a process of its own: ``run.py`` starts it, and reads what it prints, one JSON object.

The kept inputs come first, then fresh ones: half are made by the target, half are changed bytes of others. With
``--guided`` atheris chooses instead, by which code an input reaches.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import json
import mmap
import os
import re
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutation import damaged
from fuzz.targets import Target, load

CORPUS = Path(__file__).parent / "corpus"

INPUT_MAX = 1 << 20
"""Bytes of the longest input."""

MEMORY_MAX = 6 << 30
"""Bytes of address space: what asks for more gets a MemoryError, which is a fault."""

PEAK_MAX = 256 << 20
"""Bytes that the processes of a target may take for one input."""

HANG_S = 120.0
"""Seconds without an end of an input, after which the process ends itself with all its stacks."""

ARM_S = 5.0
"""Seconds between two times that this is put off."""

WARM = 20_000
"""Inputs, or a fifth of all, after which memory is measured for the first time."""

POOL_MAX = 200
"""Inputs that are kept to be changed."""


class TooSlow(Exception):
    """An input took more CPU time than it may."""


class TooLarge(Exception):
    """Some input took more memory than any may."""


class Run:
    """Counts what happens to the inputs of one target. ``kept``: where the input of the moment is written."""

    def __init__(self, target: Target, inputs: int, kept: mmap.mmap, found: Path) -> None:
        self.inputs, self.count, self.slowest = inputs, 0, 0.0
        self._target, self._kept, self._found = target, kept, found
        self.faults: dict[str, dict[str, Any]] = {}
        self._warm = min(WARM, inputs // 5)
        self._memory = [0, 0]
        self._peak = self._highest()  # not of these inputs
        self._armed = 0.0

    def one(self, data: bytes) -> None:
        """Try one input."""
        data = data[:INPUT_MAX]
        if (now := time.monotonic()) > self._armed + ARM_S:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            self._armed = now
        self._kept[: len(data) + 4] = len(data).to_bytes(4, "big") + data
        if (took := self._tried(data)) > self._target.SECONDS:
            took = min(took, self._tried(data), self._tried(data))  # else it was the collector, or the machine
            if took > self._target.SECONDS:
                self._note(TooSlow(f"{took:.2f} s of CPU"), data)
        self.slowest = max(self.slowest, took)
        self.count += 1
        if self.count == self._warm:
            self._memory[0] = self._resident()

    def report(self) -> dict[str, Any]:
        """The end: what is left to be checked, and all counts."""
        faulthandler.cancel_dump_traceback_later()
        self._memory[1], peak = self._resident(), self._highest()
        try:
            self._target.close()
        except Exception as fault:
            self._note(fault, b"")
        if peak > (before := max(self._memory[0], self._peak)) + PEAK_MAX:
            self._note(TooLarge(f"{peak / 1e6:.0f} MB at most, {before / 1e6:.0f} MB before"), b"")
        memory = [each / 1e6 for each in self._memory]
        return {"inputs": self.count, "faults": self.faults, "slowest": self.slowest, "memory": memory}

    def _tried(self, data: bytes) -> float:
        began = time.thread_time()
        try:
            self._target.check(data)
        except Exception as fault:
            self._note(fault, data)
        return time.thread_time() - began

    def _note(self, fault: Exception, data: bytes) -> None:
        """Count it by where it was raised, and keep the shortest input of each."""
        frames = traceback.extract_tb(fault.__traceback__)
        place = " < ".join(f"{os.path.basename(each.filename)}:{each.lineno}" for each in frames[:-4:-1])
        key = f"{type(fault).__name__} {place}"
        noted = self.faults.setdefault(key, {"count": 0, "text": "", "size": INPUT_MAX + 1, "file": ""})
        noted["count"] += 1
        if len(data) < noted["size"]:
            self._found.mkdir(parents=True, exist_ok=True)
            path = self._found / f"fault-{list(self.faults).index(key)}"
            path.write_bytes(data)
            noted.update(text=f"{fault!r}"[:2_000], size=len(data), file=str(path))

    def _resident(self) -> int:
        """Bytes in memory, of all processes of the target."""
        gc.collect()
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._target.pids)
        return pages * resource.getpagesize()

    def _highest(self) -> int:
        """Bytes that they had in memory at most."""
        status = "".join(Path(f"/proc/{pid}/status").read_text() for pid in self._target.pids)
        return sum(1024 * int(found) for found in re.findall(r"VmHWM:\s+(\d+) kB", status))


def kept_inputs(name: str) -> list[bytes]:
    """The kept inputs of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def fresh_inputs(target: Target, kept: list[bytes], chance: Random) -> Iterator[bytes]:
    """Without end."""
    pool = kept[-POOL_MAX // 2 :] or [b""]
    while True:
        if chance.random() < 0.5:
            data = target.fresh(chance)
            if len(pool) < POOL_MAX:
                pool.append(data)
            elif chance.random() < 0.01:
                pool[chance.randrange(POOL_MAX // 2, POOL_MAX)] = data
            yield data
        else:
            yield damaged(chance, chance.choice(pool), chance.choice(pool))


def _guided(run: Run, target: Target, name: str, seed: int, corpus: str, report: Any) -> None:
    """Never returns: libFuzzer ends the process, so ``report`` is called before its last input returns."""
    import atheris

    def one(data: bytes) -> None:
        run.one(data)
        if run.count >= run.inputs:
            report()
            os._exit(0)

    def mutate(data: bytes, size_max: int, seed: int) -> bytes:
        chance = Random(seed)
        made = target.fresh(chance) if chance.random() < 0.2 else atheris.Mutate(data, len(data) + 64)
        return made[:size_max]

    folders = [corpus, *(str(each) for each in [CORPUS / name] if each.is_dir())]
    options = [f"-seed={seed + 1}", "-max_len=65536", "-rss_limit_mb=0", "-timeout=0", "-verbosity=0", "-runs=-1"]
    atheris.Setup(["fuzz", *options, *folders], one, custom_mutator=mutate, enable_python_coverage=True)
    atheris.Fuzz()


def main() -> None:
    """See ``run.py`` for the arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("inputs", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("place", type=Path)
    parser.add_argument("--guided", action="store_true")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    told = os.dup(1)
    os.dup2(2, 1)  # what is printed by others is no report
    with open(given.place / "input", "wb+") as file:
        file.truncate(INPUT_MAX + 4)
        kept = mmap.mmap(file.fileno(), INPUT_MAX + 4)
    if given.guided:
        import atheris

        with atheris.instrument_imports(include=["banken", "banken_supervisor"]):
            target = load(given.target)
    else:
        target = load(given.target)
    run = Run(target, given.inputs, kept, given.place / "found")

    def report() -> None:
        os.write(told, json.dumps(run.report()).encode())

    if given.guided:
        (given.place / "corpus").mkdir()
        _guided(run, target, given.target, given.seed, str(given.place / "corpus"), report)
    known = kept_inputs(given.target)
    for data in known[: given.inputs]:
        run.one(data)
    made = fresh_inputs(target, known, Random(given.seed))
    while run.count < run.inputs:
        run.one(next(made))
    report()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
        sys.exit(0)
    sys.exit(130)
