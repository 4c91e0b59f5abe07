"""A real Chromium on the page of a real ``banken web``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page

from web.kit import Street, Web

SCRIPTS = Path(__file__).parents[1] / "process" / "scripts"
AXE = (Path(__file__).parent / "vendor" / "axe" / "axe.min.js").read_text()

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

LIGHT = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"}
DARK = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True, "is_mobile": True}

NOT_FOUND = "Failed to load resource: the server responded with a status of 404"
"""What Chromium itself says of an answer that the page knows how to read."""


def config(place: Path) -> str:
    """A program that is deadlocked on two locks in its first process, one that is down, a group, and patterns."""
    stuck = json.dumps([sys.executable, str(SCRIPTS / "stuck.py"), "two_locks", str(place / "hung")])
    return f"""
[supervisor]
defaults = {{ timeout = "1h", interval = "1h" }}

[[program]]
name = "loader"
command = {stuck}
timeout = "1s"
interval = "1h"
grace = "30s"
dies_with_supervisor = true
ladder = [{{ do = "dump" }}]

[[program]]
name = "sleeper"
command = ["sleep", "infinity"]
restart = "never"
autostart = false
dies_with_supervisor = true

[[watchdog]]
name = "tired-*"
timeout = "1h"
ladder = [{{ do = "log", repeat = "10ms", budget = "1 per 1h" }}]

[[watchdog]]
name = "pool-*"

[[group]]
name = "pool"
members = ["pool-*"]
at_least = 1
"""


class Tab:
    """One page in a context of its own. What goes wrong in it is in ``faults``."""

    def __init__(
        self, browser: Browser, web: Web, look: dict[str, Any], view: str = "", token: bool = True
    ) -> None:
        self.web = web
        self.context = browser.new_context(**look)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.faults: list[str] = []
        self.page.on("pageerror", lambda fault: self.faults.append(str(fault)))
        self.page.on("console", self._said)
        self.page.goto(f"http://{web.host}/{f'#token={web.token}' if token else ''}")
        # Not wait_for_function: it evaluates texts in the page, which the page's policy forbids.
        if token:
            self.page.locator("#number-watchdogs", has_text=re.compile(r"\d")).wait_for()
        if view:
            self.view(view)

    def view(self, hash_: str) -> None:
        """Go to another view."""
        self.page.evaluate("hash => { location.hash = hash }", hash_)

    def row(self, name: str) -> Locator:
        """The row of one watchdog."""
        return self.page.locator(f'#space > [data-name="{name}"]')

    def shows(self, name: str, state: str) -> None:
        """Wait until the row of this name is in this state, in words."""
        self.row(name).locator(".word", has_text=state).wait_for()

    def violations(self) -> list[str]:
        """What axe-core finds wrong with what is shown."""
        self.page.evaluate(f"typeof axe === 'undefined' && (() => {{ {AXE} }})()")
        found = self.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{each['id']}: {each['help']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
            for each in found["violations"]
        ]

    def focused(self) -> str:
        """The text of what has the focus."""
        text: str = self.page.evaluate("document.activeElement.textContent.trim()")
        return text

    def _said(self, said: ConsoleMessage) -> None:
        if said.type == "error" and NOT_FOUND not in said.text:
            self.faults.append(said.text)

    def close(self) -> None:
        """Close it; everything that went wrong in it is an error now."""
        self.context.close()
        assert not self.faults, self.faults


@contextmanager
def tab(
    browser: Browser, web: Web, look: dict[str, Any] = LIGHT, view: str = "", token: bool = True
) -> Iterator[Tab]:
    """A tab, closed afterwards."""
    one = Tab(browser, web, look, view, token)
    try:
        yield one
    except BaseException:
        one.faults.clear()  # the first error tells more
        raise
    finally:
        one.close()


def house(address: str) -> Street:
    """A home with a supervisor of ``config``."""
    street = Street(address)
    try:
        street.run(config(street.place))
    except BaseException:
        street.close()
        raise
    return street
