"""``banken top`` against a supervisor of another process, over its sockets: what is drawn, and what keys do."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time

import pytest

from banken_supervisor.cli.top.log import LogPage
from process.kit import Home, until
from process.ladder_kit import House
from process.top_kit import Top, failed, fed, recovered, running, watch

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("columns", "lines", "titles"),
    [
        (80, 24, "STATE▼ NAME LEFT SILENT REMARK"),
        (120, 40, "STATE▼ NAME LEFT SILENT RATE GAPS INC REMARK"),
        (200, 50, "STATE▼ NAME LEFT SILENT TIMEOUT RATE GAPS PID INC REMARK"),
    ],
)
def test_the_list_at_each_width(home: Home, columns: int, lines: int, titles: str) -> None:
    """No title is cut, columns fold away, the worst stands first, and nothing of a worker's steers the screen."""
    running(home)
    client = fed(home, *(f"worker-{number:02}" for number in range(30)))
    failed(home, client, "worker-20", "disk \x1b[2Jfull")
    client.feed("worker-05", status="epoch \x1b[31m3\x07")

    async def story(top: Top) -> None:
        shown = await top.sees("30 watchdogs: 1 expired, 29 alive", "! expired", "1 open", "epoch 3")
        assert " ".join(shown.splitlines()[3].split()) == titles
        assert "failed: disk full" in shown
        assert "\x1b" not in shown
        assert "\x07" not in shown
        assert top.lines()[0].split()[:3] == ["!", "expired", "worker-20"]
        assert top.names()[1:4] == ["worker-00", "worker-01", "worker-02"]
        # Below them may be a line with the whole of a remark that was cut.
        others = lambda: [line for line in top.lines()[1:] if "worker-" in line]  # noqa: E731
        await top.until(lambda: all(line.startswith("● alive") for line in others()), "the others alive")
        await top.press("end")
        shown = await top.sees("worker-29")
        assert "worker-29" in (shown.splitlines()[-2] if columns == 80 else top.lines()[-1])

    watch(home.address, story, size=(columns, lines))


def test_rows_keep_their_places_and_are_sorted_and_filtered_by_keys(home: Home) -> None:
    """Feeds move no row; a failure does. A sort is chosen by its key, a filter typed, kept and taken back."""
    running(home)
    names = [f"api-{number}" for number in range(3)] + [f"worker-{number}" for number in range(3)]
    client = fed(home, *names)

    async def story(top: Top) -> None:
        await top.until(lambda: top.names() == names, "them by name")
        await top.press("D")  # by silence: the one that was fed first is the longest silent
        await top.sees("SILENT▼")
        before = top.names()
        for name in before[:3]:
            client.feed(name)
        at = top.app._source.snapshot.at
        await top.until(lambda: top.app._source.snapshot.at > at + 2.5, "what is newer")
        assert top.names() == before
        failed(home, client, before[-1], "no more")
        await top.until(lambda: top.names() == [before[-1], *before[:-1]], "the failed one above all")
        await top.press("N", "r")
        await top.until(lambda: top.names() == sorted(names, reverse=True), "names backwards")
        await top.sees("NAME▲")
        await top.press("r", "s")
        await top.sees("LEFT▼")
        await top.press("S")
        await top.type("/er-")
        await top.until(
            lambda: len(top.names()) == 3 and all("er-" in each for each in top.names()), "those that fit"
        )
        await top.type("q")  # a letter, not the end
        await top.sees("no watchdog fits 'er-q'")
        await top.press("backspace", "enter")
        await top.sees("filter: er-")
        await top.press("escape")
        await top.until(lambda: len(top.names()) == 6, "all again")
        await top.type("/a*2")
        await top.press("enter")
        await top.until(lambda: top.names() == ["api-2"], "what fits the pattern")

    watch(home.address, story)


