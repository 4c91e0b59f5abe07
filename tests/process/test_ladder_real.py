"""Whole ladders with real processes, through ``banken run -c FILE``: what hung, what was done, what came of it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from process.kit import until
from process.ladder_kit import LONG, House, line_of, listening, stuck
from process.program_kit import gone

pytestmark = pytest.mark.process

BRING_BACK = '[{ do = "dump" }, { do = "restart" }]'


def brought_back(house: House, name: str, hang: str, *more: str) -> dict[str, Any]:
    """Let a program hang, see that the ladder starts a new process that feeds; the incident, whole."""
    events = house.run(stuck(name, hang, *more, ladder=BRING_BACK, place=house.place))
    verdict = events.until(LONG, "expired", name)
    hung = verdict["pid"]
    assert verdict["cause"] == "timeout"
    assert events.until(LONG, "closed", name)["how"] == "reborn"
    until(lambda: house.row(name).get("state") == "alive", "it feeds again", LONG)
    assert house.row(name)["pid"] not in (hung, None)
    gone(hung)
    assert len(events.all("expired", name)) == 1
    told = house.incident(verdict["incident"])
    assert (told["name"], told["pid"], told["how"]) == (name, hung, "reborn")
    assert [(step["action"], step["ok"]) for step in told["steps"]] == [("dump", True), ("restart", True)]
    # What it did comes first; what it wrote may follow.
    assert [each["pid"] for each in told["evidence"] if "threads" in each] == [hung] == [told["evidence"][0]["pid"]]
    return told


@pytest.mark.parametrize(
    ("hang", "function"),
    [
        ("two_locks", "take"),
        ("c_call", "hold_interpreter"),
        ("regex", "match_for_ever"),
        ("task", "fetch"),
    ],
)
def test_a_program_that_hangs_is_shown_where_and_brought_back(house: House, hang: str, function: str) -> None:
    """Deadlocked, in a C call that holds the interpreter lock, in a runaway regex, in an asyncio task: `banken
    incident` names the function and the line, and the ladder's restart gives a new process that feeds."""
    told = brought_back(house, "worker", hang)
    place = f"`{function}` (hang.py:{line_of(function)})"
    assert place in told["evidence"][0]["headline"]
    shown = house.banken("incident", told["id"])
    assert place in shown
    assert "worker: timeout" in shown


def test_a_stopped_program_is_shown_as_such_and_brought_back(house: House) -> None:
    """SIGSTOPped: its state is in the evidence, and a process that hears no SIGTERM is started anew."""
    told = brought_back(house, "worker", "stopped")
    assert told["evidence"][0]["process"]["state"] == "T"
    assert "stopped" in told["evidence"][0]["headline"]


def test_a_program_that_ignores_sigterm_is_killed_and_brought_back(house: House) -> None:
    """A restart's stop escalates to SIGKILL after the stop timeout."""
    told = brought_back(house, "worker", "deaf", 'stop_timeout = "300ms"')
    assert told["closed"] - told["opened"] >= 0.3


def test_a_program_whose_child_keeps_its_pipe_is_brought_back(house: House) -> None:
    """The child it forked holds its stdout and its session is another: it has ended before the next one starts."""
    brought_back(house, "worker", "forked", 'stop_timeout = "300ms"')
    gone(int((house.place / "worker.hung.child").read_text()))


def test_a_program_that_never_fed_is_the_one_that_is_looked_at_and_signalled(house: House) -> None:
    """Its grace passes without a feed: the evidence is of its process, and so is the end."""
    ladder = '[{ do = "dump" }, { do = "kill", wait = "5s" }]'
    config = stuck("worker", "unsaid", ladder=ladder, place=house.place)
    events = house.run(config.replace('grace = "30s"', 'grace = "5s"'))
    verdict = events.until(LONG, "expired", "worker")
    assert verdict["cause"] == "grace"
    assert events.until(LONG, "closed", "worker")["how"] == "reborn"
    told = house.incident(verdict["incident"])
    assert "`unsaid` (stuck.py:" in told["evidence"][0]["headline"]
    assert told["steps"][1]["ok"]
    gone(told["evidence"][0]["pid"])


# -- workers that are nobody's programs ----------------------------------------------------------------


def worker_config(ladder: str, *more: str) -> str:
    """A watchdog with a ladder, for workers that the test starts."""
    return "\n".join(
        ["[[watchdog]]", 'name = "w"', 'timeout = "1s"', 'interval = "1h"', *more, f"ladder = {ladder}", ""]
    )


def test_kill_escalates_for_a_worker_that_ignores_sigterm(house: House) -> None:
    """SIGTERM is ignored; SIGKILL is not, and the process is seen to be gone."""
    events = house.run(worker_config('[{ do = "kill", wait = "300ms" }]'))
    worker = house.start("stubborn", "w")
    worker.hear()
    done = events.until(LONG, "action-done", "w")
    assert f"pid {worker.pid} ended by SIGKILL" in done["text"]
    assert worker.ended(5)[0] == -signal.SIGKILL
    events.until(LONG, "exited", "w")


