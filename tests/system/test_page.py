"""The page in a real Chromium, on a real web process beside a real supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from process.kit import until
from process.ladder_kit import line_of
from system.page_kit import ARGUMENTS, CHROMIUM, DARK, LIGHT, PHONE, config, house, tab
from web.kit import Street, Web

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"

VERDICT_TO_PAGE_S_MAX = 1.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield one
        one.close()


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    """A supervisor for the tests that let it live."""
    directory = tempfile.mkdtemp(prefix="bk-")
    one = house(os.path.join(directory, "s"))
    try:
        yield one
    finally:
        one.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def web(street: Street) -> Web:
    """Its web process."""
    return street.web()


class Feeder:
    """Feeds one watchdog from a thread of the test's own until it is told to stop."""

    def __init__(self, street: Street, name: str, timeout: float, **note: Any) -> None:
        self._client = street.client()
        self._name, self._timeout, self._note = name, timeout, note
        self._end = threading.Event()
        self._client.watchdog(name, timeout=timeout, interval=3600)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Fall silent."""
        self._end.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._end.is_set():
            self._client.feed(self._name, **self._note)
            self._end.wait(self._timeout / 10)


def test_a_worker_that_falls_silent_is_seen_within_a_second(
    browser: Browser, street: Street, web: Web, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the verdict's time to the change in the document: three times, in the middle under a second; then it
    recovers."""
    delays = []
    with tab(browser, web) as one:
        events = street.events()
        for number in range(3):
            name = f"silent-{number}"
            feeder = Feeder(street, name, 1.5, status="at work")
            one.shows(name, "Alive")
            one.page.evaluate(
                """name => new Promise(done => {
                    const word = document.querySelector(`[data-name="${name}"] .word`);
                    new MutationObserver(() => {
                        if (word.textContent === "Expired") window.seenAt = Date.now() / 1000;
                    }).observe(word, { childList: true, characterData: true, subtree: true });
                    window.seenAt = null;
                    done();
                })""",
                name,
            )
            feeder.stop()
            events.until(30, "expired", name)
            until(lambda: one.page.evaluate("window.seenAt !== null"), "the page has changed")
            event = events.all("expired", name)[-1]
            delays.append(one.page.evaluate("window.seenAt") - event["time"])
        feeder = Feeder(street, "silent-0", 1.5)
        one.shows("silent-0", "Alive")
        feeder.stop()
    with capsys.disabled():
        print(f"\nverdict to page: {', '.join(f'{1000 * delay:.0f} ms' for delay in delays)}")
    assert min(delays) >= 0, delays
    assert sorted(delays)[1] < VERDICT_TO_PAGE_S_MAX, delays
    assert max(delays) < VERDICT_TO_PAGE_S_MAX * 3, delays  # a busy machine may stop one of them for a moment


def test_pausing_and_resuming_from_the_page(browser: Browser, street: Street, web: Web) -> None:
    """The token leaves the address at once; pausing asks for how long, does it, and resuming undoes it."""
    street.client().watchdog("pausable", timeout=3600).feed()
    with tab(browser, web, view="#/watchdog/pausable") as one:
        assert web.token not in one.page.url
        one.page.get_by_role("button", name="Pause", exact=True).click()
        dialog = one.page.get_by_role("dialog")
        dialog.get_by_label("Another duration").fill("half an hour")
        dialog.get_by_role("button", name="Pause", exact=True).click()
        assert "90s, 45m, 1h30m" in (dialog.get_by_role("alert").text_content() or "")
        dialog.get_by_label("Another duration").fill("1h30m")
        dialog.get_by_role("button", name="Pause", exact=True).click()
        one.shows("pausable", "Paused")
        assert street.row("pausable")["state"] == "paused"
        assert 5300 < street.row("pausable")["left"] <= 5400
        one.page.get_by_role("button", name="Resume").click()
        one.shows("pausable", "Alive")
        assert street.row("pausable")["state"] == "alive"