def test_the_selected_row_stays_selected(home: Home) -> None:
    """A key must not hit another watchdog because one failed meanwhile; nothing is done without a yes."""
    running(home)
    client = fed(home, "a", "b", "c")

    async def story(top: Top) -> None:
        await top.until(lambda: top.names() == ["a", "b", "c"], "them")
        await top.press("down")
        assert top.app.main.watchdog == "b"
        failed(home, client, "c", "gone")
        await top.until(lambda: top.names() == ["c", "a", "b"], "the failed one first")
        assert top.app.main.watchdog == "b"
        await top.press("p")
        await top.sees("pause b? y/n")
        await top.press("n")
        await top.sees("nothing was done")
        assert home.row("b")["state"] == "alive"
        await top.press("p")
        await top.sees("pause b? y/n")
        await top.press("y")
        await top.sees("b is paused", "‖ paused")
        assert home.row("b")["state"] == "paused"
        await top.press("p")
        await top.sees("resume b? y/n")
        await top.press("y")
        await top.sees("b is resumed")
        assert home.row("b")["state"] == "alive"

    watch(home.address, story)


LADDER = """
[[watchdog]]
name = "worker-*"
timeout = "10m"
ladder = [{ do = "dump" }, { after = "1h", do = "signal", signal = "SIGTERM" }]
"""


def test_the_detail_tells_gaps_incident_evidence_and_the_next_step(house: House) -> None:
    """Of a worker that failed: why, where it stands, and what will be done; in full on another page."""
    house.run(LADDER)
    client = house.client()

    def fed_often() -> bool:
        client.feed("worker-1", progress=time.monotonic_ns())
        return len(house.ask("look", names=["worker-1"], feeds=True)["rows"][0]["feeds"]) >= 3

    recovered(house, client, "worker-1")
    until(fed_often, "there are gaps between its feeds")
    failed(house, client, "worker-1", "OSError: disk full")

    async def story(top: Top) -> None:
        await top.sees("! expired", "worker-1")
        await top.press("enter")
        shown = await top.sees(
            "Open incident", "step 2 of 2: signal in", "Evidence", "Uptime", "full block is the timeout, 10m"
        )
        assert f"pid {os.getpid()}" in shown
        assert "OSError: disk full" in shown
        assert "silence" in shown
        shown = await top.sees("taken", f"pid {os.getpid()}, state ", "resident")
        await top.until(lambda: "since the journal begins), 1 incident" in top.shown(), "the uptime")
        await top.press("enter")
        await top.sees("Timeline", "action-done")
        await top.press("q", "q")
        await top.sees("1 Watchdogs")

    watch(house.address, story, size=(100, 50))


def test_what_does_not_fit_into_a_row_stands_below_the_list(home: Home) -> None:
    """Of the selected one, whole; nothing stands there for a row that fits."""
    running(home)
    client = fed(home, "a", "b")
    failed(home, client, "a", f"no space left: {'/var/spool' * 5} third-node")

    async def story(top: Top) -> None:
        await top.press("home")
        await top.sees("! expired", "third-node")
        await top.press("down")
        await top.until(lambda: "third-node" not in top.shown(), "nothing is cut in the next row")
        await top.press("3", "home")
        await top.sees("! open", "third-node")

    watch(home.address, story, size=(80, 24))


def last_line(top: Top) -> int:
    """The number of the last line of the talker that is shown."""
    numbers = re.findall(r"^\s*line (\d+) red", top.shown(), re.MULTILINE)
    return max(map(int, numbers), default=0)


