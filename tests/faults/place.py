"""One supervisor, ``banken run`` with a journal, honest processes beside it, and what is seen of both.

Probes are watchdogs that are fed once and then fall silent: each has to be found in time, and its ladder's command
has to run. The honest ones feed all the time: none of them may have a verdict.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from banken.client import Client
from banken.control import Control, Events
from banken.errors import RequestFailed, Unreachable
from banken_supervisor.journal import journal_runner, reading
from process.kit import _PATHS, START_S, Child, memory, until

from .seen import HONEST_TIMEOUT_S, NotHere, Seen, false_verdicts

FEED_S = 0.1
PROBES, PROBE_TIMEOUT_S, PROBE_EVERY_S = 8, 0.25, 0.08

LATE_MAX_S = 2.0
"""Seconds after its deadline by which a silent one must have been heard of, on a machine that does other things."""

PIPE_BYTES = 4_096
STOP_MAX_S = 5.0
FEED_MAX_S = 1.0
EXPLAINED_S = 3.0
"""Seconds in which a process that was late itself has said so."""


CONFIG = """
[supervisor]
journal = "@JOURNAL@"
callback_limit = "500ms"

[[watchdog]]
name = "probe-*"
timeout = "250ms"
interval = "1h"
ladder = [{ do = "exec", command = ["true"] }]
"""

SCRIPT = str(Path(__file__).with_name("processes"))


@dataclass
class Pending:
    """A probe that was fed and is silent."""

    fed: float
    heard: float | None = None
    """when its verdict was"""


class Place:
    """A context manager. ``prepare``: called before the supervisor starts. ``own_disk``: the journal has a small
    file system of its own; NotHere where that cannot be made."""

    def __init__(
        self, honest: int, prepare: Callable[[Place], None] | None = None, *, own_disk: bool = False
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="bks-", dir="/tmp")
        self.path = Path(self._directory.name)
        self.address = str(self.path / "a")
        self._disk = self.path / "disk"
        self._disk.mkdir()
        self.journal = str(self._disk / "journal.db")
        self.honest, self._prepare, self._own_disk = honest, prepare, own_disk
        self.limits: dict[int, int] = {}
        """resource limits of each supervisor"""
        self.log: deque[str] = deque(maxlen=500)
        self.seen = Seen()
        self.lasting = 0.0
        """seconds, beyond LATE_MAX_S, by which a starved supervisor may be late"""
        self.reading = threading.Event()
        self.reading.set()
        self.process: subprocess.Popen[bytes] | None = None
        self.write("banken.toml", CONFIG.replace("@JOURNAL@", self.journal))
        self._children: list[Child] = []
        self._attacks: Child | None = None
        self._lost: list[tuple[float, float]] = []
        """when the supervisor could not run"""
        self._pending: dict[str, Pending] = {}
        self._ids: dict[str, str] = {}
        """by incident: its name, as it was announced since the last look into the journal"""
        self._announced: set[str] = set()
        """all incidents of it"""
        self._verdicts: list[tuple[str, float, str]] = []
        """of honest ones: name, when it was heard, cause"""
        self._own_lateness: list[dict[str, Any]] = []
        self._next_probe, self._number = 0.0, 0

    def __enter__(self) -> Place:
        self.client = Client(self.address, release_at_exit=False)
        names = [f"probe-{number}" for number in range(PROBES)]
        self._probes = {
            name: self.client.watchdog(name, timeout=PROBE_TIMEOUT_S, interval=3600.0, resolution=0.0)
            for name in names
        }
        try:
            if self._own_disk:
                self._mount()
            if self._prepare is not None:
                self._prepare(self)
            self.start()
            self._workers = self.child("honest", self.honest, HONEST_TIMEOUT_S, FEED_S)
            self._workers.hear()
            self.back()
            self.hear_again()
            self.judge(kept=False)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.reading.set()
        for child in self._children:
            child.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait(START_S)
            self._events.close()
        self.client.close()
        if self._disk.is_mount():
            subprocess.run(["umount", "-l", str(self._disk)], check=True)
        self._directory.cleanup()

    def _mount(self) -> None:
        if os.geteuid():
            raise NotHere("only root can mount a small file system")
        command = ["mount", "-t", "tmpfs", "-o", "size=4m", "t", str(self._disk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotHere(f"no small file system can be mounted: {done.stderr.strip()}")

    def write(self, name: str, text: str) -> Path:
        """A file beside the config."""
        path = self.path / name
        path.write_text(text, encoding="utf-8")
        return path

    def child(self, work: str, *args: object) -> Child:
        """A process of processes.py at this address."""
        child = Child(SCRIPT, work, self.address, *args)
        self._children.append(child)
        return child

    @contextmanager
    def again_and_again(self, harm: Callable[[], None], every: float) -> Iterator[None]:
        """Do this harm every so many seconds meanwhile; a file or a process that is not there is none."""
        over = threading.Event()

        def work() -> None:
            while not over.wait(every):
                with suppress(FileNotFoundError, psutil.NoSuchProcess):
                    harm()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    # -- the supervisor -----------------------------------------------------------------------------

    def journal_processes(self) -> list[psutil.Process]:
        """Those that have its journal open."""
        children = psutil.Process(self.pid).children()
        return [each for each in children if journal_runner.__name__ in each.cmdline()]

    @property
    def pid(self) -> int:
        """Its process."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """A supervisor, and what it tells from then on."""
        command = [sys.executable, "-m", "banken_supervisor", "run", "-c", str(self.path / "banken.toml")]
        paths = os.pathsep.join([str(self.path), *_PATHS])
        environment = {"HOME": str(self.path), "PATH": os.environ["PATH"], "PYTHONPATH": paths}
        environment |= {"BANKEN_ADDRESS": self.address, "SET_CLOCK": str(self.path / "clock")}
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment,
            cwd=self.path, start_new_session=True,
        )  # fmt: skip
        for what, limit in self.limits.items():
            resource.prlimit(process.pid, what, (limit, limit))
        assert process.stderr is not None
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        if self.process is not None:
            self._events.close()
        self.process = process
        threading.Thread(target=self._read_log, args=(process,), daemon=True).start()
        names = [f"honest-{each}" for each in range(self.honest)] + list(self._probes)
        self._events = Events(self.address, names)
        self._pending.clear()
        try:
            until(self._answers, "the supervisor answers", START_S)
        except AssertionError as problem:
            raise AssertionError(f"{problem}; its log: {list(self.log)[-20:]}") from None

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the supervisor has ended with {self.process.returncode}"
        with suppress(Unreachable), Control(self.address, 0.5) as control:
            return bool(control.request("ping"))
        return False

    def _read_log(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr as pipe, suppress(ValueError):
            while line := pipe.readline():
                self.log.append(line.decode(errors="replace").rstrip())
                self.reading.wait()

    def log_is_full(self) -> bool:
        """Whether a line of a thousand characters has no room in the pipe of its log."""
        assert self.process is not None
        assert self.process.stderr is not None
        waiting = fcntl.ioctl(self.process.stderr, termios.FIONREAD, bytes(4))
        return int.from_bytes(waiting, sys.byteorder) > PIPE_BYTES - 1_200

    def ask(self, op: str, **args: Any) -> Any:
        """Put one request."""
        with Control(self.address, 15.0) as control:
            return control.request(op, **args)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def terminate(self) -> None:
        """SIGTERM, and how long that takes; also to one that is stopped, which goes on then."""
        assert self.process is not None
        began = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGCONT):
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            self.seen.wrong.append("SIGTERM did not end it within 60 s")
            return
        self.seen.stops.append(time.monotonic() - began)
        if code:
            self.seen.wrong.append(f"SIGTERM: it ended with {code}: {list(self.log)[-5:]}")
        if self.seen.stops[-1] > STOP_MAX_S + self.lasting:
            self.seen.wrong.append(f"SIGTERM: it ended after {self.seen.stops[-1]:.1f} s")

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process is not None and self.process.poll() is None

    def back(self, within_s: float = START_S) -> None:
        """Wait until every honest one has fed this supervisor, and say how long that took."""
        began = time.monotonic()
        until(self._all_fed, "all honest ones are fed", within_s)
        self.seen.back.append(time.monotonic() - began)

    def _all_fed(self) -> bool:
        # Not by a pattern: behind thousands of names of others they are on another page.
        rows = self.ask("look", names=[f"honest-{each}" for each in range(self.honest)])["rows"]
        # What a new supervisor has not heard of yet has more time left than a feed gives.
        fed = [row["left"] is not None and row["left"] <= row["timeout"] + row["resolution"] for row in rows]
        return len(fed) == self.honest and all(fed)

    @contextmanager
    def not_running(self) -> Iterator[None]:
        """Inside, the supervisor cannot run: that time is held against nobody, nor against it."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._lost.append((began, time.monotonic()))

    # -- attacks ------------------------------------------------------------------------------------

    @contextmanager
    def attacked(self, kind: str, times: int = 1) -> Iterator[None]:
        """Inside, an attack of processes.py is under way, so many times at once."""
        if self._attacks is None:
            self._attacks = self.child("attacks")
        for _ in range(times):
            self._attacks.tell(kind)
            self._attacks.hear()
        try:
            yield
        finally:
            self._attacks.tell()
            while self._attacks.hear() != {"over": True}:
                pass

    # -- looking ------------------------------------------------------------------------------------

    def watch(self, seconds: float) -> None:
        """Feed probes, and listen, for so long."""
        deadline = time.monotonic() + seconds
        while (now := time.monotonic()) < deadline:
            if now >= self._next_probe:
                self._next_probe = now + PROBE_EVERY_S
                self._probe(now)
            self._listen(0.01)
        with suppress(OSError):
            self.seen.more = max(self.seen.more, memory(self.pid))

    def settle(self) -> None:
        """Listen until every probe was heard of, or is missed."""
        deadline = time.monotonic() + LATE_MAX_S + self.lasting + PROBE_TIMEOUT_S
        while self._pending and time.monotonic() < deadline:
            self._listen(0.02)
        for name, pending in self._pending.items():
            what = "is missed" if pending.heard is None else "is heard of, and its command does not run"
            self.seen.wrong.append(f"the silence of {name} {what}: {time.monotonic() - pending.fed:.1f} s")
        self._pending.clear()

    def hear_again(self) -> None:
        """Wait until a new subscription is there: a probe is heard of."""
        until(lambda: self.watch(0.1) or self.seen.late, "a probe is heard of", START_S)
        self.seen.late.clear()
        self.seen.deeds.clear()
        self._pending.clear()

    def _probe(self, now: float) -> None:
        self._number += 1
        name = f"probe-{self._number % PROBES}"
        if name in self._pending:
            return
        sent = self.client.stats()["sent"]
        fed = time.monotonic()
        self._probes[name].feed()
        if self.client.stats()["sent"] > sent:
            self._pending[name] = Pending(fed)

    def _listen(self, seconds: float) -> None:
        event = self._events.next(seconds)
        if event is None:
            return
        now, name, kind = time.monotonic(), event.get("name") or "", event["type"]
        if kind == "expired":
            if "replay" not in event and event["incident"] in self._announced:
                self.seen.wrong.append(f"{event['incident']} of {name} is doubled")
            self._ids[event["incident"]] = name
            self._announced.add(event["incident"])
            if name.startswith("honest-"):
                self._verdicts.append((name, now, event["cause"]))
        pending = self._pending.get(name)
        if pending is None:
            return
        late = max(0.0, now - pending.fed - PROBE_TIMEOUT_S - self._lost_in(pending.fed, now))
        if kind == "expired":
            pending.heard = now
            self.seen.late.append(late)
            if late > LATE_MAX_S + self.lasting:
                self.seen.wrong.append(f"the silence of {name} was heard {late:.1f} s late")
        elif kind == "action-done" and pending.heard is not None:
            self.seen.deeds.append(late)
            if late > LATE_MAX_S + self.lasting:
                self.seen.wrong.append(f"the command of {name} ran {late:.1f} s late")
            del self._pending[name]

    def _lost_in(self, since: float, until_: float) -> float:
        return sum(max(0.0, min(until_, end) - max(since, begin)) for begin, end in self._lost)

    def judge(self, *, kept: bool = True) -> Seen:
        """What was seen since the last call. ``kept``: the journal could write all the time."""
        deadline = time.monotonic() + EXPLAINED_S
        while self._false() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.seen.wrong += self._false()
        if not self.lasting:
            self.seen.wrong += [
                f"a feed of {each['name']} took {each['took']:.1f} s"
                for each in self._own_lateness
                if each["took"] > FEED_MAX_S
            ]
        self.seen.announced = len(self._ids)
        if kept:
            records = {each.id for each in reading.incidents(self.journal, limit=10**6)}
            if lost := [f"{id_} of {name}" for id_, name in self._ids.items() if id_ not in records]:
                told = [line for line in self.log if "journal" in line]
                self.seen.wrong.append(f"{len(lost)} incidents are lost, as {lost[0]}; its log: {told[-5:]}")
        self._ids.clear()
        self._verdicts.clear()
        recent = time.monotonic() - 2 * HONEST_TIMEOUT_S
        self._own_lateness = [each for each in self._own_lateness if each["to"] > recent]
        self._lost.clear()
        seen, self.seen = self.seen, Seen()
        return seen

    def _false(self) -> list[str]:
        """The verdicts on honest ones that they do not explain, by what they have said up to now."""
        while not self._workers.silent(0.0):
            self._own_lateness.append(self._workers.hear())
        return false_verdicts(self._verdicts, self._own_lateness)

    def internal_errors(self) -> dict[str, int]:
        """Faults of the supervisor's own that it survived; empty where it does not answer."""
        with suppress(Unreachable, RequestFailed):
            found: dict[str, int] = self.ask("summary")["internal_errors"]
            return found
        return {}