def test_without_the_token_nothing_is_shown_or_done(browser: Browser, street: Street, web: Web) -> None:
    """The page asks for it, and says where it is; a wrong one is told; with the right one everything is there. One
    that is not right any more, or was removed, locks the page again."""
    street.client().watchdog("guarded", timeout=3600).feed()
    with tab(browser, web, token=False) as one:
        dialog = one.page.get_by_role("dialog", name="The token")
        dialog.get_by_text(f"cat {street.address}/web-token").wait_for()
        dialog.get_by_role("button", name="Cancel").click()
        one.page.locator("#banner").get_by_text("The page is locked").wait_for()
        assert one.page.locator("#space > .row").count() == 0
        one.view("#/watchdog/guarded")
        one.page.get_by_role("button", name="No token").click()
        dialog.get_by_label("Token", exact=True).fill("wrong-wrong-wrong-wrong")
        dialog.get_by_role("button", name="Use it").click()
        dialog.get_by_text("The given token is not the right one").wait_for()
        dialog.get_by_label("Token", exact=True).fill(web.token)
        dialog.get_by_role("button", name="Use it").click()
        one.shows("guarded", "Alive")
        one.page.locator("#banner").wait_for(state="hidden")
        one.page.locator(".panel").get_by_text("24 h").first.wait_for()
        one.page.evaluate("sessionStorage.setItem('banken-token', 'x'.repeat(20))")
        dialog.get_by_text("The given token is not the right one").wait_for()
        dialog.get_by_label("Token", exact=True).fill(web.token)
        dialog.get_by_role("button", name="Use it").click()
        one.page.locator("#banner").wait_for(state="hidden")
        one.page.get_by_role("button", name="Token", exact=True).click()
        dialog.wait_for()
        assert one.page.locator("#space > .row").count() == 0
        one.faults[:] = [fault for fault in one.faults if "status of 401" not in fault]


def test_an_open_page_asks_for_the_token_when_something_is_to_be_done(browser: Browser, street: Street) -> None:
    """With ``--open`` everything is shown without it; a wrong one changes nothing, the right one does it."""
    web = street.web("--open")
    street.client().watchdog("guarded", timeout=3600).feed()
    with tab(browser, web, token=False, view="#/watchdog/guarded") as one:
        one.shows("guarded", "Alive")
        one.page.get_by_role("button", name="Pause", exact=True).click()
        one.page.get_by_role("button", name="Pause", exact=True).last.click()
        dialog = one.page.get_by_role("dialog", name="The token")
        dialog.get_by_text("This needs the token").wait_for()
        for token, says in (("wrong-wrong-wrong-wrong", "The given token is not the right one"), (web.token, None)):
            dialog.get_by_label("Token", exact=True).fill(token)
            dialog.get_by_role("button", name="Use it").click()
            if says is not None:
                dialog.get_by_text(says).wait_for()
                assert street.row("guarded")["state"] == "alive"
        one.shows("guarded", "Paused")
        one.faults[:] = [fault for fault in one.faults if "status of 401" not in fault]
    web.close()


def test_a_program_is_started_and_stopped_from_the_page(browser: Browser, street: Street, web: Web) -> None:
    """Each asks first."""
    with tab(browser, web, view="#/programs") as one:
        for what, state in (("Start", "running"), ("Stop", "stopped")):
            one.page.get_by_role("button", name=f"{what} sleeper").click()
            one.page.get_by_role("dialog").get_by_role("button", name=what).click()
            until(lambda state=state: street.program("sleeper")["state"] == state, f"sleeper is {state}")
            one.page.locator("tr", has_text="sleeper").locator(".word", has_text=state).wait_for()


def test_an_incident_tells_where_it_hung(browser: Browser, street: Street, web: Web) -> None:
    """Function and line of the deadlocked worker are on top, its stacks below; the list leads there."""
    until(
        lambda: any(each.get("steps", each.get("steps")) for each in _stories(web, "loader")),
        "the dump is on record",
        40,
    )
    with tab(browser, web, view="#/incidents") as one:
        one.page.locator(".incident-line", has_text="loader").first.click()
        headline = one.page.locator(".headline")
        headline.wait_for()
        text = headline.text_content() or ""
        assert f"`take` (hang.py:{line_of('take')})" in text, text
        stack = one.page.locator(".stack pre").first.text_content() or ""
        assert f"hang.py:{line_of('take')}" in stack
        assert "two_locks" in stack
        assert "Verdict" in (one.page.locator(".timeline").text_content() or "")


