"""Who may ask for what: hosts, origins, the token."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from banken_supervisor.web.peers import Peer
from banken_supervisor.web.refusals import WAITING_MAX, WRONG_S, Refusals
from banken_supervisor.web.security import MISSING, WRONG, decoded
from process.kit import START_S
from web.kit import Street, Web

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("web-security")]

PAUSE = "/api/v1/watchdogs/gated/pause"


@pytest.fixture(scope="module", autouse=True)
def gated(web: Web) -> None:
    """There is a watchdog to act upon."""
    assert web.get("/ping/gated").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/watchdogs", "/ping/gated", "/metrics", "/-/healthy", "/static/api.css"]
)
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""])
def test_another_host_is_refused_everywhere(web: Web, path: str, host: str) -> None:
    """A name that somebody made to resolve to 127.0.0.1 reaches nothing."""
    found = web.ask("GET", path, {"Host": host.format(port=web.port)})
    assert found.status == 421
    assert "localhost" in found.text, "the answer does not say what is allowed"


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_our_hosts_are_served(web: Web, host: str) -> None:
    """By each name that this host has for itself."""
    assert web.ask("GET", "/-/healthy", {"Host": host.format(port=web.port)}).status == 200


def test_further_hosts_are_served_where_named(street: Street) -> None:
    """``--host`` adds a name, with whatever port a proxy has."""
    named = street.web("--host", "Watch.example")
    assert named.ask("GET", "/-/healthy", {"Host": "watch.example"}).status == 200
    assert named.ask("GET", "/-/healthy", {"Host": "watch.example:8443"}).status == 200
    assert named.ask("GET", "/-/healthy", {"Host": "other.example"}).status == 421
    for host, origin, status in (
        ("watch.example", "https://watch.example", 200),
        ("watch.example", "https://watch.example:8443", 200),
        ("watch.example:8443", "https://watch.example:8443", 200),
        ("watch.example:8443", "https://watch.example:1", 403),
        ("watch.example", f"http://{named.host}", 403),
    ):
        assert named.ask("POST", PAUSE, {**named.signed, "Host": host, "Origin": origin}).status == status, origin


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic {token}"}, 401),
        ({"X-Banken-Token": ""}, 401),
        ({"X-Banken-Token": "{token}x"}, 401),
        ({"X-Banken-Token": "\xff\xfe"}, 401),
        ({"X-Banken-Token": "{token}"}, 200),
        ({"Authorization": "bearer {token}"}, 200),
        ({"Authorization": "Bearer {token}", "Origin": "http://{host}"}, 200),
        ({"Authorization": "Bearer {token}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Authorization": "Bearer {token}", "Origin": "http://evil.example"}, 403),
        ({"Authorization": "Bearer {token}", "Origin": "null"}, 403),
        ({"Authorization": "Bearer {token}", "Origin": "http://127.0.0.1:1"}, 403),
        ({"Authorization": "Bearer {token}", "Origin": "http://127.0.0.1"}, 403),
        ({"Authorization": "Bearer {token}", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Authorization": "Bearer {token}", "Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_what_changes_anything_wants_the_token_and_a_page_of_ours(
    web: Web, headers: dict[str, str], status: int
) -> None:
    """Each header as it arrives, and what becomes of it; a refused one changes nothing."""
    assert web.act("/api/v1/watchdogs/gated/resume").json["row"]["state"] != "paused"
    sent = {name: value.format(token=web.token, host=web.host) for name, value in headers.items()}
    found = web.bare("POST", PAUSE, sent)
    assert found.status == status, found.text
    assert ("www-authenticate" in found.headers) == (status == 401)
    state = web.get("/api/v1/watchdogs/gated").json["state"]
    assert (state == "paused") == (status == 200)
    assert web.token not in found.text


def _documented(web: Web) -> list[tuple[str, str, Any]]:
    """(method, path, what the document says) of everything but the one that tells nothing."""
    paths = web.get("/api/v1/openapi.json").json["paths"]
    filled = {"name": "gated", "command": "none", "id": "none", "status": "0", "file": "gated.svg"}
    return [
        (method.upper(), path.format(**filled), told)
        for path, each in paths.items()
        for method, told in each.items()
        if path != "/-/healthy"
    ]


def test_everything_wants_the_token_and_takes_it(web: Web) -> None:
    """All that is documented, for reading too; the answer says where the token is, and the document that it is
    needed. The same paths are served to whoever has it, or comes over the Unix socket."""
    routes = _documented(web)
    assert len(routes) > 20
    for method, path, told in routes:
        found = web.bare(method, path)
        assert found.status == 401, path
        assert f"cat {web.address}/web-token" in found.text, path
        assert ("banken ping-key" in found.text) == path.startswith("/ping/"), path
        assert "security" in told, path
        if not path.endswith(("/stream", "/release")):
            assert web.ask(method, path).status not in (401, 403), path
    for path in ("/", "/static/app.css", "/api/", "/-/healthy"):
        assert web.bare("GET", path).status == 200
    for path in ("/nothing", "/static", "/-/ready/", "/ping", "/p"):
        assert web.bare("GET", path).status == 401


def test_with_a_token_to_read_nothing_is_changed(street: Street, tmp_path: Path) -> None:
    """All that is documented: it reads, and is told so where it may not. A wrong token is as wrong as ever."""
    file = tmp_path / "read-token"
    file.write_text("x" * 20 + "\n")
    web = street.web("--read-token-file", file)
    for sent in ({"X-Banken-Token": "x" * 20}, {"Authorization": "Bearer " + "x" * 20}):
        for method, path, _ in _documented(web):
            if not path.endswith("/stream"):
                found = web.bare(method, path, sent)
                may = method == "GET" and not path.startswith("/ping/")
                assert (found.status not in (401, 403)) == may, (method, path)
                assert may or "only read" in found.text
    assert web.bare("HEAD", "/ping/gated", {"X-Banken-Token": "x" * 20}).status == 403
    assert web.bare("GET", "/metrics", {"X-Banken-Token": "x" * 20, "Host": "evil.example"}).status == 421
    assert web.bare("GET", "/metrics", {"X-Banken-Token": "x" * 21}).status == 401
    assert web.act("/api/v1/watchdogs/gated/resume").status == 200


def test_open_turns_it_off_for_reading_and_pings(street: Street) -> None:
    """Aloud; what changes something wants the token all the same, and other sites' pages get nothing."""
    web = street.web("--open")
    assert "every user of this host can read everything and feed any name" in web.process.log()
    for method, path, _ in _documented(web):
        acting = method == "POST" and path.startswith("/api/")
        if not path.endswith("/stream"):
            assert (web.bare(method, path).status == 401) == acting, path
    assert web.bare("GET", "/ping/gated", {"Sec-Fetch-Site": "cross-site"}).status == 403


