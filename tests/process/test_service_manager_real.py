"""What the service manager hears of `banken run`, and that nothing else speaks to it.

The manager is a socket of the test's, for no systemd runs here.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from banken_supervisor.processes.service_manager import ServiceManager
from process.kit import START_S, process_state, until
from process.manager_kit import Manager
from process.run_kit import running, table

pytestmark = pytest.mark.process

USED = ("WATCHDOG_USEC", "WATCHDOG_PID")
HOLD_LOOP = """
import gc, time

def hold():
    from banken_supervisor.runtime.loop import Loop
    for each in gc.get_objects():
        if isinstance(each, Loop):
            each.turn = lambda: time.sleep(3600)

def hang():
    time.sleep(3600)
"""
IN_PROCESS = "[supervisor]\ncallback_process = false\ncallback_limit = '100ms'\n"


def test_the_manager_hears_ready_watchdog_reloading_and_stopping(tmp_path: Path) -> None:
    """All of the supervisor's own process; WATCHDOG at half its time, RELOADING later than the signal."""
    watched = '[[watchdog]]\nname = "w"\ntimeout = "1h"\nexpect = true\n'
    config = watched + table("p", ["sleep", "1000"])
    with Manager(str(tmp_path / "m"), 1.0) as manager, running(config, under=manager.under) as one:
        _, ready = manager.until("READY")
        assert ready["READY"] == "1"
        assert "2 watchdogs: 2 waiting" in ready["STATUS"] or "1 watchdog: 1 waiting" in ready["STATUS"]
        assert "of 1 programs run" in ready["STATUS"]
        until(lambda: manager.hear(0.1) and "1 of 1 programs run" in manager.heard[-1][2].get("STATUS", ""), "text")
        begun = time.monotonic()
        manager.listen(1.7)
        fed = [at for at, _, fields in manager.heard if "WATCHDOG" in fields and at > begun]
        assert len(fed) >= 3, manager.heard
        assert max(b - a for a, b in pairwise(fed)) < 0.8, "well below the second"
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        asked = time.monotonic()
        one._started[0].send_signal(signal.SIGHUP)
        at, reloading = manager.until("RELOADING", after=asked)
        assert int(reloading["MONOTONIC_USEC"]) >= before
        manager.until("READY", after=at)
        (one.place / "banken.toml").write_text("nonsense = 1\n")
        asked = time.monotonic()
        one._started[0].send_signal(signal.SIGHUP)
        at, _ = manager.until("RELOADING", after=asked)
        _, again = manager.until("READY", after=at)
        assert "refused" in again["STATUS"]
        one._started[0].terminate()
        manager.until("STOPPING", after=at)
        assert one._started[0].wait(20) == 0
        manager.drain()
        assert {pid for _, pid, _ in manager.heard} == {one._started[0].pid}
        assert "WATCHDOG" not in manager.heard[-1][2]


def test_no_watchdog_while_the_loop_is_held(tmp_path: Path) -> None:
    """Other threads of the process run on; nothing but the loop feeds. Nor does a stopped process."""
    config = (
        IN_PROCESS
        + '[callbacks]\nhold = "own:hold"\n[[watchdog]]\nname = "w"\ntimeout = "100ms"\ncallback = "hold"\n'
    )
    Path(tmp_path, "own.py").write_text(HOLD_LOOP)
    with Manager(str(tmp_path / "m"), 0.4) as manager:
        under = (*manager.under, f"PYTHONPATH={os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])}")
        with running(config, under=under) as one:
            manager.until("WATCHDOG")
            one._started[0].send_signal(signal.SIGSTOP)
            until(lambda: process_state(one._started[0].pid) in "Tt", "it stops")
            manager.drain()
            assert manager.listen(1.0) == []
            one._started[0].send_signal(signal.SIGCONT)
            manager.until("WATCHDOG", after=time.monotonic())
            one.home.client().feed("w")
            until(lambda: not any("WATCHDOG" in each for each in manager.listen(1.0)), "it is withheld", START_S)
            assert one._started[0].poll() is None
            one._started[0].send_signal(signal.SIGABRT)  # as the manager does in the end
            assert one._started[0].wait(20) == -signal.SIGABRT
            assert "own.py" in one.log.read_text(), "it says where the loop was"