def test_a_worker_that_ends_during_the_climb_is_success_and_nobody_else_is_signalled(house: House) -> None:
    """It is gone when `kill` comes: that is what was wanted. Its neighbour feeds on."""
    events = house.run(worker_config('[{ do = "log" }, { after = "1500ms", do = "kill" }]'))
    worker = house.worker("feeder", "w", 1, 0.05)
    neighbour = house.worker("feeder", "neighbour", 30, 0.05)
    worker.hear()
    until(lambda: house.row("w").get("state") == "alive", "its first feed has come")
    neighbour.hear()
    worker.signal(signal.SIGSTOP)
    events.until(LONG, "action-done", "w", do="log")
    worker.kill()
    done = events.until(LONG, "action-done", "w", do="kill")
    assert done["text"] == f"pid {worker.pid} had ended already"
    assert neighbour.running()
    assert house.row("neighbour")["state"] == "alive"


def test_a_worker_that_recovers_between_two_steps_stops_the_climb(house: House) -> None:
    """It feeds again after the first step: recovered, and the second step never runs."""
    mark = house.place / "ran"
    events = house.run(
        worker_config(f'[{{ do = "log" }}, {{ after = "2s", do = "exec", command = ["touch", "{mark}"] }}]')
    )
    worker = house.worker("feeder", "w", 1, 0.05)
    worker.hear()
    until(lambda: house.row("w").get("state") == "alive", "its first feed has come")
    worker.signal(signal.SIGSTOP)
    # A busy machine may have kept it from feeding before.
    incident = until(lambda: house.row("w").get("incident"), "it is silent")["id"]
    events.until(LONG, "action-done", "w", do="log", incident=incident)
    worker.signal(signal.SIGCONT)
    events.until(LONG, "recovered", "w", incident=incident)
    events.during(2.5)
    assert not mark.exists()
    assert [each["do"] for each in events.all("action", "w") if each["incident"] == incident] == ["log"]
    assert house.incident(incident)["how"] == "fed"


@pytest.mark.parametrize("kind", ["webhook", pytest.param("notify", marks=pytest.mark.notify)])
def test_who_was_told_of_an_incident_is_told_of_its_end(house: House, kind: str) -> None:
    """A webhook and a notification get a second message when the worker is fed again."""
    with listening() as (where, bodies):
        if kind == "webhook":
            config = worker_config(f'[{{ do = "webhook", url = "http://{where}/hook" }}]')
        else:
            config = worker_config('[{ do = "notify", to = "team" }]')
            config += f'[notify.team]\nurls = ["json://{where}/hook"]\n'
        events = house.run(config)
        worker = house.worker("feeder", "w", 1, 0.05)
        worker.hear()
        until(lambda: house.row("w").get("state") == "alive", "its first feed has come")
        worker.signal(signal.SIGSTOP)
        events.until(LONG, "action-done", "w")
        assert len(bodies) == 1
        worker.signal(signal.SIGCONT)
        events.until(LONG, "recovered", "w")
        events.until(LONG, "action-done", "w", recovered=True)
        assert len(bodies) == 2
        key = "title" if kind == "notify" else "type"
        assert ["recovered" in body[key] for body in bodies] == [False, True]


# -- programs and groups -------------------------------------------------------------------------------


def feeding(name: str, *more: str, place: Path, ladder: str = "[]") -> str:
    """A program that feeds from its first process on."""
    return stuck(name, "feeds", *more, ladder=ladder, place=place)


def all_alive(house: House, *names: str) -> dict[str, int]:
    """The pids of these programs, all of which feed."""
    until(lambda: all(house.row(name).get("state") == "alive" for name in names), "all feed", LONG)
    return {name: house.row(name)["pid"] for name in names}


GROUP = '[[group]]\nname = "all"\nmembers = ["a", "b"]\nstrategy = "one-for-all"\n'


def test_one_for_all_restarts_the_mates_of_a_program_that_died_and_judges_only_that(house: House) -> None:
    """kill -9 of one: it has an incident, its mate is taken down and started again without one, and the program
    outside the group runs on."""
    config = "".join(feeding(name, 'backoff = "1500ms..2s"', place=house.place) for name in "abc") + GROUP
    events = house.run(config)
    before = all_alive(house, "a", "b", "c")
    os.kill(before["a"], signal.SIGKILL)
    verdict = events.until(LONG, "expired", "a")
    assert (verdict["cause"], verdict["reason"]) == ("exited", "ended by SIGKILL")
    until(lambda: house.row("b").get("pid") not in (before["b"], None), "the mate is another process", LONG)
    after = all_alive(house, "a", "b", "c")
    assert after["a"] != before["a"]
    assert after["c"] == before["c"]
    events.until(LONG, "closed", "a")
    assert events.convicted() == {"a"}
    assert [each["how"] for each in events.all("closed", "a")] == ["reborn"]


