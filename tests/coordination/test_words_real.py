"""What is said to one member of a cluster of real processes, and what one member alone hears, counts for all."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from process.kit import until

from .members_kit import Cluster, Member, cluster

pytestmark = [pytest.mark.process, pytest.mark.etcd, pytest.mark.timeout(120)]

WITHIN_S = 30.0


@pytest.fixture(scope="module")
def made() -> Iterator[Cluster]:
    with cluster(ttl=2.0) as found:
        found.start("w-0")
        yield found
        for each in found.members:  # for who looks at a failure
            print(f"-- {each.name}", (each.place / "log").read_text(errors="replace")[-20000:], sep="\n")


def banken(member: Member, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "banken_supervisor", *words, "--address", member.address],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def say(member: Member, *words: str) -> str:
    said = banken(member, *words)
    assert said.returncode == 0, said.stderr
    return said.stdout


def row(member: Member, name: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = member.home.ask("status", name=name)["rows"]
    return rows[0] if rows else {"state": None}


def roles(made: Cluster) -> tuple[Member, Member]:
    """The leader and a follower that both answer each other."""
    leader = made.leader()
    until(lambda: leader.home.ask("summary")["cluster"]["acts"], f"{leader.name} may act", WITHIN_S)
    follower = next(each for each in made.members if each is not leader)
    for each in (leader, follower):
        until(
            lambda each=each: all(each.home.ask("summary")["cluster"]["members"].values()), "all answer", WITHIN_S
        )
    return leader, follower


def test_a_failure_that_the_leader_alone_has_heard_outlives_it(made: Cluster) -> None:
    """What the next leader knows is a feed before it. A feed after it ends it, whichever member hears that."""
    leader, _ = roles(made)
    for each in made.members:
        say(each, "feed", "job-1", "--timeout", "1h")
    say(leader, "fail", "job-1", "db is broken")
    until(lambda: row(leader, "job-1")["state"] == "expired", "its incident is open", WITHIN_S)
    incident = row(leader, "job-1")["incident"]["id"]
    time.sleep(1.0)
    leader.end(signal.SIGTERM)
    made.leader(other_than=leader.name)
    leader.start()
    new, follower = roles(made)
    until(lambda: row(new, "job-1")["state"] == "expired", "the next leader goes on with it", WITHIN_S)
    time.sleep(1.0)
    assert row(new, "job-1")["incident"]["id"] == incident

    def fed() -> bool:
        say(follower, "feed", "job-1")
        return bool(row(new, "job-1")["state"] == "alive")

    until(fed, "it was fed again", WITHIN_S)
    assert "hears job-1" in (new.place / "log").read_text()


def test_a_feed_after_a_failure_ends_it_however_soon_it_is_said(made: Cluster) -> None:
    """Both are said to a follower."""
    leader, follower = roles(made)
    for each in made.members:
        say(each, "feed", "job-3", "--timeout", "1h")
    say(follower, "fail", "job-3", "broken")
    assert row(leader, "job-3")["state"] == "expired"
    say(follower, "feed", "job-3")
    until(lambda: row(leader, "job-3")["state"] == "alive", "it was fed again", WITHIN_S)


@pytest.mark.parametrize("known", [True, False])
def test_a_failure_said_to_a_follower_is_opened_by_the_leader(made: Cluster, *, known: bool) -> None:
    leader, follower = roles(made)
    name = f"cron-{known}"
    if known:
        for each in made.members:
            say(each, "feed", name, "--timeout", "1h")
    assert say(follower, "fail", name, "disk full") == (
        f"{name} failed: the cluster opens its incident, until its next feed\n"
    )
    until(lambda: row(leader, name)["state"] == "expired", "its incident is open", WITHIN_S)
    shown = row(leader, name)["incident"]
    assert (shown["cause"], shown["reason"]) == ("failed", "disk full")
    assert "held" not in say(follower, "cluster", "status")
    store = made.etcd.store("banken/test/")
    try:
        until(lambda: not store.read("failures/", 2.0).items, "it is taken", WITHIN_S)
    finally:
        store.close()


def test_a_failure_said_to_the_leader_is_no_failure_for_which_nothing_runs(made: Cluster) -> None:
    leader, _ = roles(made)
    say(leader, "feed", "job-2", "--timeout", "1h")
    said = say(leader, "fail", "job-2", "broken")
    assert said.startswith("job-2 failed: ")
    say(leader, "pause", "job-2")
    assert "nothing runs for it" in say(leader, "fail", "job-2", "broken")


def test_a_worker_that_a_follower_alone_hears_again_has_recovered(made: Cluster) -> None:
    leader, follower = roles(made)
    for each in made.members:
        say(each, "feed", "ear-1", "--timeout", "2s")
    until(lambda: row(leader, "ear-1")["state"] == "expired", "it is silent", WITHIN_S)

    def fed() -> bool:
        say(follower, "feed", "ear-1")
        return bool(row(leader, "ear-1")["state"] == "alive")

    until(fed, "the leader knows that it is fed again", WITHIN_S)


@pytest.mark.parametrize(("words", "state"), [(("pause", "1h"), "paused"), (("release",), None)])
def test_what_a_follower_does_not_know_has_an_incident(
    made: Cluster, words: tuple[str, ...], state: str | None
) -> None:
    """What is said of it to this follower counts; a name that nobody knows is refused."""
    leader, follower = roles(made)
    name, verb = f"gone-{words[0]}", words[0]
    for each in made.members:
        say(each, "feed", name, "--timeout", "2s")
    until(lambda: row(leader, name)["state"] == "expired", "it is silent", WITHIN_S)
    say(follower, "release", name, "--here")
    assert row(follower, name)["state"] is None
    say(follower, verb, name, *words[1:])
    until(lambda: row(leader, name)["state"] == state, "the leader has applied it", WITHIN_S)
    refused = banken(follower, verb, "nobodys", *words[1:])
    assert refused.returncode == 1
    assert "no watchdog is called 'nobodys'" in refused.stderr