def test_no_watchdog_when_all_callback_threads_are_stuck(tmp_path: Path) -> None:
    """As long as stuck ones are replaced it is fed; when no more are, STATUS says why it is not."""
    config = (
        IN_PROCESS
        + '[callbacks]\nhang = "own:hang"\n[[watchdog]]\nname = "w*"\ntimeout = "100ms"\ncallback = "hang"\n'
    )
    Path(tmp_path, "own.py").write_text(HOLD_LOOP)
    with Manager(str(tmp_path / "m"), 0.4) as manager:
        under = (*manager.under, f"PYTHONPATH={os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])}")
        with running(config, under=under) as one:
            client = one.home.client()
            client.feed("w")
            stuck = lambda: one.home.ask("summary")["callbacks"]["stuck"]  # noqa: E731
            until(lambda: stuck() == 1, "one is stuck", START_S)
            manager.until("WATCHDOG", after=time.monotonic())
            for number in range(300):
                client.feed(f"w{number}")
            until(lambda: stuck() >= 256, "all that are replaced are stuck", START_S)
            said = lambda: manager.hear(0.2) and manager.heard[-1][2].get("STATUS", "")  # noqa: E731
            until(lambda: "threads are stuck" in (said() or ""), "it says why", START_S)
            manager.drain()
            assert not any("WATCHDOG" in each for each in manager.listen(1.0))
            assert one.home.ask("ping")


def test_nothing_that_it_starts_sees_the_manager(tmp_path: Path) -> None:
    """Programs, callbacks and exec steps have none of its variables; a program may have the supervisor's."""
    show = "env > @PLACE@/seen.{}; exec sleep 1000"
    config = (
        '[callbacks]\nshow = "own:show"\n'
        + table("p", ["sh", "-c", show.format("program")])
        + '[[watchdog]]\nname = "w"\ntimeout = "100ms"\ncallback = "show"\n'
        + 'ladder = [{ do = "exec", command = ["sh", "-c", "env > @PLACE@/seen.exec"] }]\n'
    )
    Path(tmp_path, "own.py").write_text(
        "import os\n"
        "def show():\n"
        "    print(dict(os.environ), file=open(os.environ['HOME'] + '/seen.callback', 'w'))\n"
    )
    with Manager(str(tmp_path / "m"), 5.0) as manager:
        under = (*manager.under, f"PYTHONPATH={os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])}")
        with running(config, under=under) as one:
            one.home.client().feed("w")
            for what in ("program", "exec", "callback"):
                seen = one.place / f"seen.{what}"
                until(lambda seen=seen: seen.exists() and seen.read_text(), f"{what} has run", START_S)
                assert "HOME" in seen.read_text()
                assert not [each for each in (manager.address, *USED) if each in seen.read_text()]


def test_a_manager_that_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    """The supervisor works; when the manager reads again it hears READY."""
    with Manager(str(tmp_path / "m"), 0.4) as manager, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                other.sendto(b"X_FULL=1", manager.address)
        with running("", under=manager.under) as one:
            assert one.home.ask("ping")
            manager.until("READY")
            manager.until("WATCHDOG", after=time.monotonic())


@pytest.mark.parametrize(
    ("variables", "ready"),
    [
        (("NOTIFY_SOCKET=vsock:2:1", "WATCHDOG_USEC=300000"), False),
        (("WATCHDOG_PID=1", "WATCHDOG_USEC=300000"), True),
    ],
)
def test_odd_variables(tmp_path: Path, variables: tuple[str, ...], ready: bool) -> None:
    """It runs whatever they hold; a watchdog that is another process's is not fed."""
    with Manager(str(tmp_path / "m")) as manager, running("", under=(*manager.under, *variables)) as one:
        if ready:
            manager.until("READY")
        else:
            until(lambda: "service manager cannot be told" in one.log.read_text(), "it says so", START_S)
        assert not any("WATCHDOG" in each for each in manager.listen(0.5))
        assert one.home.ask("ping")


@pytest.mark.parametrize(
    ("microseconds", "seconds"),
    [("300000", 0.3), ("0", None), ("18446744073709551615", None), ("-5", None), ("soon", None), ("", None)],
)
def test_the_time_of_the_watchdog_at_an_abstract_address(microseconds: str, seconds: float | None) -> None:
    """What is no time is none; the variables are gone afterwards, and what is said arrives."""
    with Manager(f"@banken-test-{os.getpid()}-{time.monotonic_ns()}") as manager:
        environment = {
            "NOTIFY_SOCKET": manager.address,
            "WATCHDOG_USEC": microseconds,
            "WATCHDOG_PID": str(os.getpid()),
            "A": "b",
        }
        found = ServiceManager.taken_from(environment)
        assert environment == {"A": "b"}
        assert found is not None
        with closing(found):
            assert found.watchdog == seconds
            found.say("READY=1", "STATUS=well")
            assert manager.until("READY")[1] == {"READY": "1", "STATUS": "well"}


@pytest.mark.parametrize("address", ["@", "/", "x", "relative/path", "vsock:2:1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="known are a path"):
        ServiceManager.taken_from({"NOTIFY_SOCKET": address})
    assert ServiceManager.taken_from({"WATCHDOG_USEC": "5"}) is None