def test_a_wrong_token_and_a_wrong_key_wait_and_are_told(street: Street) -> None:
    """The first at once, with the user who sent it; what came after it at the latest when the process ends."""
    web = street.web()
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        wrong = {"X-Banken-Token": "x" * 20}
        found = list(pool.map(lambda path: web.bare("GET", path, wrong).status, ("/ping/gated", "/p/guessed")))
    assert time.monotonic() - began >= WRONG_S
    assert found == [401, 403]
    assert web.process.log().count("requests were refused") == 1
    assert web.bare("GET", "/ping/gated").status == 401
    assert web.ask("GET", "/metrics", {"Host": "evil.example"}).status == 421
    assert web.bare("GET", "/badge/gated.svg", {"Origin": "http://evil.example"}).status == 401
    assert web.ask("GET", "/metrics", {"Sec-Fetch-Site": "cross-site", **web.signed}).status == 403
    counted = dict(re.findall(r'^banken_web_refused_total\{reason="(.*)"\} (.*)$', web.get("/metrics").text, re.M))
    assert counted == {"token": "1.0", "key": "1.0", "no-token": "2.0", "host": "1.0", "site": "1.0"}
    assert f"came from user {os.geteuid()}\n" in web.process.log()
    web.process.signal(signal.SIGTERM)
    web.process.ended(10)
    for what in ("token", "ping key"):
        assert f"1 with a wrong {what}" in web.process.log()


