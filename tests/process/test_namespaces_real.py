"""Workers in pid namespaces of their own, as in containers: watched, held, dumped and killed like any other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from banken.diagnostics.dumps import DIRECTORY
from banken.process_identity import boot_id, mix, namespace, process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes.handle import ProcessHandle, ProcessRemote
from banken_supervisor.processes.process_watcher import ProcessWatcher
from process.kit import START_S, until
from process.program_kit import gone
from process.run_kit import Running, running

pytestmark = pytest.mark.process

AS_ROOT = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
AS_USER = ("unshare", "--user", "--map-root-user", *AS_ROOT[1:])
IN_ANOTHER_TIME = ("unshare", "--time", "--boottime", "100000", "--fork", "--kill-child")

CONFIG = """
[[watchdog]]
name = "contained"
timeout = "1s"
ladder = [{ do = "dump", seconds = "5s" }, { do = "kill", wait = "100ms" }]
"""

WORKER = """
import json, os, sys, time
from banken import client
from banken.process_identity import own_identity

def stuck_here():
    while True:
        time.sleep(60)

client.enable_dumps()
dog = client.watchdog("contained", timeout=1.0, resolution=0)
dog.feed()
who = own_identity()
print(json.dumps([who.boot.hex(), who.pid, who.start, os.readlink("/proc/self/ns/pid")]), flush=True)
while not os.path.exists(sys.argv[1]):
    dog.feed()
    time.sleep(0.05)
stuck_here()
"""


class Contained:
    """A worker in namespaces of its own."""

    def __init__(self, one: Running, under: tuple[str, ...]) -> None:
        self.hang = one.place / "hang"
        self._process = subprocess.Popen(
            [*under, sys.executable, "-c", WORKER, str(self.hang)],
            env={**os.environ, "BANKEN_ADDRESS": one.address, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            pytest.skip(f"{' '.join(under)}: not possible here")
        boot, self.pid, self.start, self.link = json.loads(line)
        self.who = ProcessIdentity(bytes.fromhex(boot), self.pid, self.start, b"test")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self.pid_here = int(children[0])

    def ended(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def one() -> Iterator[Running]:
    with running(CONFIG) as made:
        yield made


def restarted(one: Running) -> None:
    """The supervisor is killed, and another one started."""
    before = one.home.ask("ping")["pid"]
    os.kill(before, signal.SIGKILL)
    gone(before)
    one.run()
    assert one.home.ask("ping")["pid"] != before


def convicted(one: Running) -> list[dict[str, object]]:
    """Its incidents."""
    rows = one.home.ask("status", name="contained")["rows"]
    return [row for row in rows if row["incidents"]]


@pytest.mark.parametrize("under", [pytest.param(AS_ROOT, marks=pytest.mark.root), AS_USER], ids=["root", "user"])
def test_a_contained_worker_outlives_restarts_and_is_looked_at_and_killed(
    one: Running, under: tuple[str, ...]
) -> None:
    """Restarts of the supervisor convict nobody. When it hangs, the dump says where, and the kill ends it: by
    the pid that it has here, not by its own, which is 1."""
    worker = Contained(one, under)
    try:
        assert worker.pid == 1
        assert worker.who.boot == mix(boot_id(), int(worker.link[5:-1]) << 32)
        for _ in range(2):
            until(lambda: one.home.row("contained").get("state") == "alive", "it feeds")
            restarted(one)
        # It is alive from the start, by the journal; it is looked at when it has been heard again.
        until(lambda: one.home.ask("summary")["messages"], "it feeds")
        assert convicted(one) == []
        assert Path(one.address, DIRECTORY, f"1-{worker.start}").exists(), (
            "what it offers is not taken for a dead one's"
        )
        events = one.home.events()
        worker.hang.touch()
        verdict = events.until(START_S, "expired", "contained")
        assert verdict["cause"] == "timeout"
        done = events.until(START_S, "action-done", "contained", do="dump")
        assert "stuck_here" in done["text"]
        killed = events.until(START_S, "action-done", "contained", do="kill")
        assert killed["incident"] == verdict["incident"]
        until(worker.ended, "it was killed")
        events.close()
    finally:
        worker.close()


@pytest.mark.parametrize("under", [pytest.param(AS_ROOT, marks=pytest.mark.root), AS_USER], ids=["root", "user"])
def test_the_end_of_a_contained_worker_is_noticed(one: Running, under: tuple[str, ...]) -> None:
    """At once, as any other's."""
    worker = Contained(one, under)
    try:
        until(lambda: one.home.row("contained").get("state") == "alive", "it feeds")
        events = one.home.events()
        os.kill(worker.pid_here, signal.SIGKILL)
        assert events.until(START_S, "expired", "contained")["cause"] == "exited"
        events.close()
    finally:
        worker.close()


@pytest.mark.root
def test_a_worker_in_another_time_namespace_is_judged_by_its_silence_only(one: Running) -> None:
    """Its start time means something else here: it is not found, and that is not taken for its end."""
    worker = Contained(one, IN_ANOTHER_TIME)
    try:
        until(lambda: one.home.row("contained").get("state") == "alive", "it feeds")
        with pytest.raises(ProcessRemote):
            ProcessHandle.open(worker.who)
        restarted(one)
        # It is alive from the start, by the journal; it is looked at when it has been heard again.
        until(lambda: one.home.ask("summary")["messages"], "it feeds")
        assert convicted(one) == []
    finally:
        worker.close()


def test_what_is_not_found_is_not_said_to_be_gone() -> None:
    """A process of a container that there is no longer, of one that nobody ever had, of another host."""
    watcher = ProcessWatcher()
    try:
        for boot in (mix(boot_id(), 0xF0001234 << 32), mix(boot_id(), 0xF0001234), b"anotherh"):
            who = ProcessIdentity(boot, os.getpid(), process_start(), b"test")
            assert not watcher.watch(who)
            assert not watcher.ended(who)
    finally:
        watcher.close()


def test_the_first_namespaces_are_not_mixed_in() -> None:
    """Of pid 1's, where it may be asked, and of what there is not."""
    assert namespace("pid", 2**30) == 0
    assert mix(mix(boot_id(), 0xF0001234 << 32), 0xF0001234 << 32) == boot_id()
