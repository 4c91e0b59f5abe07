"""A hang is noticed, and its ladder runs to its end, whatever ends in order meanwhile."""

from __future__ import annotations

import sys

import pytest

from field.kit import APPS, NOTICED_S, Field, get, in_the_field
from field.programs import celery, gunicorn
from process.run_kit import table

LADDER = '[{ do = "log", text = "the first step" }, { after = "1s", do = "log", text = "the second step" }]'
CONFIG = f'[[watchdog]]\nname = "*"\nladder = {LADDER}\n'


def both_steps_run(field: Field, name: str) -> None:
    """One incident, and both steps of its ladder."""
    found = field.until(lambda: field.events.all("expired", name), f"an incident of {name}", NOTICED_S)
    for step in (0, 1):
        done = {"incident": found[0]["incident"], "step": step}
        field.until(
            lambda done=done: any(done.items() <= each.items() for each in field.events.all("action-done", name)),
            f"step {step} of {name} is done",
            NOTICED_S,
        )
    assert {each["name"] for each in field.events.all("expired")} == {name}, field.report()
    assert len(field.events.all("expired")) == 1, field.report()


SCRIPTS: dict[str, tuple[str, ...]] = {
    "a forked child with a section ends": ("parent", "section"),
    "a forked child with a name of its own ends": ("parent", "own"),
    "a forked child that feeds its parent's name ends": ("parent", "feed"),
    "a forked child ends without a word": ("parent", "_exit"),
    "one of a forked pool ends, two hang": ("pool", "fork"),
    "one of a spawned pool ends, two hang": ("pool", "spawn"),
    "fail, then exit(0)": ("failing", "0"),
    "fail, then exit(1)": ("failing", "1"),
}
NAMES = {"parent": "trainer", "pool": "pool", "failing": "job"}


@pytest.mark.parametrize("case", SCRIPTS)
def test_no_hang_is_lost(case: str, rounds: range) -> None:
    """The name of the script that hangs."""
    with in_the_field(CONFIG) as field:
        for _ in rounds:
            field.start("hangs.py", *SCRIPTS[case])
            both_steps_run(field, NAMES[SCRIPTS[case][0]])
            field.clear()


@pytest.mark.parametrize("worker", ["command", "fork", "spawn"])
def test_a_program_is_watched_until_it_ends(worker: str, rounds: range) -> None:
    """One of its processes feeds and ends in order; the program runs on, and hangs."""
    for _ in rounds:
        command = [sys.executable, str(APPS / "hangs.py"), "steps", worker]
        config = table("batch", command, timeout="1s", grace="30s")
        with in_the_field(config + f"ladder = {LADDER}\n") as field:
            both_steps_run(field, "batch")


def test_gunicorn_ends_a_worker_that_hangs(rounds: range) -> None:
    """Its own timeout comes first."""
    with in_the_field(CONFIG) as field:
        for _ in rounds:
            app = gunicorn("each", GUNICORN_TIMEOUT="1")(field)
            field.until(lambda: len(field.pids("web-*")) == 2, "both workers are watched")
            get(field, "/hang")
            (name,) = {each["name"] for each in [field.events.until(NOTICED_S, "expired")]}
            both_steps_run(field, name)
            assert app.process.poll() is None
            field.clear()


def test_celery_ends_a_task_that_hangs(rounds: range) -> None:
    """Its hard time limit."""
    with in_the_field(CONFIG) as field:
        for _ in rounds:
            celery("hang")(field)
            both_steps_run(field, field.events.until(NOTICED_S, "expired")["name"])
            field.clear()


def test_a_budget_is_spent_though_each_worker_ends_in_order(rounds: range) -> None:
    """Two kills in ten minutes, and the third hang gives it up."""
    config = '[[watchdog]]\nname = "*"\nladder = [{ do = "kill", budget = "2 per 10m" }]\n'
    for _ in rounds:
        with in_the_field(config) as field:
            field.start("hangs.py", "replacing")
            field.until(lambda: field.events.all("given-up", "stuck"), "it is given up", 30.0)
            assert len(field.events.all("action-done", "stuck")) == 2, field.report()