def test_what_workers_write_stays_text(browser: Browser, street: Street, web: Web) -> None:
    """HTML in a status, in a reason and in an evidence is shown as it was written, everywhere."""
    client = street.client()
    client.watchdog("hostile", timeout=3600)
    client.feed("hostile", status=HOSTILE, progress=HOSTILE[:200])
    with tab(browser, web, view="#/watchdog/hostile") as one:
        one.page.locator(".panel .said", has_text=HOSTILE).first.wait_for()
        assert one.row("hostile").locator(".status").text_content() == HOSTILE
        client.fail("hostile", HOSTILE)
        one.page.locator(".panel .why pre", has_text=HOSTILE).wait_for()
        one.page.get_by_role("link", name="Timeline and evidence").click()
        one.page.locator("#view-incident pre", has_text=HOSTILE).first.wait_for()
        one.view("#/incidents")
        one.page.locator(".incident-line", has_text=HOSTILE).first.wait_for()
        assert "taken" not in one.page.title()
        assert one.page.locator("main script, main img").count() == 0


def test_a_long_status_leaves_the_buttons_in_view(browser: Browser, street: Street, web: Web) -> None:
    """On a phone, with the longest status, reason and name, every button can be pressed at once."""
    client, name = street.client(), "long-" + "n" * 123
    client.watchdog(name, timeout=3600)
    client.feed(name, status="status " * 146)
    with tab(browser, web, PHONE, view=f"#/watchdog/{name}") as one:
        one.page.locator(".panel .said", has_text="status status").wait_for()
        client.fail(name, "reason " * 585)
        one.page.locator(".panel .why pre", has_text="reason reason").wait_for()
        for label in ("Pause", "Release"):
            button = one.page.locator(".panel .actions").get_by_role("button", name=label)
            box = button.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] < PHONE["viewport"]["height"], f"{label} is at {box}"  # type: ignore[index]
    client.release(name)


def test_given_up_is_the_worst_and_rows_keep_their_places(browser: Browser, street: Street, web: Web) -> None:
    """On top, with its reason, and open among the incidents; fed again it stays there until it is sorted anew."""
    client = street.client()
    client.fail("tired-2", "worn out")
    client.watchdog("b-late", timeout=3600).feed()
    client.fail("b-late", "late")
    with tab(browser, web) as one:
        names = lambda: one.page.locator("#space > .row").evaluate_all("rows => rows.map(row => row.dataset.name)")  # noqa: E731
        one.shows("tired-2", "Given up")
        one.shows("b-late", "Expired")
        until(lambda: names()[:2] == ["tired-2", "b-late"], "the one that was given up stands before the other")
        assert one.row("tired-2").locator(".status").text_content() == "reported a failure: worn out"
        one.view("#/incidents")
        first = one.page.locator(".incident-lines").first.locator("li").first
        first.get_by_text("tired-2").wait_for()
        first.get_by_text("given up").wait_for()
        one.view("#/")
        client.feed("tired-2")
        one.shows("tired-2", "Alive")
        client.feed("b-late")
        one.shows("b-late", "Alive")
        assert names()[:2] == ["tired-2", "b-late"]
        one.page.get_by_role("button", name="State").click()
        until(lambda: names()[0] != "tired-2", "they stand where they belong")
    client.release("tired-2")
    client.release("b-late")


def test_a_group_lists_its_members(browser: Browser, street: Street, web: Web) -> None:
    """Each with its state, the worst first, as they change; on the groups' page and beside the list."""
    client = street.client()
    for number in (1, 2, 3):
        client.watchdog(f"pool-{number}", timeout=3600).feed()
    client.watchdog("not-pool-1", timeout=3600).feed()
    with tab(browser, web, view="#/groups") as one:
        members = one.page.locator('[data-group="pool"] .members li')
        until(lambda: members.count() == 3, "three members are listed")
        client.fail("pool-2", "broken")
        until(lambda: "Expired" in (members.first.text_content() or ""), "the failed one comes first")
        assert [each.rstrip() for each in members.locator("a").all_text_contents()] == [
            "pool-2",
            "pool-1",
            "pool-3",
        ]
        one.view("#/watchdog/pool")
        one.page.locator(".panel .members li.expired", has_text="pool-2").wait_for()
        client.feed("pool-2")
        one.page.locator(".panel .members li.alive", has_text="pool-2").wait_for()


