"""A reload that changes what a pattern says holds for the programs that the pattern fits, at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from process.kit import until
from process.program_kit import yard_at
from process.test_adoption_real import Runner

pytestmark = pytest.mark.process

CONFIG = """
[[watchdog]]
name = "p*"
timeout = "50s"

[[program]]
name = "p"
command = ["sleep", "1000"]
"""


@pytest.fixture
def runner(address: str) -> Iterator[Runner]:
    """`banken run -c`; its programs are ended after it."""
    with yard_at(address):
        one = Runner(address)
        yield one
        one.kill()


def test_a_programs_watchdog_follows_a_changed_pattern(runner: Runner) -> None:
    """One reload is enough, and the program runs on."""
    runner.configure(CONFIG)
    runner.start()
    until(lambda: "p" in runner.watchdogs(), "it is watched")
    pid = runner.rows()["p"]["pid"]
    assert runner.watchdogs()["p"]["timeout"] == 50
    runner.configure(CONFIG.replace("50s", "70s"))
    runner.reload()
    assert runner.watchdogs()["p"]["timeout"] == 70
    assert runner.rows()["p"]["pid"] == pid