def test_a_ladders_restart_takes_the_whole_group_along(house: House) -> None:
    """One of two hangs: its ladder restarts both, and only the one that hung has an incident."""
    config = stuck("a", "regex", ladder='[{ after = "500ms", do = "restart" }]', place=house.place)
    events = house.run(config + feeding("b", place=house.place) + GROUP)
    events.until(LONG, "expired", "a")
    mate = all_alive(house, "b")["b"]
    until(lambda: house.row("b").get("pid") not in (mate, None), "the mate is another process", LONG)
    all_alive(house, "a", "b")
    assert events.convicted() == {"a"}


def test_a_program_that_is_restarted_or_stopped_on_request_has_no_incident(house: House) -> None:
    """`banken restart` and `banken stop` of a program that feeds, and dies of SIGTERM without a word."""
    events = house.run(feeding("a", place=house.place))
    before = all_alive(house, "a")
    house.banken("restart", "a")
    until(lambda: house.row("a").get("pid") not in (before["a"], None), "another process feeds", LONG)
    house.banken("stop", "a")
    until(lambda: house.row("a") == {}, "its watchdog is released", LONG)
    events.during(0.5)
    assert events.convicted() == set()


def test_a_program_that_dies_again_and_again_is_given_up_once(house: House) -> None:
    """Budget 2: three incidents with its exit status, the last one given up, and on_give_up ran once."""
    mark = house.place / "given-up"
    config = f"""
        [[program]]
        name = "a"
        command = ["sh", "-c", "exit 3"]
        budget = "2 per 10m"
        backoff = "100ms..200ms"
        timeout = "30s"
        on_give_up = {{ do = "exec", command = ["sh", "-c", "echo x >> {mark}"] }}
    """
    events = house.run("\n".join(line.strip() for line in config.splitlines()))
    until(lambda: house.program("a")["state"] == "given-up", "it is given up", LONG)
    until(lambda: mark.exists() and house.incidents("a")[0]["how"] == "given-up", "it is on disk", LONG)
    events.during(0.5)
    found = [(each["cause"], each["reason"], each["how"]) for each in house.incidents("a")]
    assert found == [("exited", "exit status 3", how) for how in ("given-up", "reborn", "reborn")]
    assert mark.read_text() == "x\n"
    (still,) = json.loads(house.banken("incidents", "--open", "--json"))
    row = house.row("a")
    assert (row["state"], row["incident"]["id"], row["incident"]["reason"]) == (
        "given-up",
        still["id"],
        "exit status 3",
    )
    house.banken("check", code=2)
    house.ask("program", what="start", name="a")
    until(lambda: house.incident(still["id"])["closed"] is not None, "it is closed", LONG)
    assert house.incident(still["id"])["how"] == "reborn"


def test_a_program_that_is_stopped_is_called_so(house: House) -> None:
    """By commands that are about watchdogs: it has none until it is started."""
    house.run('[[program]]\nname = "later"\ncommand = ["sleep", "600"]\nautostart = false\n')
    assert "later is a program that is stopped" in house.banken("pause", "later", code=1)
    house.ask("program", what="start", name="later")
    until(lambda: house.row("later"), "it is started", LONG)
    assert house.row("later")["state"] == "running"


def test_what_was_given_up_is_open_over_a_restart_until_it_is_fed(house: House) -> None:
    """One incident, with its cause and reason, in the row and in the journal; a feed closes it."""
    config = """
[[watchdog]]
name = "w"
timeout = "1h"
ladder = [{ do = "log", repeat = "50ms", budget = "2 per 10m" }]
"""
    events = house.run(config)
    client = house.client()
    until(lambda: client.feed("w") or house.row("w")["state"] == "alive", "it is fed", LONG)
    client.fail("w", "disk full")
    given_up = events.until(LONG, "given-up", "w")
    for again in (True, False):
        row = house.row("w")
        assert (row["state"], row["incident"]["id"]) == ("given-up", given_up["incident"])
        assert (row["incident"]["reason"], row["incident"]["next"]) == ("disk full", None)
        (kept,) = house.incidents("w")
        assert (kept["id"], kept["how"], kept["closed"]) == (given_up["incident"], "given-up", None)
        if again:
            house.run_by.kill()
            house.run(config)
    until(lambda: client.feed("w") or house.row("w")["state"] == "alive", "it is fed", LONG)
    until(lambda: house.incidents("w")[0]["how"] == "fed", "it is closed", LONG)