@pytest.mark.parametrize("look", [LIGHT, DARK, PHONE], ids=["light", "dark", "phone"])
def test_axe_finds_nothing(browser: Browser, street: Street, web: Web, look: dict[str, Any]) -> None:
    """The list, a watchdog, programs, groups, incidents, one incident, a question: no violation, none too wide."""
    street.client().watchdog("pool-1", timeout=3600).feed()
    until(
        lambda: any(each.get("steps", each.get("steps")) for each in _stories(web, "loader")),
        "the dump is on record",
        40,
    )
    incident = web.get("/api/v1/incidents?name=loader").json["incidents"][0]["id"]
    views = {
        "#/": "#space .row",
        "#/watchdog/loader": ".panel .incident-line",
        "#/programs": "#view-programs td",
        "#/groups": "#view-groups .members li",
        "#/incidents": "#view-incidents .incident-line",
        f"#/incident/{incident}": ".stack",
    }
    # axe writes styles into the document, as the page itself may not.
    with tab(browser, web, {**look, "bypass_csp": True}) as one:
        for view, there in views.items():
            one.view(view)
            one.page.locator(there).first.wait_for()
            assert one.violations() == [], view
            wide = one.page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{view} is {wide} pixels too wide"
        one.view("#/watchdog/loader")
        one.page.get_by_role("button", name="Pause", exact=True).click()
        assert one.violations() == []


def test_the_keyboard_is_enough(browser: Browser, street: Street, web: Web) -> None:
    """Search, walk, open, ask, close: the focus is where one expects it, and comes back."""
    client = street.client()
    for number in range(3):
        client.watchdog(f"walk-{number}", timeout=3600).feed()
    with tab(browser, web) as one:
        keyboard = one.page.keyboard
        keyboard.press("Tab")
        assert one.focused() == "Skip to the list"
        one.row("walk-2").wait_for()
        keyboard.press("/")
        one.page.locator("#search:focus").wait_for()
        keyboard.type("walk-")
        until(lambda: one.page.locator("#space > .row").count() == 3, "three are found")
        keyboard.press("ArrowDown")
        assert one.focused() == "walk-0"
        keyboard.press("j")
        assert one.focused() == "walk-1"
        keyboard.press("Enter")
        one.page.locator(".panel h2:focus", has_text="walk-1").wait_for()
        keyboard.press("p")
        one.page.get_by_role("dialog", name="Pause walk-1?").wait_for()
        keyboard.press("Escape")
        one.page.get_by_role("dialog").wait_for(state="detached")
        keyboard.press("Escape")
        one.page.locator(".panel").wait_for(state="hidden")
        assert one.focused() == "walk-1"
        keyboard.press("k")
        assert one.focused() == "walk-0"
        keyboard.press("?")
        one.page.get_by_role("dialog", name="Keys").wait_for()
        keyboard.press("Escape")
        keyboard.press("g")
        keyboard.press("i")
        one.page.locator("#view-incidents h1").wait_for()


def test_the_page_survives_both_processes(browser: Browser, address: str) -> None:
    """kill -9 of the supervisor, then of the web process: the page says so, and goes on when they are back."""
    street = house(address)
    try:
        web = street.web()
        port = web.port
        feeder = Feeder(street, "steady", 5.0)
        with tab(browser, web) as one:
            one.shows("steady", "Alive")
            banner = one.page.locator("#banner")

            street.run_by.signal(signal.SIGKILL)
            banner.get_by_text("The supervisor is down").wait_for()
            street.run(config(street.place))
            banner.wait_for(state="hidden")
            one.shows("steady", "Alive")

            web.close()
            banner.get_by_text("The connection to the web process is lost").wait_for()
            street.client().watchdog("newcomer", timeout=3600).feed()
            Web.__init__(web, address, "--listen", f"127.0.0.1:{port}")
            banner.wait_for(state="hidden")
            one.shows("newcomer", "Alive")

            events = street.events()
            feeder.stop()
            event = events.until(30, "expired", "steady")
            one.shows("steady", "Expired")
            assert time.time() - event["time"] < VERDICT_TO_PAGE_S_MAX * 5  # the wait itself is not exact
            one.faults[:] = [fault for fault in one.faults if "ERR_" not in fault and "status of 503" not in fault]
    finally:
        street.close()


