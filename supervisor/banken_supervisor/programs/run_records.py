"""Which programs run: one small file each, so that kill -9 of the supervisor loses none and starts none twice.

Before the spawn the intent is written: the name and the run's mark. After it the process: pid and start time. At
its end the file is removed. So after a crash the next supervisor finds one of three things: no file, and no
process; an intent, and then a process with this mark or none; a process by its identity. Files are written under
another name and renamed. They need not reach the disk: after a restart of the machine their boot id is another
one.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from typing import Any, NamedTuple

from banken.process_identity import boot_id
from banken.protocol.limits import check_name, check_seconds
from banken_supervisor.programs.engine.record import signal_number
from banken_supervisor.text.sanitize import from_json

HELD = ".stopped"
"""How the file of one ends that was asked to stop."""

RECORD_MAX = 64 * 1024
"""Bytes of one file that are read."""


class RunRecord(NamedTuple):
    """What one file says."""

    name: str
    run: str
    """the mark in the process's environment"""
    boot: str
    pid: int = 0
    """0: only the intent was written"""
    start: int = 0
    """ticks since boot"""
    stop_signal: str = "SIGTERM"
    stop_timeout: float = 10.0
    """how to stop it where the configuration no longer names it"""
    stopping: bool = False
    """it is being stopped, or waits for its turn; unless it was asked to stay down, it is started again"""
    ready: bool = False
    """it was ready"""


