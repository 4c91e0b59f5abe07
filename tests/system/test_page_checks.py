"""Checks on the page, in a real Chromium: their rows, what they saw, and the incident of one that fails."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from process.kit import until
from system.page_kit import ARGUMENTS, CHROMIUM, LIGHT, tab
from web.kit import Street, Web

pytestmark = pytest.mark.process

CONFIG = """
[[watchdog]]
name = "store"
grace = "100ms"
check = [
  { exec = ["echo", "all is well"], every = "500ms" },
  { exec = ["sh", "-c", "echo '<b>no disk</b>'; exit 3"], every = "200ms", fails = 2 },
]
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield one
        one.close()


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    directory = tempfile.mkdtemp(prefix="bk-")
    street = Street(os.path.join(directory, "s"))
    try:
        street.run(CONFIG)
        yield street.web()
    finally:
        street.close()
        shutil.rmtree(directory, ignore_errors=True)


def test_a_check_has_a_row_and_shows_what_it_saw_and_when_it_runs_again(browser: Browser, web: Web) -> None:
    """In the list and beside it; what a command wrote is text."""
    with tab(browser, web, look=LIGHT) as one:
        one.shows("store/check", "Alive")
        one.shows("store/check-2", "Expired")
        assert one.row("store/check").locator(".tag").text_content() == "check"
        assert "watched by its 2 checks" in (one.row("store").text_content() or "")
        assert "exec echo" in (one.row("store/check").text_content() or "")
        one.row("store/check").click()
        panel = one.page.locator(".panel")
        panel.locator(".said", has_text="passed").wait_for()
        for fact in ("Check of", "Runs again in", "Last run took"):
            panel.locator("dt", has_text=fact).wait_for()
        assert one.violations() == []
        one.faults.clear()  # axe itself uses inline styles, which the policy of the page forbids


def test_the_incident_of_a_check_has_its_last_results(browser: Browser, web: Web) -> None:
    until(lambda: web.get("/api/v1/incidents?name=store/check-2").json["incidents"], "it is on record", 20)
    incident = web.get("/api/v1/incidents?name=store/check-2").json["incidents"][0]["id"]
    with tab(browser, web, view=f"#/incident/{incident}") as one:
        one.page.locator("h2", has_text="The last 2 results").wait_for()
        table = one.page.locator("#view-incident table.plain-table").first
        assert table.locator("tbody tr").count() == 2
        assert "<b>no disk</b>" in (table.text_content() or "")
        one.page.locator("h1", has_text="check failed").wait_for()
        assert one.violations() == []
        one.faults.clear()  # axe itself uses inline styles, which the policy of the page forbids