def test_a_program_that_cannot_be_started_is_an_incident_with_the_reason(house: House) -> None:
    """Its command vanishes while it runs: its end, then why it does not come back."""
    command = house.place / "tool"
    command.write_text("#!/bin/sh\nexec sleep 600\n")
    command.chmod(0o755)
    events = house.run(
        f'[[program]]\nname = "a"\ncommand = ["{command}"]\nbudget = "9 per 1h"\nbackoff = "50ms..100ms"\n'
        'timeout = "60s"\n'
    )
    until(lambda: house.program("a")["pid"], "it runs", LONG)
    command.unlink()
    house.banken("stop", "a")
    house.ask("program", what="start", name="a")
    verdict = events.until(LONG, "expired", "a")
    assert verdict["cause"] == "failed"
    assert "there is no such command" in verdict["reason"]


# -- a changed config ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["SIGHUP", "reload"])
def test_a_changed_file_is_in_force_and_no_timer_is_lost(house: House, way: str) -> None:
    """A watchdog that is running out, one that is expired and climbing: both go on where they were; a new timeout
    and a new watchdog are in force."""
    config = worker_config('[{ do = "log" }, { after = "4s", do = "log", text = "second" }]') + "\n".join(
        ["[[watchdog]]", 'name = "silent"', 'timeout = "6s"', 'interval = "1h"', ""]
    )
    events = house.run(config)
    worker = house.worker("feeder", "w", 1, 0.05)
    worker.hear()
    until(lambda: house.row("w").get("state") == "alive", "its first feed has come")
    fed = house.client()
    fed.feed("silent")
    since = events.until(LONG, "first-fed", "silent")["time"]
    worker.signal(signal.SIGSTOP)
    until(lambda: house.row("w")["state"] == "expired", "it is silent")
    # A busy machine may have kept it from feeding before.
    verdict = events.until(LONG, "expired", "w", incident=house.row("w")["incident"]["id"])
    before = house.row("silent")["silence"]
    house.file.write_text(config.replace('"6s"', '"7s"') + '[[watchdog]]\nname = "new"\ntimeout = "30s"\n')
    if way == "SIGHUP":
        house.run_by.signal(signal.SIGHUP)
    else:
        house.banken("reload")
    events.until(LONG, "reloaded")
    row = house.row("silent")
    assert row["silence"] > before
    assert row["timeout"] == 7.0
    assert house.row("new")["state"] == "waiting"
    second = events.until(LONG, "action", "w", step=1, incident=verdict["incident"])
    late = events.until(LONG, "expired", "silent")
    lost = house.ask("summary")["lost"]  # the clock stands still while the supervisor itself gets no time
    assert 3.9 <= second["time"] - verdict["time"] <= 4.0 + lost + 0.5
    assert 6.9 <= late["time"] - since <= 7.0 + lost + 0.5


def test_a_bad_file_keeps_the_old_one_and_says_what_is_wrong(house: House) -> None:
    """Exit code 4 and the fault's line; the old ladder still climbs, and a good file is taken after that."""
    config = worker_config('[{ do = "log", text = "as before" }]')
    events = house.run(config)
    worker = house.worker("feeder", "w", 1, 0.05)
    worker.hear()
    house.file.write_text(config.replace('timeout = "1s"', 'timeout = "soon"'))
    said = house.banken("reload", code=4)
    assert "the old config stays in force" in said
    assert f"{house.file}:3" in said
    events.until(LONG, "reload-failed")
    assert house.row("w")["timeout"] == 1.0
    worker.signal(signal.SIGSTOP)
    assert events.until(LONG, "action", "w")["do"] == "log"
    house.file.write_text(config.replace('timeout = "1s"', 'timeout = "45s"'))
    house.banken("reload")
    assert house.row("w")["timeout"] == 45.0


def test_a_programs_changed_timeout_is_in_force_without_a_restart(house: House) -> None:
    """Only its watchdog's part of the file changed: the same process, another timeout."""
    config = feeding("a", place=house.place)
    house.run(config)
    before = all_alive(house, "a")
    house.file.write_text(config.replace('timeout = "1s"', 'timeout = "9s"'))
    house.banken("reload")
    assert house.row("a")["timeout"] == 9.0
    assert all_alive(house, "a") == before


@pytest.mark.parametrize(
    ("more", "left"), [('restart = "never"', "stopped"), ('restart = "on-failure"', "stopped")]
)
def test_a_program_that_ends_normally_has_no_incident(house: House, more: str, left: str) -> None:
    """Exit status 0 where that is not to be started again: released."""
    events = house.run(f'[[program]]\nname = "a"\ncommand = ["sh", "-c", "sleep 0.3"]\n{more}\ntimeout = "60s"\n')
    until(lambda: house.program("a")["state"] == left, "it has ended", LONG)
    until(lambda: house.row("a") == {}, "its watchdog is released", LONG)
    events.during(0.3)
    assert events.convicted() == set()