class RunRecords:
    """The files of one address. Safe from any thread; OSError where the disk refuses."""

    def __init__(self, directory: str) -> None:
        self._directory = os.path.join(directory, "programs")
        self._boot = boot_id().hex()
        self._unsure: set[str] | None = None
        """those that had a record when they were read, of whatever boot, or damaged; None: they were not read"""
        self._lock = threading.Lock()
        self._last: dict[str, RunRecord] = {}
        """what the file of each name says"""

    def prepare(self) -> str | None:
        """Make the directory; clear away what a crash left half written.

        A sentence about what stood in its place, if anything did.
        """
        fault = None
        if os.path.lexists(self._directory) and not os.path.isdir(self._directory):
            aside = f"{self._directory}.{time.time_ns()}.damaged"
            os.rename(self._directory, aside)
            fault = f"{self._directory} is no directory, and is put aside as {aside}"
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        for path, _ in self._files(".new"):
            with contextlib.suppress(OSError):  # a directory, say: it does no harm
                os.unlink(path)
        return fault

    def intend(self, name: str, run: str, stop_signal: str = "SIGTERM", stop_timeout: float = 10.0) -> RunRecord:
        """A process of this run is about to be made."""
        record = RunRecord(name, run, self._boot, 0, 0, stop_signal, stop_timeout)
        self._write(record)
        return record

    def confirm(self, record: RunRecord, pid: int, start: int) -> None:
        """It was made."""
        self._write(record._replace(pid=pid, start=start))

    def change(self, name: str, **fields: Any) -> None:
        """Something of it is otherwise now. Where the disk refuses, the next supervisor does not know."""
        with self._lock, contextlib.suppress(OSError):
            record = self._last.get(name)
            if record is not None:
                self._last[name] = record._replace(**fields)
                self._put(self._last[name])

    def is_stopping(self, name: str) -> bool:
        """Whether that is on record."""
        record = self._last.get(name)
        return record is not None and record.stopping

    def stopping(self, name: str) -> None:
        """It is being stopped. Where the disk refuses, the next supervisor takes its end for one by itself."""
        with self._lock, contextlib.suppress(OSError):
            record = self._last.get(name)
            if record is not None and not record.stopping:
                self._last[name] = record._replace(stopping=True)
                self._put(self._last[name])

    def forget(self, name: str, run: str) -> None:
        """It is gone, and all of its group. Nothing happens if the file speaks of a later run by now."""
        with self._lock:
            if name in self._last and self._last[name].run == run:
                del self._last[name]
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path(name))

    def write_again(self) -> None:
        """Write the files that were removed by others. Safe from any thread."""
        with self._lock:
            for record in self._last.values():
                if not os.path.exists(self._path(record.name)):
                    self._put(record)

    def hold(self, name: str, held: bool) -> None:
        """Keep whether it was asked to stop, and is to stay down until it is asked to start, or the host boots.
        Where the disk refuses, the next supervisor starts it, which is the lesser evil."""
        path = self._path(name, HELD)
        with contextlib.suppress(OSError):
            if held:
                with open(f"{path}.new", "w", encoding="ascii", opener=_for_us_alone) as file:
                    file.write(self._boot)
                os.replace(f"{path}.new", path)
            else:
                os.unlink(path)

    def held(self) -> set[str]:
        """The names of those that were asked to stop."""
        found = set()
        for path, name in self._files(HELD):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                if file.read(RECORD_MAX) == self._boot.encode():
                    found.add(name)
        return found

    def read(self) -> tuple[list[RunRecord], dict[str, str]]:
        """All records of this boot; and of each file that could not be used, the program's name and what was wrong.

        RunRecords of an earlier boot are removed, damaged ones put aside.
        """
        records: list[RunRecord] = []
        faults: dict[str, str] = {}
        earlier = set()
        for path, name in self._files(".json"):
            try:
                with open(path, "rb") as file:
                    record = _parse(file.read(RECORD_MAX))
                if self._path(record.name) != path:
                    raise ValueError(f"it speaks of {record.name!r}")
            except (OSError, ValueError) as fault:
                faults[name] = f"{path} is put aside: {fault}"
                with contextlib.suppress(OSError):
                    os.replace(path, f"{path}.damaged")
                continue
            if record.boot != self._boot:
                os.unlink(path)
                earlier.add(record.name)
                continue
            self._last[record.name] = record
            records.append(record)
        self._unsure = {*faults, *earlier, *(record.name for record in records)}
        return records, faults

    def had_ended(self, name: str) -> bool:
        """Whether it is certain that this one had ended when the former supervisor, or the host, did."""
        return self._unsure is not None and name not in self._unsure

    def _write(self, record: RunRecord) -> None:
        with self._lock:
            self._put(record)
            self._last[record.name] = record

    def _put(self, record: RunRecord) -> None:
        path = self._path(record.name)
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        try:
            with open(f"{path}.new", "w", encoding="ascii", opener=_for_us_alone) as file:
                json.dump(record._asdict(), file)
            os.replace(f"{path}.new", path)
        except OSError as fault:  # of a write (a full disk) it names no file
            raise OSError(fault.errno, fault.strerror, path) from None

    def _path(self, name: str, ending: str = ".json") -> str:
        return os.path.join(self._directory, file_name(name) + ending)

    def _files(self, ending: str) -> list[tuple[str, str]]:
        """The path and the program's name of each file of this kind."""
        found = sorted(entry for entry in os.listdir(self._directory) if entry.endswith(ending))
        return [(os.path.join(self._directory, e), e.removesuffix(ending).replace(",", "/")) for e in found]


def file_name(name: str) -> str:
    """How the files of a program are called. A name may hold a slash, and never a comma."""
    return name.replace("/", ",")


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _parse(text: bytes) -> RunRecord:
    """ValueError: it is not a whole record."""
    found = from_json(text)
    if isinstance(found, dict):
        found.setdefault("ready", False)  # an older one
    if not isinstance(found, dict) or set(found) != set(RunRecord._fields):
        raise ValueError("it is not a record of a program")
    if isinstance(found["stop_timeout"], int):
        found["stop_timeout"] = float(found["stop_timeout"])
    for key, example in RunRecord("", "", "")._asdict().items():
        if type(found[key]) is not type(example):
            raise ValueError(f"its {key} is a {type(found[key]).__name__}")
    check_name(found["name"])
    signal_number(found["stop_signal"])
    check_seconds(found["stop_timeout"], "its stop_timeout", zero=True)
    return RunRecord(**found)
