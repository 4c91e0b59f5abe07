"""The deadman's address, a real HTTP server, and the hardware's watchdog, for which a FIFO of the test's stands.

A machine that is reset by a test would be of little use: what the FIFO gets is what the device would.
"""

from __future__ import annotations

import os
import select
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from process.kit import START_S, process_state, until
from process.run_kit import Running, running

pytestmark = pytest.mark.process

SECRET = "s3cret-of-the-deadman"  # of this test alone


class Server:
    """Counts what comes, and answers as it is told to."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.status = 200
        self.wait = threading.Event()
        self.wait.set()
        """cleared: no request is answered"""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.paths.append(self.path)
                outer.wait.wait(60)
                with suppress(ConnectionError):
                    self.send_response(outer.status)
                    self.send_header("Location", "/elsewhere")
                    self.end_headers()
                    self.wfile.write(f"you asked for {self.path}".encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/ping/${{DEADMAN_KEY}}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.wait.set()
        self._server.shutdown()
        self._server.server_close()

    def comes(self, within: float = START_S) -> None:
        """Wait for one more request."""
        before = len(self.paths)
        until(lambda: len(self.paths) > before, "it is fetched", within)

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing comes in this time."""
        before, deadline = len(self.paths), time.monotonic() + seconds
        while time.monotonic() < deadline and len(self.paths) == before:
            time.sleep(0.02)
        return len(self.paths) == before


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as made:
        yield made


@contextmanager
def deadman(server: Server, more: str = "", every: str = "1s") -> Iterator[Running]:
    config = f'[supervisor]\ndeadman = {{ url = "{server.url}", every = "{every}" }}\n{more}'
    with running(config, under=("env", f"DEADMAN_KEY={SECRET}")) as one:
        yield one


def counts(one: Running) -> dict[str, int]:
    found: dict[str, int] = one.home.ask("summary")["deadman"]
    return found


def test_the_address_is_fetched_while_the_supervisor_works(server: Server) -> None:
    """Again and again; not while the process is stopped; and its secret is shown nowhere."""
    with deadman(server) as one:
        events = one.home.events()
        for _ in range(3):
            server.comes()
        assert set(server.paths) == {f"/ping/{SECRET}"}
        until(lambda: counts(one)["ok"] >= 3, "it is counted")
        one._started[0].send_signal(signal.SIGSTOP)
        until(lambda: process_state(one._started[0].pid) in "Tt", "it stops")
        time.sleep(0.2)  # what was on its way comes
        assert server.is_silent(1.6)
        one._started[0].send_signal(signal.SIGCONT)
        server.comes()
        server.status = 404
        told = events.until(START_S, "outer-watchdog", what="deadman", state="failed")
        assert "answered 404" in told["text"]
        until(lambda: counts(one)["failed"] >= 3, "it is tried again")
        server.status = 204
        states = lambda: [each["state"] for each in events.all("outer-watchdog")]  # noqa: E731
        until(lambda: states()[-1] == "ok", "it is told that it is well again", START_S)
        assert states()[-2:] == ["failed", "ok"]
        assert states().count("failed") == 1
        assert SECRET not in one.log.read_text()
        assert SECRET not in repr(events.all("outer-watchdog"))


def test_a_server_that_redirects_never_answers_or_is_gone(server: Server) -> None:
    """All are failures. The requests end; the supervisor answers at once meanwhile, and ends in time."""
    with deadman(server) as one:
        fails = lambda before: until(lambda: counts(one)["failed"] > before, "it fails", START_S)  # noqa: E731
        server.status = 302
        fails(0)
        assert "/elsewhere" not in server.paths
        server.wait.clear()
        server.comes()
        fails(counts(one)["failed"] + 1)
        began = time.monotonic()
        assert one.home.ask("ping")
        assert time.monotonic() - began < 0.5
        server._server.server_close()
        fails(counts(one)["failed"])
        one._started[0].terminate()
        assert one._started[0].wait(10) == 0
        assert SECRET not in one.log.read_text()


def test_it_is_withheld_while_the_journal_is_locked(server: Server) -> None:
    """As soon as it takes entries again, the address is fetched again."""
    with deadman(server) as one:
        events = one.home.events()
        server.comes()
        journal = next(Path(one.address).glob("journal.db"))
        with closing(sqlite3.connect(journal, isolation_level=None, timeout=10)) as other:
            other.execute("BEGIN IMMEDIATE")
            told = events.until(START_S, "outer-watchdog", what="deadman", state="withheld")
            assert "journal" in told["text"]
            assert server.is_silent(1.6)
            until(lambda: counts(one)["withheld"] >= 2, "it is tried again", START_S)
            other.execute("ROLLBACK")
        server.comes()
        events.until(START_S, "outer-watchdog", what="deadman", state="ok")