def test_only_some_wrong_ones_of_a_client_wait(caplog: pytest.LogCaptureFixture) -> None:
    """Further ones are refused at once, another client's wait; the log counts all of them in one line."""

    async def many() -> None:
        refusals = Refusals()
        one, other = Peer("user 7"), Peer("user 8")
        waiting = [asyncio.create_task(refusals.slow_down(one)) for _ in range(WAITING_MAX)]
        await asyncio.sleep(0)
        assert not await refusals.slow_down(one)
        waiting.append(asyncio.create_task(refusals.slow_down(other)))
        await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
        for _ in range(1_000):
            refusals.count(WRONG, one)
        refusals.count(MISSING, other)
        assert len(caplog.messages) == 1
        refusals.close()
        assert "999 with a wrong token, 1 with no token; the last came from user 8" in caplog.messages[1]
        assert all(await asyncio.gather(*waiting))
        assert len(caplog.messages) == 2

    asyncio.run(many())


def test_a_body_in_single_bytes_is_cut(web: Web) -> None:
    """Each would cost as much as a request. A long body in large pieces is taken."""
    head = f"POST /ping/gated HTTP/1.1\r\nHost: {web.host}\r\nX-Banken-Token: {web.token}\r\n"
    with socket.create_connection(("127.0.0.1", web.port), timeout=START_S) as one:
        one.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        answer = b""
        with contextlib.suppress(OSError):
            one.sendall(b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n")
            answer = one.recv(100)
        assert answer[:13] in (b"", b"HTTP/1.1 400 ")
    assert web.ask("POST", "/ping/gated", body="x" * 500_000).status == 200


@pytest.mark.parametrize("body", [b"zz\r\n", b"1\r\nxyz", b"1\r\nx\r\n" * 10_000])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_body_that_is_none_is_told_also_where_the_answer_has_none(web: Web, method: str, body: bytes) -> None:
    """An answer to HEAD is a head alone; what the client did is no fault of ours, and not in the log."""
    head = f"{method} /-/ready HTTP/1.1\r\nHost: {web.host}\r\nX-Banken-Token: {web.token}\r\n"
    answer = b""
    with socket.create_connection(("127.0.0.1", web.port), timeout=START_S) as one, contextlib.suppress(OSError):
        one.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + body)
        while some := one.recv(65_536):
            answer += some
    assert answer[:13] in (b"", b"HTTP/1.1 400 ")
    assert method == "GET" or answer.partition(b"\r\n\r\n")[2] == b""
    assert web.get("/-/ready").status == 200
    assert "Traceback" not in web.process.log()


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_another_sites_page_reads_nothing_and_pings_nothing(web: Web, headers: dict[str, str]) -> None:
    """A browser on this host carries the request, but says for whom."""
    reading = ("/", "/api/", "/api/v1/summary", "/metrics?names=*", "/-/ready", "/static/app.css", "/ping/gated")
    for method, path in (*(("GET", each) for each in reading), ("POST", "/ping/gated/fail")):
        assert web.ask(method, path, headers).status == 403, path
    assert web.get("/api/v1/watchdogs/gated").json["state"] != "expired"


def test_a_link_and_an_embedded_badge_work(web: Web) -> None:
    """A link on another page leads to the page and the API's list; a badge is there to be shown elsewhere."""
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert web.ask("GET", "/", link).status == 200
    assert web.ask("GET", "/api/", link).status == 200
    assert web.ask("GET", "/ping/gated", link).status == 403, "a link must not feed"
    assert web.ask("GET", "/api/", {**link, "Sec-Fetch-Dest": "iframe"}).status == 403, "a frame is no link"
    badge = web.ask("GET", "/badge/gated.svg", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"})
    assert badge.status == 200
    assert badge.headers["cross-origin-resource-policy"] == "cross-origin"


@pytest.mark.parametrize(
    "path",
    ["/api/", "/api/v1/summary", "/nothing", "/api/v1/nothing", "/static/api.css", "/static/none", "/ping/-"],
)
def test_every_answer_has_the_safe_headers(web: Web, path: str) -> None:
    """Refusals too."""
    found = web.get(path)
    assert "default-src 'self'" in found.headers["content-security-policy"]
    assert "unsafe" not in found.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in found.headers["content-security-policy"]
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in found.headers
    assert "server" not in found.headers


def test_a_slash_within_a_name_stays_within_it() -> None:
    """Only what was written as a slash divides the path."""
    assert decoded(b"/ping/a%2Fb%20c/0") == "/ping/a%2Fb c/0"
    assert decoded(b"/ping/%E7%95%AA/%FF") == "/ping/番/\ufffd"
    assert decoded(b"/a%252Fb") == "/a%252Fb"