def test_programs_and_the_log_of_one(house: House) -> None:
    """Their states, how each is watched, and what one writes, as it writes it."""
    talker = house.place / "talker.log"
    loud = "import time\nfor n in range(9999): print('line', n, '\\x1b[31mred', flush=True); time.sleep(0.1)"
    house.run(
        f'[[program]]\nname = "talker"\ncommand = {json.dumps([sys.executable, "-c", loud])}\nlog = "{talker}"\n'
        '[[program]]\nname = "broken"\ncommand = ["/bin/false"]\nrestart = "always"\nbudget = "1 per 1h"\n'
    )

    async def story(top: Top) -> None:
        await top.press("2")
        shown = await top.sees("✖ given up", "● running", "only its end is watched")
        assert shown.index("broken") < shown.index("talker")
        assert "3650" not in shown
        await top.press("end", "l")
        await top.sees("log of talker", " red")
        assert isinstance(top.app.screen, LogPage)
        last = last_line(top)
        await top.until(lambda: last_line(top) >= last + 5, "what it writes")
        talker.unlink()  # it is made anew, for the program writes on
        last = last_line(top)
        await top.until(lambda: last_line(top) >= last + 20, "what it writes to the new file")
        await top.press("q", "1")
        await top.sees("● running")  # what need not feed is no worry in the list of watchdogs either
        await top.press("2", "home", "l")
        await top.sees("log of broken", f"{house.address}/logs/broken.log")  # one that names none has one

    watch(house.address, story, size=(80, 24))


def test_incidents_and_events_come_by_themselves(home: Home) -> None:
    """The open ones first, then the newest; each opens in full. Events are shown as they happen, and filtered."""
    running(home)
    client = fed(home, "a", "b")
    failed(home, client, "a", "first")
    recovered(home, client, "a")

    async def story(top: Top) -> None:
        await top.press("3")
        await top.sees("3 Incidents 0 open", "fed", "first")
        failed(home, client, "b", "second")
        shown = await top.sees("3 Incidents 1 open", "! open", "second")
        assert shown.index("second") < shown.index("first")
        await top.press("home", "enter")
        await top.sees("b: failed, incident", "Timeline")
        await top.press("escape", "4")
        shown = await top.sees("recovered", "expired")
        assert shown.count("“first”") == 1  # in the journal, and not announced again
        recovered(home, client, "b")
        await top.until(lambda: top.shown().count("recovered") == 2, "the newest")
        await top.type("/a")
        await top.press("enter")
        await top.until(lambda: all(" a " in line or "supervisor" in line for line in top.lines()), "those of a")

    watch(home.address, story)


def test_help_tells_every_key_of_the_lists(home: Home) -> None:
    """And goes away again."""
    running(home)

    async def story(top: Top) -> None:
        await top.sees("no watchdogs yet")
        await top.type("?")
        shown = await top.sees("Keys", "Columns and states", "given up")
        for key in ("Tab", "Enter", "Escape", "PgUp", "S N L D R I", "Ctrl-Z", "Ctrl-C"):
            assert key in shown
        await top.press("q")
        await top.sees("1 Watchdogs")

    watch(home.address, story, size=(120, 50))


def test_a_supervisor_that_goes_and_comes_back(home: Home) -> None:
    """It is told, with address and time of the last answer; what was known stays; it returns by itself."""
    supervisor = running(home)
    fed(home, "worker-1")

    async def story(top: Top) -> None:
        await top.sees("● alive")
        supervisor.signal(signal.SIGKILL)
        supervisor.process.wait(10)
        shown = await top.sees("no supervisor answers at", home.address, "last answer at", "ago")
        assert "worker-1" in shown
        await top.press("2", "3", "4", "1", "enter")
        await top.sees("Silent")
        await top.press("q", "p", "y")
        await top.sees("nothing was done: no supervisor answers")
        new = running(home)
        await top.sees(f"pid {new.pid}", "journal ok")
        assert "no supervisor answers at" not in top.shown().splitlines()[0]
        await top.press("4")
        await top.sees("the supervisor is gone", "connected to the supervisor")

    watch(home.address, story)


def test_it_waits_for_a_supervisor_that_was_never_there_and_leaves_no_thread(home: Home) -> None:
    """Each part says so; the end ends what it started."""
    before = set(threading.enumerate())

    async def story(top: Top) -> None:
        await top.sees("no supervisor answers at", "there was no answer so far")
        await top.press("3")
        await top.sees("there is no journal at")
        await top.press("1")
        running(home)
        await top.sees("no watchdogs yet")

    watch(home.address, story, size=(80, 24))
    left = [each for each in set(threading.enumerate()) - before if each.name.startswith("banken-")]
    assert not left
