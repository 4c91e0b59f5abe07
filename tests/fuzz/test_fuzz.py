"""The kept inputs, and some that hypothesis makes, and makes shorter; that faults are found. More: ``fuzz.run``."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import run
from fuzz.targets import TARGETS, Own, load
from fuzz.worker import INPUT_MAX, Run, kept_inputs

PURE = [name for name in TARGETS if name not in run.LIVE]
EXAMPLES = {"config": 4, "journal": 4, "files": 15}


@pytest.mark.parametrize("name", PURE)
def test_what_others_wrote_is_taken_or_refused(name: str) -> None:
    """Each target's rules hold for its kept inputs and for fresh ones."""
    target = load(name)
    try:
        for data in kept_inputs(name):
            target.check(data)

        @given(st.randoms(use_true_random=False))
        @settings(
            max_examples=EXAMPLES.get(name, 25), deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def fresh(chance: Random) -> None:
            target.check(target.fresh(chance))

        fresh()
    finally:
        target.close()


class Planted(Own):
    """A target with faults."""

    SECONDS = 0.3  # what reads its source for a traceback takes longer the first time

    def fresh(self, chance: Random) -> bytes:
        return b""

    def check(self, data: bytes) -> None:
        if data.startswith(b"raise"):
            raise KeyError(data[5:])
        if data == b"spin":
            until = time.thread_time() + 0.35
            while time.thread_time() < until:
                pass


def test_faults_are_counted_and_their_shortest_input_is_kept(tmp_path: Path) -> None:
    """By where they were raised: one that is raised often is one line. What takes too long is a fault, too."""
    tried = Run(Planted(), 100, mmap.mmap(-1, INPUT_MAX + 4), tmp_path / "found")
    for data in (b"good", b"raise--", b"raise-", b"raise---", b"spin"):
        tried.one(data)
    report = tried.report()
    raised, slow = report["faults"].values()
    assert (report["inputs"], raised["count"], slow["count"]) == (5, 3, 1)
    assert Path(raised["file"]).read_bytes() == b"raise-"
    assert "TooSlow" in slow["text"]


def test_a_crash_is_reported_with_its_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends the process, a signal for instance, is a crash of this target and of no other."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, banken.protocol.codec as codec\ncodec.decode = lambda frame: os.abort()\n"
    )
    monkeypatch.setattr(run, "ROOTS", (tmp_path, *run.ROOTS))
    found = run.run("codec", 10, 1, tmp_path / "codec")
    assert found.crash.startswith("SIGABRT")
    assert os.path.getsize(tmp_path / "codec" / "crash") > 0
    assert "codec crashed" in run.summary([found])
