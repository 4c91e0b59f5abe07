"""What an operator does to a program is no incident of the watchdogs that its processes feed; what does not come
back after it is one."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from process.kit import START_S, Stream, until
from process.run_kit import Running, running, table

pytestmark = pytest.mark.process

RANKS = 3

TRAINER = f"""
    import os, sys, time
    from banken import client
    for rank in range({RANKS}):
        if os.fork() == 0:
            if os.path.exists("hang-%d" % rank):
                time.sleep(1000)
            dog = client.watchdog("rank-%d" % rank, timeout=float(sys.argv[1]), grace=1)
            while True:
                dog.feed()
                time.sleep(0.1)
    time.sleep(1000)
"""


def config(timeout: float, grace: float) -> str:
    """``timeout`` of its ranks; what a new run feeds has ``grace`` for its first feed. Both in seconds."""
    command = [sys.executable, "-c", textwrap.dedent(TRAINER), str(timeout)]
    return f'[supervisor]\ndefaults = {{ grace = "{grace}s" }}\n' + table("trainer", command, cwd="@PLACE@")


@pytest.fixture
def run() -> Iterator[Running]:
    """A trainer whose ranks are alive, and a supervisor. Nothing is late, however busy the machine is."""
    with running(config(30.0, 60.0)) as one:
        alive(one)
        yield one


@pytest.fixture
def hurried() -> Iterator[Running]:
    """The same, where what hangs is noticed soon; on a busy machine, another one may be late too."""
    with running(config(1.0, 2.0)) as one:
        alive(one)
        yield one


def rows(run: Running) -> dict[str, Any]:
    """The ranks."""
    return {row["name"]: row for row in run.home.ask("status", name="rank-*")["rows"]}


def alive(run: Running) -> None:
    """All ranks feed."""
    until(lambda: [row["state"] for row in rows(run).values()] == ["alive"] * RANKS, "the ranks feed", START_S)


def quiet(events: Stream) -> None:
    """No incident, and no word of the end of one."""
    assert [each for kind in ("expired", "recovered", "closed", "exited") for each in events.all(kind)] == []


def test_a_restart_is_no_incident_of_the_ranks(run: Running) -> None:
    """None tells of anything but its first feed in the new run, which each is judged by."""
    events = run.home.events()
    before = {row["pid"] for row in rows(run).values()}
    run.ask("restart", "trainer")
    for rank in range(RANKS):
        events.until(START_S, "first-fed", f"rank-{rank}")
    alive(run)
    assert before.isdisjoint(row["pid"] for row in rows(run).values())
    quiet(events)
    os.kill(rows(run)["rank-1"]["pid"], signal.SIGKILL)
    assert events.until(START_S, "expired", "rank-1")["cause"] == "exited"
    assert events.convicted() == {"rank-1"}


def test_a_rank_that_does_not_come_back_is_an_incident(hurried: Running) -> None:
    """The restart hangs: noticed when the grace of the program's start is over, and not before."""
    events = hurried.home.events()
    (hurried.place / "hang-2").touch()
    hurried.ask("restart", "trainer")
    told = events.until(START_S, "expired", "rank-2", cause="grace")
    assert told["reason"] == "not fed again since trainer was started again"
    started = next(each for each in events.all("program", "trainer") if each["what"] == "program-started")
    assert told["time"] - started["time"] > 1.9


def test_ranks_of_a_stopped_program_stay_known_and_are_not_judged(hurried: Running) -> None:
    """Over a restart of the supervisor, too; from the program's start on they are."""
    events = hurried.home.events()
    os.kill(rows(hurried)["rank-0"]["pid"], signal.SIGKILL)
    events.until(START_S, "expired", "rank-0")
    hurried.ask("stop", "trainer")
    assert events.until(START_S, "closed", "rank-0")["how"] == "stopped"
    for again in (True, False):
        found = [(row["state"], row["left"], row["stopped_with"]) for row in rows(hurried).values()]
        assert found == [("waiting", None, "trainer")] * RANKS
        if again:
            hurried.stop()
            hurried.run()
    (hurried.place / "hang-1").touch()
    events = hurried.home.events()
    hurried.ask("start", "trainer")
    events.until(START_S, "expired", "rank-1", cause="grace")


def test_a_reload_that_removes_the_program_releases_what_it_fed(run: Running) -> None:
    """Nobody waits for them any more."""
    events = run.home.events()
    Path(run.place, "banken.toml").write_text("[[watchdog]]\nname = 'rank-1'\n")
    run.home.ask("reload")
    for rank in (0, 2):
        events.until(START_S, "released", f"rank-{rank}")
    until(lambda: list(rows(run)) == ["rank-1"], "what the operator names stays", START_S)
    assert rows(run)["rank-1"]["awaited"] is False
    quiet(events)


def test_what_dies_without_a_request_is_an_incident_all_the_same(run: Running) -> None:
    """A crash of the program, with all that it had started."""
    events = run.home.events()
    os.kill(rows(run)["rank-0"]["pid"], signal.SIGKILL)
    assert events.until(START_S, "expired", "rank-0")["cause"] == "exited"
    assert events.convicted() == {"rank-0"}


def test_a_stop_during_the_backoff_waits_for_what_is_left(tmp_path: Path) -> None:
    """The process has crashed, and its child needs time to end."""
    end = tmp_path / "end"
    child = f"trap '' TERM; : > {tmp_path}/there; while [ ! -e {end} ]; do sleep 0.02; done"
    crash = f'sh -c "{child}" & while [ ! -e {tmp_path}/there ]; do sleep 0.01; done; exit 1'
    program = table("p", ["sh", "-c", crash], stop_timeout="60s")
    with running(program.replace("50ms..200ms", "1h..1h")) as run:
        until(lambda: run.program("p")["state"] == "backoff", "it has crashed", START_S)
        run.home.ask("program", what="stop", name="p")
        assert run.program("p")["state"] == "stopping"
        assert run.commands(f"sh -c {child[:40]}")  # perhaps it has just forked for its next `sleep`
        end.touch()
        until(lambda: run.program("p")["state"] == "stopped", "it is stopped", START_S)
        assert run.commands(f"sh -c {child[:40]}") == []
