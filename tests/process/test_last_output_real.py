"""Why it died: the last lines that a program, or a command of its ladder, wrote are in the incident and notice."""

from __future__ import annotations

import sys

import pytest

from process.kit import until
from process.ladder_kit import LONG, House, listening
from process.run_kit import table

pytestmark = pytest.mark.process

DIES = (
    "import sys, time\n"
    "for number in range(40): print('line', number)\n"
    "print('RuntimeError: no memory is left on device 0\\x1b[0m', file=sys.stderr, flush=True)\n"
    "sys.exit(1)\n"
)


def _dies(code: str = DIES, **fields: object) -> str:
    return table("trainer", [sys.executable, "-u", "-S", "-c", code], backoff="1h..1h", **fields)


def _first(house: House, name: str) -> str:
    """Its first incident. It may be opened before anybody listens."""
    found: str = until(lambda: house.incidents(name), "an incident", LONG)[-1]["id"]
    return found


def test_the_last_lines_of_a_program_that_died_are_in_its_incident(house: House) -> None:
    house.run(_dies())
    id_ = _first(house, "trainer")
    told = until(lambda: "no memory" in (text := house.banken("incident", id_)) and text, "its output", LONG)
    lines = [each.strip() for each in told.splitlines()]
    at = lines.index("Last output of trainer:")
    assert lines[at + 1 : at + 21] == [
        *(f"line {number}" for number in range(21, 40)),
        r"RuntimeError: no memory is left on device 0\x1b[0m",
    ]


def test_only_the_run_that_died_counts(house: House) -> None:
    """A run that says nothing is not explained by the words of the one before."""
    code = (
        "import os, sys, time\n"
        f"ran = {str(house.place / 'ran')!r}\n"
        "if os.path.exists(ran): os.kill(os.getpid(), 9)\n"
        "open(ran, 'w').close()\n"
        "print('the first run', flush=True)\n"
        "sys.exit(1)\n"
    )
    house.run(table("a", [sys.executable, "-S", "-c", code], budget="1 per 1m"))
    first = _first(house, "a")
    until(lambda: "the first run" in house.banken("incident", first), "what the first run said", LONG)
    until(lambda: len(house.incidents("a")) == 2, "the second one died", LONG)
    until(lambda: house.program("a")["state"] == "given-up", "it is given up", LONG)
    second = house.incidents("a")[0]["id"]
    assert second != first
    assert "Last output" not in house.banken("incident", second)


def test_what_a_hanging_program_said_last_is_in_its_incident_too(house: House) -> None:
    code = "import time; print('waits for the lock', flush=True); time.sleep(1000)"
    house.run(table("a", [sys.executable, "-S", "-c", code], timeout="2s", grace="2s"))
    id_ = _first(house, "a")
    until(lambda: "waits for the lock" in house.banken("incident", id_), "its output", LONG)


@pytest.mark.notify
def test_the_last_lines_are_in_the_notice(house: House) -> None:
    """Of the program, and of a command of its ladder that ran before."""
    command = [sys.executable, "-S", "-c", "print('the disk is full'); raise SystemExit(4)"]
    with listening() as (where, bodies):
        settings = f'[notify.oncall]\nurls = ["json://{where}/people"]\n'
        ladder = f'ladder = [{{ do = "exec", command = {command!r} }}, {{ do = "notify", to = "oncall" }}]\n'
        house.run(settings + _dies() + ladder)
        until(lambda: bodies, "it is told", LONG)
    assert "no memory is left on device 0" in bodies[0]["title"]
    lines = bodies[0]["message"].splitlines()
    at = lines.index("Last output of trainer:")
    assert lines[at + 1] == "  line 21"
    assert "the disk is full" in "\n".join(lines[at + 21 :])
