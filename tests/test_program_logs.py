"""What watches the programs' logs, without a program: full disks, and the descriptors that it holds."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from banken_supervisor.engine.policy import ProgramSpec
from banken_supervisor.programs import logs as module
from banken_supervisor.programs.logs import Logs
from recovery_kit import until


class Bench:
    """The watch over the logs, and a program's own descriptor of its log."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.fd = self.open()
        self.told: list[str] = []
        self.threads: list[threading.Thread] = []
        self.logs = Logs(self._start, lambda names, text: self.told.append(text))
        self.spec = ProgramSpec("a", ("x",), log=str(log), log_bytes_max=1_000, log_files_max=1)
        self.keep()

    def open(self) -> int:
        return os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def _start(self, work: Callable[[], None]) -> None:
        self.threads.append(threading.Thread(target=work, daemon=True))
        self.threads[-1].start()

    def keep(self) -> None:
        self.logs.keep(self.spec)
        found = os.fstat(self.fd)
        until(lambda: self._writes_to() == (found.st_dev, found.st_ino), "it is known what it writes to")

    def _writes_to(self) -> tuple[int, int] | None:
        log = self.logs._logs.get(os.path.realpath(self.log))
        return None if log is None else log.writers.get("a")

    def move(self, to: Path) -> None:
        """And wait until that is noticed."""
        before = len(self.told)
        os.rename(self.log, to)
        until(lambda: len(self.told) > before, "it is noticed")

    def held(self) -> int:
        """How many descriptors are open of files in its directory, but the program's."""
        paths = []
        for each in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                paths.append(os.readlink(f"/proc/self/fd/{each}"))
        return sum(path.startswith(f"{self.log.parent}/") for path in paths) - 1

    def close(self) -> None:
        self.logs.close()
        for each in self.threads:
            each.join(10.0)
        os.close(self.fd)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(module, "LOOK_FAST", 0.01)
    monkeypatch.setattr(module, "LOOK_SLOW", 0.02)
    made = Bench(tmp_path / "log")
    yield made
    made.close()


def test_a_full_disk_at_the_start_of_a_program_ends_no_watch_over_logs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written to the old file is moved over when there is room, and bounds are kept."""
    old = bench.log.with_name("old")
    bench.move(old)
    full = threading.Event()
    copy = module.copy

    def fails_while_full(source: int, target: int, begin: int, most: int) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        copy(source, target, begin, most)

    monkeypatch.setattr(module, "copy", fails_while_full)
    full.set()
    os.write(bench.fd, b"from the old one")
    until(lambda: bench.logs._broken, "it cannot be moved over")
    os.close(bench.fd)
    bench.fd = bench.open()
    bench.keep()
    full.clear()
    until(lambda: bench.log.read_bytes() == b"from the old one", "it was moved over")
    until(lambda: bench.held() == 1, "the old file is let go of")
    os.write(bench.fd, b"x" * 1_500)
    until(lambda: bench.log.stat().st_size == 0, "it is rotated")


def test_however_often_a_log_is_moved_two_files_are_held(bench: Bench) -> None:
    """The one that the program writes to, and the newest."""
    for number in range(4):
        bench.move(bench.log.with_name(f"old.{number}"))
    until(lambda: bench.held() == 2, "the files between are let go of")
    os.write(bench.fd, b"still")
    until(lambda: bench.log.exists() and bench.log.read_bytes() == b"still", "it is moved over")
    until(lambda: bench.log.with_name("old.0").stat().st_size == 0, "it is moved, not copied")
    assert [bench.log.with_name(f"old.{number}").read_bytes() for number in range(4)] == [b""] * 4


def test_a_log_whose_directory_is_gone_is_told_once_and_made_anew_when_it_is_back(
    tmp_path: Path, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    one = Bench(folder / "log")
    try:
        os.rename(folder, tmp_path / "elsewhere")
        until(lambda: caplog.text.count("cannot be rotated") == 1, "it is told")
        time.sleep(0.3)  # ten looks and more
        assert caplog.text.count("cannot be rotated") == 1
        folder.mkdir()
        until(lambda: one.told and one.log.exists(), "it is made anew")
    finally:
        one.close()