def test_a_web_process_that_hangs_is_noticed(browser: Browser, street: Street, web: Web) -> None:
    """Its connection stays open and brings nothing more, not even an error: the page says so, and goes on later."""
    with tab(browser, web) as one:
        one.context.clock.install()
        one.page.reload()
        one.page.locator("#facts", has_text="up").wait_for()
        banner = one.page.locator("#banner")
        web.process.signal(signal.SIGSTOP)
        try:
            one.page.clock.fast_forward(11_000)
            banner.get_by_text("The connection to the web process is lost").wait_for()
        finally:
            web.process.signal(signal.SIGCONT)
        banner.wait_for(state="hidden")
        one.faults[:] = [fault for fault in one.faults if "ERR_" not in fault]


def test_no_address_stops_the_page(browser: Browser, web: Web) -> None:
    """Whatever follows the # of its address, the page begins and shows a view; what can be no token is not kept."""
    with tab(browser, web) as one:
        for hash_ in ("#token=100%&more", "#/constructor", "#/watchdog/%", "#/incidents?name=%"):
            one.page.goto(f"http://{web.host}/api/")
            one.page.goto(f"http://{web.host}/{hash_}")
            one.page.locator("#facts", has_text="up").wait_for()
            assert one.page.locator("main > section:visible").count() == 1, hash_
        assert one.page.evaluate("sessionStorage.getItem('banken-token')") == web.token
        one.faults[:] = [fault for fault in one.faults if "status of 400" not in fault]


def test_five_thousand_are_few_elements(browser: Browser, address: str) -> None:
    """Only what is in view is in the document, the end of the list included, and searching finds the last one."""
    street = house(address)
    try:
        client = street.client()
        for number in range(5_000):
            client.watchdog(f"many-{number}", timeout=3600)
            if number % 500 == 0:
                until(lambda: street.ask("summary")["watchdogs"] >= 1, "the supervisor reads")
        until(lambda: street.ask("summary")["watchdogs"] >= 5_000, "all are known", 20)
        with tab(browser, street.web()) as one:
            until(lambda: one.page.locator("#number-watchdogs").text_content() >= "5,00", "all have come")
            assert one.page.locator("#space > .row").count() < 60
            one.page.locator("#scroll").evaluate("each => { each.scrollTop = each.scrollHeight }")
            one.row("many-4999").wait_for()
            assert one.page.locator("#space > .row").count() < 60
            one.page.locator("#search").fill("many-1234")
            until(lambda: one.page.locator("#space > .row").count() == 1, "one is found")
            assert one.row("many-1234").count() == 1
    finally:
        street.close()


def _stories(web: Web, name: str) -> list[dict[str, Any]]:
    answer = web.get(f"/api/v1/incidents?name={name}")
    if answer.status != 200:
        return []
    return [web.get(f"/api/v1/incidents/{each['id']}").json for each in answer.json["incidents"]]


CLUSTER = {
    "name": "plant",
    "member": "a",
    "leader": "b",
    "away": None,
    "seconds": 0.0042,
    "members": {},
    "brake": None,
}


@pytest.mark.parametrize(
    ("more", "text", "bad"),
    [
        ({}, "b leads", False),
        ({"leader": "a", "members": {"b": True}}, "this member leads", False),
        ({"leader": None}, "nobody leads", True),
        ({"members": {"d": False, "b": True, "c": False}}, "b leads, c, d down", True),
        ({"brake": 3.0, "members": {"c": False}}, "b leads, c down, the brake is on", True),
        ({"away": "no answer", "leader": None}, "its store does not answer", True),
    ],
)
def test_a_cluster_in_the_first_line(
    browser: Browser, web: Web, more: dict[str, Any], text: str, bad: bool
) -> None:
    """Who leads, and which members are down."""
    with tab(browser, web) as one:
        call = "async found => (await import('/static/js/cluster.js')).clusterWords(found)"
        found = one.page.evaluate(call, {**CLUSTER, **more})
    assert (found["text"], found["bad"]) == (f"cluster plant: {text}", bad)
    assert found["title"] == more.get("away", "This is a; the store answers within 4 ms")
