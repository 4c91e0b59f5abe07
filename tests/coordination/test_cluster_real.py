"""A cluster of real processes: whatever happens to the leader, to etcd or to its ears, each deed is done once.

A few rounds of each; ``python -m coordination.rounds`` makes hundreds.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from banken_supervisor.coordination.records import MEMBERS, pack_member
from banken_supervisor.runtime.members import member
from banken_supervisor.web.metrics import METRICS, render
from hosts_kit import free_ports
from process.kit import until

from .members_kit import STOPS_BEFORE_THE_DEED, Cluster, Member, cluster
from .rounds import Rounds

pytestmark = [pytest.mark.process, pytest.mark.etcd, pytest.mark.timeout(180)]

TTL = 3.0

BUSY_S = 1.0
"""Seconds that a machine may be late on which others run, too."""


@pytest.fixture(scope="module")
def rounds() -> Iterator[Rounds]:
    with cluster(TTL, 3, 3) as made:
        for each in made.members:
            each.program = ["-c", STOPS_BEFORE_THE_DEED]
        made.start("w-0")
        yield Rounds(made)
        for each in made.members:  # for who looks at a failure
            print(f"-- {each.name}", (each.place / "log").read_text(errors="replace")[-20000:], sep="\n")


@pytest.mark.parametrize(
    "fault",
    [
        "nothing",
        "kill-leader",
        "end-leader",
        "stop-leader",
        "kill-etcd",
        "no-etcd-2",
        "lose-data",
        "deaf",
        "stop-follower",
        "stop-before-deed",
    ],
)
def test_every_deed_is_done_once(rounds: Rounds, fault: str) -> None:
    """Two workers fall silent, one step each at once and one later; the living are left alone."""
    found = rounds.run(fault)
    assert found.deeds_missing == 0
    assert found.deeds_twice == 0
    assert found.deeds_on_living == 0
    assert found.by_old == 0
    assert len({deed.incident for deed in rounds.cluster.deeds() if deed.name == f"w-{rounds.number}-a"}) == 1


@pytest.mark.parametrize(("fault", "late"), [("cut-follower", 0.3), ("cut-follower-and-leading-etcd", 2.5)])
def test_a_follower_that_is_cut_off_delays_nobody(rounds: Rounds, fault: str, late: float) -> None:
    """Where its etcd led, etcd elects first."""
    found = rounds.run(fault)
    assert (found.deeds_missing, found.deeds_twice, found.deeds_on_living) == (0, 0, 0)
    assert found.late_s is not None
    assert found.late_s <= late + BUSY_S


def test_a_command_knows_the_fence_of_its_leader(rounds: Rounds) -> None:
    """A number that only grows: a receiver that refuses a lower one than it has seen refuses a former leader. What
    is a host's alone has none."""
    made: Cluster = rounds.cluster
    before = made.leader()
    for name in ("w-fence-1", "w-fence-2"):
        made.say("feed", name)
        for each in made.members:
            until(lambda each=each, name=name: name in made.watched(each), f"{each.name} hears it")
        leader = made.leader()
        made.say("stop", name)
        until(lambda name=name: len(made.done(name)) == 2, "both steps are done", 30.0)
        term = leader.home.ask("summary")["cluster"]["term"]
        assert {each.fence for each in made.deeds() if each.name == name} == {term}
        if name == "w-fence-1":
            before.end(signal.SIGTERM)
            made.leader(other_than=before.name)
            before.start()
    first, *_, last = (each.fence for each in made.deeds() if each.name.startswith("w-fence"))
    assert first < last
    made.say("release", "w-fence-1", "w-fence-2")


