"""What reaches people: links, where it hung, the end of an incident, and storms in one message. All real."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from banken.client import Client
from process.kit import until
from process.ladder_kit import LONG, House, line_of, listening, stuck

pytestmark = [pytest.mark.process, pytest.mark.notify]

HUNDRED = [f"w-{number}" for number in range(100)]


def settings(where: str) -> str:
    """The page's address, and one target at a local server."""
    return (
        f'[supervisor]\nurl = "https://banken.example/here/"\n[notify.oncall]\nurls = ["json://{where}/people"]\n'
    )


def only(bodies: list[dict[str, Any]], key: str, words: str) -> dict[str, Any]:
    """The one body whose ``key`` has these words."""
    [found] = [each for each in bodies if words in each.get(key, "")]
    return found


def feed_at_once(house: House, client: Client) -> None:
    """All hundred, and the supervisor reads them in one moment, whenever this process was scheduled."""
    house.run_by.signal(signal.SIGSTOP)
    for name in HUNDRED:
        client.feed(name)
    client._leave(LONG)
    house.run_by.signal(signal.SIGCONT)


def test_a_lone_incident_is_told_soon_with_a_link_and_where_it_hung_and_then_its_end(house: House) -> None:
    """Notified behind the dump, killed without waiting for the service; the recovery follows."""
    with listening() as (where, bodies):
        ladder = '[{ do = "dump" }, { do = "notify", to = "oncall", level = "critical" }, { do = "restart" }]'
        events = house.run(settings(where) + stuck("worker", "two_locks", ladder=ladder, place=house.place))
        verdict = events.until(LONG, "expired", "worker")
        told = events.until(LONG, "action-done", "worker", do="notify")
        assert told["time"] - verdict["time"] < 10
        until(lambda: len(bodies) == 2, "both are told", LONG)
    opened, over = bodies
    assert opened["title"].startswith("[critical] worker: timeout, silent for ")
    assert f"`take` (hang.py:{line_of('take')})" in opened["message"]
    link = f"https://banken.example/here/#/incident/{verdict['incident']}"
    assert opened["message"].splitlines()[-1] == over["message"].splitlines()[-1] == link
    assert (over["title"], over["type"]) == ("worker: over (reborn)", "success")


def test_a_hundred_at_once_are_told_in_one_message_and_so_are_their_ends(house: House) -> None:
    """By notify and by webhook: how many, who, why, where to look; each timeline says so, and none is left out."""
    with listening() as (where, bodies):
        steps = f'[{{ do = "notify", to = "oncall" }}, {{ do = "webhook", url = "http://{where}/hook" }}]'
        table = f'[[watchdog]]\nname = "w-*"\ntimeout = "1s"\ninterval = "1h"\nladder = {steps}\n'
        events = house.run(settings(where) + table)
        client = house.client()
        feed_at_once(house, client)
        until(lambda: len(events.all("action-done")) >= 200, "all are told", LONG)
        assert len(bodies) == 2
        message, event = only(bodies, "title", "expired"), only(bodies, "type", "banken.incidents.open")
        feed_at_once(house, client)
        until(lambda: len(events.all("action-done")) >= 400, "all ends are told", LONG)
        over, ended = only(bodies, "title", "recovered"), only(bodies, "type", "banken.incidents.recovered")
    assert message["title"].startswith("100 watchdogs expired within ")
    lines = message["message"].splitlines()
    assert lines[0].endswith(" … and 90 more")
    assert set(lines[0].removesuffix(" … and 90 more").split(", ")) < set(HUNDRED)
    assert lines[1] == "Causes: 100 × timeout."
    assert lines[-1] == "https://banken.example/here/"
    assert event["data"]["causes"] == {"timeout": 100}
    assert {each["name"] for each in event["data"]["incidents"]} == set(HUNDRED)
    assert over["title"].startswith("100 watchdogs recovered within ")
    assert ended["data"]["count"] == 100
    assert {each["name"] for each in events.all("action-done")} == set(HUNDRED)
    shown = house.banken("incident", event["data"]["incidents"][42]["incident"])
    assert "oncall: 1 sent; in one message with 99 others" in shown


def test_what_waits_to_be_told_is_told_when_the_supervisor_stops(house: House) -> None:
    """SIGTERM as soon as the end of the incident is known, a second before it would have been told."""
    with listening() as (where, bodies):
        table = '[[watchdog]]\nname = "w"\ntimeout = "1s"\ninterval = "1h"\n'
        events = house.run(settings(where) + table + 'ladder = [{ do = "notify", to = "oncall" }]\n')
        client = house.client()
        client.feed("w")
        until(lambda: len(bodies) == 1, "the incident is told", LONG)
        client.feed("w")
        events.until(LONG, "recovered", "w")
        house.run_by.process.terminate()
        assert house.run_by.ended(LONG)[0] == 0
        assert "w: recovered" in [each["title"] for each in bodies]  # and that it expired anew, if it has by then