def test_it_is_not_fetched_while_the_loop_is_held(server: Server, tmp_path: Path) -> None:
    """Though the thread that fetches it is well."""
    (tmp_path / "own.py").write_text(
        "import gc, time\n"
        "def hold():\n"
        "    from banken_supervisor.runtime.loop import Loop\n"
        "    for each in gc.get_objects():\n"
        "        if isinstance(each, Loop):\n"
        "            each.turn = lambda: time.sleep(3600)\n"
    )
    more = (
        'callback_process = false\n[callbacks]\nhold = "own:hold"\n'
        '[[watchdog]]\nname = "w"\ntimeout = "100ms"\ncallback = "hold"\n'
    )
    config = f'[supervisor]\ndeadman = {{ url = "{server.url}", every = "1s" }}\n{more}'
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with running(config, under=("env", f"DEADMAN_KEY={SECRET}", f"PYTHONPATH={path}")) as one:
        server.comes()
        one.home.client().feed("w")
        until(lambda: server.is_silent(1.6), "it is silent", START_S)
        assert one._started[0].poll() is None


def test_it_is_withheld_while_the_process_of_the_checks_does_not_answer(server: Server) -> None:
    """It is stopped here; as soon as another one in its place answers, the address is fetched again."""
    check = '[[watchdog]]\nname = "w"\ncheck = { exec = ["true"], every = "1s" }\n'
    with deadman(server, check) as one:
        events = one.home.events()
        answers = lambda: one.watchdogs().get("banken-checks", {}).get("state") == "alive"  # noqa: E731
        until(answers, "they are run", START_S)
        server.comes()

        def withheld() -> bool:  # the one in its place is stopped, too, before it answers
            if pid := one.program("banken-checks")["pid"]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            return any(each["state"] == "withheld" for each in events.all("outer-watchdog"))

        until(withheld, "it is withheld", START_S)
        told = next(each for each in events.all("outer-watchdog") if each["state"] == "withheld")
        assert "runs the checks" in told["text"]
        server.comes()


def test_a_reload_changes_and_ends_it(server: Server) -> None:
    with closing(Server()) as other, deadman(server) as one:
        server.comes()
        config = one.place / "banken.toml"
        config.write_text(f'[supervisor]\ndeadman = {{ url = "{other.url}", every = "1s" }}\n')
        one._started[0].send_signal(signal.SIGHUP)
        other.comes()
        assert server.is_silent(1.6)
        config.write_text("[supervisor]\n")
        one._started[0].send_signal(signal.SIGHUP)
        until(lambda: counts(one) is None, "it is over", START_S)
        assert other.is_silent(1.6)


# -- the device -----------------------------------------------------------------------------------------


class Device:
    """A FIFO in the place of /dev/watchdog."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self, seconds: float) -> bytes:
        """What comes within this time, up to the first of it; empty: nothing, or it was closed."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return b""
        return os.read(self.fd, 4096)

    def comes(self) -> bytes:
        return bytes(until(lambda: self.read(0.2), "it is written to", START_S))

    def drain(self) -> bytes:
        """All that was written and not read."""
        found = b""
        while some := self.read(0.0):
            found += some
        return found

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with closing(Device(tmp_path / "watchdog")) as made:
        yield made


def test_the_device_is_fed_by_the_loop_and_disarmed_at_an_orderly_end(device: Device) -> None:
    """Not while the process is stopped; the last that it gets is V, once."""
    with running(f'[supervisor]\nhardware_watchdog = "{device.path}"\n') as one:
        for _ in range(3):
            assert set(device.comes()) == {0}
        until(lambda: one.home.ask("summary")["hardware_watchdog_feeds"] >= 3, "they are counted")
        one._started[0].send_signal(signal.SIGSTOP)
        until(lambda: process_state(one._started[0].pid) in "Tt", "it stops")
        device.drain()
        assert not device.read(1.6)
        one._started[0].send_signal(signal.SIGCONT)
        device.comes()
        one._started[0].terminate()
        assert one._started[0].wait(20) == 0
        left = device.drain()
        assert left.endswith(b"V")
        assert left.count(b"V") == 1
        assert "is armed" in one.log.read_text()


def test_a_supervisor_that_is_killed_does_not_disarm_it(device: Device) -> None:
    """The next one feeds it again; a config without it disarms it."""
    config = f'[supervisor]\nhardware_watchdog = "{device.path}"\n'
    with running(config) as one:
        device.comes()
        one.kill()
        assert b"V" not in device.drain()
        one.run()
        device.comes()
        (one.place / "banken.toml").write_text("[supervisor]\n")
        one._started[-1].send_signal(signal.SIGHUP)
        until(lambda: b"V" in device.read(0.2), "it is disarmed", START_S)
        assert not device.drain()


def test_a_device_that_cannot_be_used_is_told_once(tmp_path: Path) -> None:
    """And tried again; nothing else is the worse for it."""
    with running(f'[supervisor]\nhardware_watchdog = "{tmp_path / "none"}"\n') as one:
        until(lambda: "cannot be used: No such file" in one.log.read_text(), "it is said", START_S)
        assert one.home.ask("ping")
        assert one.home.ask("summary")["hardware_watchdog_feeds"] == 0
        with closing(Device(tmp_path / "none")) as device:
            device.comes()
        assert one.log.read_text().count("cannot be used") == 1