def test_the_incidents_of_all_members_are_listed_by_each(rounds: Rounds) -> None:
    """Once each, with the end that the last leader knows. A member that does not answer is named."""
    made: Cluster = rounds.cluster

    def listed(member: Member, *words: str) -> tuple[dict[str, Any], str]:
        command = [sys.executable, "-m", "banken_supervisor", "incidents", "w-listed", "--address", member.address]
        found = subprocess.run(
            [*command, "--json", *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert found.returncode == 0, found.stderr
        rows = json.loads(found.stdout)
        assert len({each["id"] for each in rows}) == len(rows)
        return {each["id"]: each["how"] for each in rows}, found.stderr

    for number in range(2):
        made.say("feed", "w-listed")
        for each in made.members:
            until(lambda each=each: "w-listed" in made.watched(each), f"{each.name} hears it")
        leader = made.leader()
        made.say("stop", "w-listed")
        until(
            lambda number=number: sum(made.done("w-listed").values()) == 2 * number + 2, "both steps are done", 30.0
        )
        leader.end(signal.SIGTERM)  # its incident is another one's now
        made.leader(other_than=leader.name)
        leader.start()
    made.say("feed", "w-listed")
    for each in made.members:
        until(lambda each=each: set(listed(each)[0].values()) == {"fed"}, f"{each.name} knows how they ended", 30.0)
        until(lambda each=each: listed(each)[1] == "", f"{each.name} has asked all", 30.0)
        assert len(listed(each)[0]) == 2
        assert listed(each, "--open")[0] == {}
    one, other, _ = made.members
    other.end(signal.SIGKILL)
    assert f"{other.name}: does not answer" in listed(one)[1]
    other.start()
    made.say("release", "w-listed")


def metrics(member: Member) -> list[Any]:
    """What Prometheus would read."""
    body, _ = render(member.home.ask("metrics"))
    return list(text_string_to_metric_families(body.decode()))


def test_a_follower_says_what_the_leader_has_opened(rounds: Rounds) -> None:
    """``banken check`` of each member is critical, and ``status`` of a follower names who judges."""
    made: Cluster = rounds.cluster
    made.feed("w-asked")
    made.say("stop", "w-asked")
    until(lambda: made.done("w-asked"), "it is an incident", 30.0)
    leader = made.leader()

    def said(member: Member, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "banken_supervisor", *words, "w-asked", "--address", member.address]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    for each in made.members:
        found = said(each, "check")
        assert (found.returncode, "w-asked expired (timeout" in found.stdout) == (2, True), found.stdout
        overdue = f"overdue: {leader.name}, which leads the cluster, judges it" in said(each, "status").stdout
        assert overdue is (each is not leader)
    made.say("feed", "w-asked")
    for each in made.members:
        until(lambda each=each: said(each, "check").returncode in (0, 1), f"{each.name} says that it is over", 30.0)
    made.say("release", "w-asked")


def test_one_member_answers_for_itself_and_says_who_leads(rounds: Rounds) -> None:
    made: Cluster = rounds.cluster

    def agreed() -> bool:
        leader = made.leader().name
        found = [each.home.ask("summary")["cluster"] for each in made.members]
        shown = [
            (
                each["name"],
                each["member"],
                each["role"],
                each["leader"],
                each["away"],
                all(each["members"].values()),
            )
            for each in found
        ]
        return shown == [
            ("test", each.name, "leader" if each.name == leader else "follower", leader, None, True)
            for each in made.members
        ]

    until(agreed, "all say the same", 30.0)
    told = {each.name: {part.name: part for part in metrics(each)} for each in made.members}
    assert sorted(told[each]["banken_cluster_leads"].samples[0].value for each in told) == [0, 0, 1]
    for name, families in told.items():
        assert families["banken_cluster_store_up"].samples[0].value == 1
        up = {each.labels["member"] for each in families["banken_cluster_member_up"].samples if each.value == 1}
        assert up == told.keys() - {name}
        assert {each for each in families if each.startswith("banken_cluster")} == {
            each.name for each in METRICS if each.name.startswith("banken_cluster")
        }


def test_a_member_that_is_gone_is_told_until_it_is_forgotten(rounds: Rounds) -> None:
    """By ``banken check``, and by who asks; it is named where another name is given."""
    made: Cluster = rounds.cluster
    one = made.members[0]

    def banken(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "banken_supervisor", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def forget(name: str) -> subprocess.CompletedProcess[str]:
        return banken("cluster", "forget", name, "-c", str(one.place / "banken.toml"))

    store = made.etcd.store("banken/test/")
    gone = member("gone", "run", f"tcp://127.0.0.1:{free_ports()}", "x" * 40, TTL)
    store.transact({}, {MEMBERS + gone.name: pack_member(gone)}, (), 5.0)
    store.close()

    def is_missed() -> bool:  # others may not answer for a moment, too
        said = banken("check", "--address", one.address).stdout
        return re.search(r"of the cluster's members [^;]*\bgone\b[^;]* not answer", said) is not None

    until(is_missed, "it is missed", 60.0)
    assert "its members: gone, m1, m2, m3" in forget("gnoe").stderr
    assert forget("gone").stdout == "gone is forgotten\n"
    until(lambda: "gone" not in banken("check", "--address", one.address).stdout, "it is forgotten", 60.0)


def test_a_member_that_was_away_learns_from_the_others_what_it_missed(rounds: Rounds) -> None:
    """Of two workers that came, one fell silent and one was released while it was away. It does not hear of either,
    and when it leads it goes on with the first one, and leaves the second one alone."""
    made: Cluster = rounds.cluster
    leader = made.leader()
    one, _ = (each for each in made.members if each is not leader)
    one.end(signal.SIGKILL)
    made.say("feed", "w-silent", "w-gone")
    until(lambda: {"w-silent", "w-gone"} <= made.watched(leader), "the leader hears them")
    made.say("stop", "w-silent")
    made.say("release", "w-gone")
    until(lambda: "w-gone" not in made.watched(leader), "it is released")
    one.start()
    until(lambda: "w-silent" in made.watched(one), "it knows of the one that is silent")
    assert "w-gone" not in made.watched(one)
    until(lambda: len(made.done("w-silent")) == 2, "both steps are done")
    leader.end(signal.SIGKILL)
    made.leader(other_than=leader.name)
    leader.start()
    until(lambda: "w-silent" in {row["name"] for row in leader.home.ask("status")["rows"]}, "it knows of it, too")
    made.say("feed", "w-silent")
    for each in made.members:
        until(lambda each=each: "w-silent" in made.watched(each), f"{each.name} hears it again")
    assert set(made.done("w-silent").values()) == {1}
    assert not made.done("w-gone")
    made.say("release", "w-silent")


def test_where_most_fall_silent_at_once_actions_wait(rounds: Rounds) -> None:
    """For the brake's time; whoever is heard again by then is left alone. Where the worker was held up in its last
    round, a few fell silent before the most did: they do not wait."""
    made: Cluster = rounds.cluster
    leader = made.leader()
    names = [f"w-all-{number}" for number in range(max(12, len(made.watched(leader)) + 5))]
    made.say("feed", *names)
    for each in made.members:
        until(lambda each=each: set(names) <= made.watched(each), f"{each.name} hears them", 30.0)
    made.say("stop", *names)
    until(lambda: leader.home.ask("summary")["cluster"]["brake"], "the brake is on")
    first = {name for name, _ in made.done(*names)}
    assert len(first) <= len(names) // 2
    back = names[-3:]  # the last to fall silent: the deeds of others may be on their way

    def down() -> set[str]:
        return {row["name"] for row in leader.home.ask("status")["rows"] if row["state"] == "expired"}

    until(lambda: down().issuperset(back), "they are silent, too")
    made.say("feed", *back)
    command = [sys.executable, "-m", "banken_supervisor", "cluster", "status", "--address", leader.address]
    assert "the brake is on for" in subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    until(lambda: len(made.done(*names)) >= 2 * (len(names) - 3), "what waited is done", 30.0)
    assert made.done(*back) == {}
    assert set(made.done(*names).values()) == {1}
    until(lambda: leader.home.ask("summary")["cluster"]["brake"] is None, "the brake is off")


def test_what_is_a_hosts_alone_is_judged_by_each(rounds: Rounds) -> None:
    """Whoever leads: ``scope = "local"``."""
    made: Cluster = rounds.cluster
    made.feed("w-own-1")
    made.say("stop", "w-own-1")
    until(lambda: sum(made.done("w-own-1").values()) >= len(made.members), "each has acted")
    assert {each.fence for each in made.deeds() if each.name == "w-own-1"} == {0}
    assert {each.member for each in made.deeds() if each.name == "w-own-1"} == {each.name for each in made.members}


def test_what_an_operator_says_to_one_member_counts_for_all(rounds: Rounds) -> None:
    """To whichever it is said; to a member that was away, too, when it is back; without a store it is refused."""
    made: Cluster = rounds.cluster
    leader = made.leader()
    one, other = (each for each in made.members if each is not leader)

    def state(member: Member, name: str = "w-0") -> str | None:
        return next((row["state"] for row in member.home.ask("status", name=name)["rows"]), None)

    def say(member: Member, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "banken_supervisor", *words, "--address", member.address],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    said = say(one, "pause", "w-0")
    assert said.returncode == 0, said.stderr
    for each in made.members:
        until(lambda each=each: state(each) == "paused", f"{each.name} has paused it")
    other.end(signal.SIGKILL)
    assert say(leader, "resume", "w-0").returncode == 0
    until(lambda: state(one) == "alive", "a follower has resumed it")
    assert say(leader, "pause", "w-0", "1h").returncode == 0
    other.start()
    until(lambda: state(other) == "paused", "it is paused there, too, when it is fed again", 30.0)
    for each in made.etcd.members:
        each.send(signal.SIGSTOP)
    try:
        until(lambda: one.home.ask("summary")["cluster"]["away"], "the store is missed", 30.0)
        refused = say(one, "resume", "w-0")
        assert refused.returncode != 0
        assert "the cluster's store does not answer" in refused.stderr
        assert "--here" in refused.stderr
        assert say(one, "resume", "w-0", "--here").returncode == 0
        assert [state(each) for each in (one, leader)] == ["alive", "paused"]
        assert say(one, "pause", "w-0", "--here").returncode == 0
    finally:
        for each in made.etcd.members:
            each.send(signal.SIGCONT)
    until(lambda: one.home.ask("summary")["cluster"]["away"] is None, "the store is back", 30.0)
    assert say(one, "resume", "w-0").returncode == 0
    for each in made.members:
        until(lambda each=each: state(each) == "alive", f"{each.name} has resumed it")


def test_what_one_member_was_told_to_release_the_others_go_on_watching(rounds: Rounds) -> None:
    """It does not learn of it from them again, nor they of the release from it."""
    made: Cluster = rounds.cluster
    one, *others = sorted(made.members, key=lambda each: each is made.leader())
    made.say("feed", "w-here")
    for each in made.members:
        until(lambda each=each: "w-here" in made.watched(each), f"{each.name} hears it")
    made.say("stop", "w-here")
    words = ["release", "w-here", "--here", "--address", one.address]
    until(
        lambda: not subprocess.run([sys.executable, "-m", "banken_supervisor", *words], timeout=60).returncode,
        "said",
    )
    assert "w-here" not in {name for name, _ in one.home.ask("registry", part="released", offset=0)["rows"]}
    until(lambda: len(made.done("w-here")) == 2, "who leads has acted")
    assert "w-here" not in {row["name"] for row in one.home.ask("status")["rows"]}
    for each in others:
        assert "w-here" in {row["name"] for row in each.home.ask("status")["rows"]}
    made.say("release", "w-here")
