"""16. The page with 5,000 watchdogs in a real Chromium, and whether having it open makes verdicts later.

A supervisor, a process that feeds 5,000 watchdogs every 2 s each, ``banken web`` and a browser, all on this
machine. *First paint* and *whole list*: from the navigation's start, the median of several loads. *Each second*:
what the page's thread does while it is looked at: its scripts, and all work (scripts, styles, layout, painting).
*Deadline to callback*: rounds of probes (stage.py) in turn without web process and page; with a page's stream and
requests (viewer.py), as if the browser were on another machine; and with the browser here, at the lowest priority:
on two cores it takes processor time from everybody. *More by* compares all rounds of a kind with all without.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import IO, Any

import traffic
from common import Child, Figure, environment, percentile, resident_bytes, written
from stage import Stage

WATCHDOGS = 5_000
FEEDS_PER_S = 2_500
PROBES = 150
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]

FIRST_PAINT_MS_MAX = 1_000
LIST_MS_MAX = 2_000
COST_MS_MAX = 100
EXTRA_MAX = 10
ALONE, ELSEWHERE, HERE = "without a page", "a page elsewhere", "a page here"
CONTENDERS = (ALONE, ELSEWHERE, HERE)
IN_VIEW = 30
"""Rows that a page looks at."""
"""Per cent by which verdicts may be later with the page open."""

LISTED = """
new MutationObserver((_, observer) => {
    const number = document.getElementById("number-watchdogs");
    if (number && number.textContent.replace(",", "") >= 5000 && document.querySelector("#space > .row")) {
        window.listedAt = performance.now();
        observer.disconnect();
    }
}).observe(document, { subtree: true, childList: true, characterData: true });
"""


def run(quick: bool) -> list[Figure]:
    """What the page costs itself, then what it costs the supervisor."""
    if not Path(CHROMIUM).exists():
        return [Figure("page", "the page in Chromium", None, "", note=f"there is no {CHROMIUM}")]
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as place:
        polite = Path(place) / "polite"
        polite.write_text(f'#!/bin/sh\nexec nice -n 19 {CHROMIUM} "$@"\n')
        polite.chmod(0o700)
        with playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS) as browser:
            figures = _cost(browser, 3 if quick else 7)
        with playwright.chromium.launch(executable_path=polite, args=ARGUMENTS) as browser:
            return figures + _lateness(browser, 6 if quick else 18)


def _cost(browser: Any, loads: int) -> list[Figure]:
    with _crowd() as stage, _web(stage.directory) as (url, web):
        paints, lists = [], []
        for _ in range(loads):
            with _page(browser, url) as page:
                paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
                lists.append(page.evaluate("listedAt"))
        with _page(browser, url) as page:
            page.wait_for_timeout(3000)
            seconds = 10
            before, client = _metrics(page)
            page.wait_for_timeout(seconds * 1000)
            after, _ = _metrics(page, client)
            spent = {key: 1000 * (after[key] - before[key]) / seconds for key in ("ScriptDuration", "TaskDuration")}
            heap, nodes = after["JSHeapUsedSize"] / 2**20, after["Nodes"]
            served = resident_bytes(web.pid) / 2**20
    of = f"{WATCHDOGS:,} watchdogs"
    return [
        Figure("page", f"{of}: first paint", median(paints), "ms", at_most=FIRST_PAINT_MS_MAX),
        Figure("page", f"{of}: whole list", median(lists), "ms", at_most=LIST_MS_MAX),
        Figure("page", f"{of}: scripts, each second", spent["ScriptDuration"], "ms"),
        Figure("page", f"{of}: all work, each second", spent["TaskDuration"], "ms", at_most=COST_MS_MAX),
        Figure(
            "page",
            f"{of}: script memory",
            heap,
            "MiB",
            note=f"{nodes:,.0f} nodes; the web process {served:.0f} MiB",
        ),
    ]


def _lateness(browser: Any, rounds: int) -> list[Figure]:
    turns = [(*CONTENDERS, *reversed(CONTENDERS))[turn % 6] for turn in range(rounds)]
    with _crowd() as stage:
        for turn, contender in enumerate(turns):
            stage.declare(PROBES, 0.5, prefix=f"probe-{turn}")
            with ExitStack() as stack:
                if contender != ALONE:
                    url, _ = stack.enter_context(_web(stage.directory))
                    if contender == HERE:
                        stack.enter_context(_page(browser, url))
                    else:
                        names = traffic.names("crowd", IN_VIEW)
                        port = url.strip("/").rpartition(":")[2]
                        stack.enter_context(Child(port, *names, file="viewer")).line()
                time.sleep(2.0)
                stage.probe(PROBES * 0.02)
        stage.feeders_ended()
        marks = stage.finish()
    marks.ms(1.0)  # none missing, none early
    late: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
    for turn, contender in enumerate(turns):
        late[contender] += [1000 * each for each in marks.lateness_s[turn * PROBES : (turn + 1) * PROBES]]
    figures = []
    for contender in CONTENDERS:
        for share, label in ((0.5, "median"), (0.99, "p99")):
            found, alone = percentile(late[contender], share), percentile(late[ALONE], share)
            what = f"deadline to callback, {contender}, {label}"
            if contender == ALONE:
                figures.append(Figure("page", what, found, "ms", note=f"{len(late[ALONE])} verdicts"))
            else:
                extra = 100 * (found / alone - 1)
                note = f"{found:.2f} ms; {alone:.2f} ms {ALONE}"
                figures.append(Figure("page", f"{what}: more by", extra, "%", at_most=EXTRA_MAX, note=note))
    return figures


@contextmanager
def _crowd() -> Iterator[Stage]:
    with Stage() as stage:
        stage.feeders("crowd", WATCHDOGS, 30.0, FEEDS_PER_S)
        stage.feeders_ready()
        stage.watched(WATCHDOGS, 30.0)
        yield stage


@contextmanager
def _web(directory: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    listen = ["--listen", "127.0.0.1:0", "--open"]
    command = [sys.executable, "-m", "banken_supervisor", "web", "--address", directory, *listen]
    with tempfile.TemporaryFile() as log:
        web = subprocess.Popen(command, stderr=log, env=environment())
        try:
            yield _url(web, log), web
        finally:
            web.terminate()
            web.wait(10)


def _url(web: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and web.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\d+/", written(log).decode())
        if found:
            return found[0]
        time.sleep(0.02)
    raise RuntimeError("banken web did not start")


@contextmanager
def _page(browser: Any, url: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    try:
        page = context.new_page()
        page.add_init_script(LISTED)
        page.goto(url)
        deadline = time.monotonic() + 30
        while page.evaluate("window.listedAt === undefined"):
            if time.monotonic() > deadline:
                raise RuntimeError("the page did not list all watchdogs")
            page.wait_for_timeout(20)
        yield page
    finally:
        context.close()


def _metrics(page: Any, client: Any = None) -> tuple[dict[str, float], Any]:
    if client is None:
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable")
    found = client.send("Performance.getMetrics")["metrics"]
    return {each["name"]: each["value"] for each in found}, client
