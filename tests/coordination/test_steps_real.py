"""A step that needs a process is done by the member on that process's host, for whoever leads."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from process.kit import until

from .members_kit import Cluster, Member, cluster

pytestmark = [pytest.mark.process, pytest.mark.etcd, pytest.mark.timeout(120)]

WORKER = """
import sys, threading, time
from banken import client
hangs = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), hangs.set()), daemon=True).start()
while not hangs.is_set():
    client.feed(sys.argv[1])
    time.sleep(0.05)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def made() -> Iterator[Cluster]:
    with cluster(3.0, 3, 1) as made:
        made.start("w-0")
        yield made
        for each in made.members:  # for who looks at a failure
            print(f"-- {each.name}", (each.place / "log").read_text(errors="replace")[-20000:], sep="\n")


STUBBORN = f"""
import signal
signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
{WORKER}"""


@contextlib.contextmanager
def worker(made: Cluster, host: Member, name: str, code: str = WORKER) -> Iterator[subprocess.Popen[bytes]]:
    """A process on the host of one member, which feeds it by its directory, and the others over tcp."""
    others = [at for each, at in zip(made.members, made.heard_at, strict=True) if each is not host]
    environment = {
        **os.environ, "BANKEN_ADDRESS": ",".join([host.address, *others]),
        "BANKEN_KEY": str(made.place / "keys" / "worker.key"),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", code, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    try:
        for each in made.members:
            until(lambda each=each: name in made.watched(each), f"{each.name} hears {name}")
        yield process
    finally:
        process.kill()
        process.communicate()


def hang(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"hang\n")
    process.stdin.flush()


def log(member: Member, name: str) -> str:
    """What it has told of this watchdog."""
    lines = (member.place / "log").read_text(errors="replace").splitlines()
    return "\n".join(each for each in lines if name in each)


def test_the_member_on_its_host_does_it(made: Cluster) -> None:
    """Evidence is taken, then the process is ended; the leader tells of both, and has the evidence."""
    leader = made.leader()
    host = next(each for each in made.members if each is not leader)
    with worker(made, host, "w-host-1") as process:
        hang(process)
        assert process.wait(30.0) == -signal.SIGTERM
        until(
            lambda: f"on {host.name}: pid {process.pid} ended by SIGTERM" in log(leader, "w-host-1"), "it is told"
        )
    told = log(leader, "w-host-1")
    assert told.count(f"on {host.name}:") == 2, told
    for each in made.members:
        if each is not leader:
            assert "ended by" not in log(each, "w-host-1")
    (found,) = banken(leader, "incidents", "w-host-1")
    shown = banken(leader, "incident", found["id"])
    assert [(each["action"], each["ok"]) for each in shown["steps"]] == [("dump", True), ("kill", True)]
    assert [each["pid"] for each in shown["evidence"]] == [process.pid]


def banken(member: Member, *words: str) -> Any:
    """What a command prints of a member's journal."""
    command = [sys.executable, "-m", "banken_supervisor", *words, "--address", member.address, "--json"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def test_where_that_member_is_away_it_is_skipped(made: Cluster) -> None:
    """The leader says so, and the process lives on, also when its member is back."""
    leader = made.leader()
    host = next(each for each in made.members if each is not leader)
    with worker(made, host, "w-host-2") as process:
        host.send(signal.SIGSTOP)
        try:
            until(
                lambda: leader.home.ask("summary")["cluster"]["members"][host.name] is False, "it is missed", 30.0
            )
            hang(process)
            until(
                lambda: log(leader, "w-host-2").count(f"{host.name} does not answer") == 2, "both are skipped", 30.0
            )
        finally:
            host.send(signal.SIGCONT)
        until(lambda: leader.home.ask("summary")["cluster"]["members"][host.name], "it is back", 30.0)
        assert process.poll() is None


def test_an_older_leader_is_refused(made: Cluster) -> None:
    """And who asks for what the ladder does not have, or for what is not here; and nobody else may ask at all."""
    leader = made.leader()
    host = next(each for each in made.members if each is not leader)
    fence = leader.home.ask("summary")["cluster"]["term"]
    with worker(made, host, "w-host-3") as process:
        asked = {
            "name": "w-host-3", "incident": "i-1", "step": 1, "run": 1, "do": "kill", "fence": fence - 1,
            "cause": "timeout", "silence": 1.0, "timeout": 1.0, "reason": None,
        }  # fmt: skip
        refused = host.home.ask("do", **asked)
        assert (refused["taken"], refused["here"]) == (False, True)
        assert "another one leads" in refused["why"]
        assert "no 'kill'" in host.home.ask("do", **asked | {"fence": fence, "step": 0})["why"]
        elsewhere = next(each for each in made.members if each not in (leader, host))
        assert elsewhere.home.ask("do", **asked | {"fence": fence})["here"] is False
        assert host.home.ask("did", incident="i-1", step=1, run=1)["known"] is False
        for _ in range(3):  # however often it is asked for
            assert host.home.ask("do", **asked | {"fence": fence, "step": 0, "do": "dump"})["taken"] is True
        until(lambda: host.home.ask("did", incident="i-1", step=0, run=1)["done"], "it is done")
        found = host.home.ask("did", incident="i-1", step=0, run=1)
        assert found["ok"]
        assert found["data"]["evidence"]
        assert process.poll() is None


@pytest.mark.parametrize("is_its_own", [True, False])
def test_a_kill_in_its_wait_is_finished_where_the_leader_is_stopped(made: Cluster, is_its_own: bool) -> None:
    """On the leader's own host, and on another member's: the incident is open, and the next leader does not begin
    the step again."""
    leader, name = made.leader(), f"w-host-{4 + is_its_own}"
    host = leader if is_its_own else next(each for each in made.members if each is not leader)
    with worker(made, host, name, STUBBORN) as process:
        until(lambda: all(leader.home.ask("summary")["cluster"]["members"].values()), "all are up", 30.0)
        hang(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"heard\n"
        leader.end(signal.SIGTERM)
        assert process.wait(30.0) == -signal.SIGKILL
        leader.start()
        made.leader()
    told = log(leader, name)
    assert "ended by SIGKILL" in told, told
    assert "for the supervisor stops" in told, told


BEHIND = """
[[watchdog]]
name = "w-behind"
timeout = "1s"
interval = "60s"
ladder = [
  { do = "exec", timeout = "90s", command = ["sh", "-c", "sh ../deed.sh 0 a; exec sleep 30"] },
  { do = "exec", after = "10ms", command = ["sh", "../deed.sh", "1", "a"] },
]
"""


def test_what_waits_when_the_leader_is_stopped_is_done_by_the_next_one() -> None:
    """Once. Of what ran it is not known whether it was done."""
    with cluster(2.0, 2, 1, more=BEHIND) as made:
        made.start("w-behind", "w-1")
        leader = made.leader()
        made.say("stop", "w-behind")
        until(lambda: made.done("w-behind"), "the first step is begun", 30.0)
        until(lambda: "step 2 runs 'exec'" in log(leader, "w-behind"), "the second one waits", 30.0)
        assert made.done("w-behind") == {("w-behind", 0): 1}
        leader.end(signal.SIGTERM)
        other = made.leader(other_than=leader.name)
        until(lambda: "'exec' done" in log(other, "w-behind"), "the second one is done", 30.0)
        made.say("feed", "w-behind")
        until(lambda: "w-behind" in made.watched(other), "its incident is over", 30.0)
        assert made.done("w-behind") == {("w-behind", 0): 1, ("w-behind", 1): 1}
        first, second = (each for each in made.deeds() if each.name == "w-behind")
        assert first.incident == second.incident
        assert first.fence < second.fence
        told = log(other, "w-behind")
        assert told.count("not known whether it was done") == 1, told
        assert "step 1 'exec' was begun by a former leader" in told


HOLDS_DUMPS = """
import os, sys
from banken_supervisor.actions.dump import Dump
run = Dump.run
def held(self, target, context, ended):
    while target.incident.id == "i-held" and os.path.exists("../hold") and not ended.wait(0.02):
        pass
    return run(self, target, context, ended)
Dump.run = held
sys.argv[0] = "banken"
from banken_supervisor.cli import main
main()
"""
"""A member in which a dump of one incident takes as long as a file is there: what comes after it waits."""


@pytest.mark.parametrize("stops", ["its member", "the leader"])
def test_what_waits_in_another_members_queue_when_one_is_stopped_is_done_once(stops: str) -> None:
    """By that member when it is back; or for the next leader."""
    with cluster(2.0, 3, 1) as made:
        for each in made.members:
            each.program = ["-c", HOLDS_DUMPS]
        made.start("w-1")
        leader, name = made.leader(), "w-host-9"
        host = next(each for each in made.members if each is not leader)
        (made.place / "hold").touch()
        with worker(made, host, name) as process:
            until(lambda: all(leader.home.ask("summary")["cluster"]["members"].values()), "all are up", 30.0)
            held = {
                "name": name, "incident": "i-held", "step": 0, "run": 1, "do": "dump", "cause": "timeout",
                "fence": leader.home.ask("summary")["cluster"]["term"], "silence": 1.0, "timeout": 1.0,
                "reason": None,
            }  # fmt: skip
            assert host.home.ask("do", **held)["taken"]
            hang(process)
            until(lambda: host.home.ask("summary")["actions"]["queued"] == 1, "the leader's dump waits", 30.0)
            if stops == "the leader":
                leader.end(signal.SIGTERM)
                tells = made.leader(other_than=leader.name)
                (made.place / "hold").unlink()
            else:
                host.end(signal.SIGTERM)
                (made.place / "hold").unlink()
                host.start()
                tells = leader
            assert process.wait(30.0) == -signal.SIGTERM
            until(lambda: "ended by SIGTERM" in log(tells, name), "it is told")
        told = "".join(log(each, name) for each in made.members)
        assert "not known whether" not in told, told
        assert "skipped" not in told, told
        assert told.count("'dump' done") == told.count("'kill' done") == 1, told
        (found,) = banken(tells, "incidents", name)
        shown = banken(tells, "incident", found["id"])
        assert [(each["action"], each["ok"]) for each in shown["steps"]] == [("dump", True), ("kill", True)]
