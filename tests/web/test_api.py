"""What the API answers, about real watchdogs, programs and incidents."""

from __future__ import annotations

import os
import re
import socket
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from banken.client import Client
from banken_supervisor.web.badges import drawn
from banken_supervisor.web.parameters import BODY_MAX
from process.kit import START_S, until
from web.kit import Street, Web

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("web-api")]

HOSTILE = '<script>alert(1)</script> "&\x1b[31m\x07\u202e\u2028\x00 </svg>'


def test_summary_tells_what_the_supervisor_tells(web: Web, street: Street) -> None:
    """The same counts as ``banken status --json``, and that it is up."""
    found = web.get("/api/v1/summary").json
    told = street.ask("summary")
    assert found["up"] is True
    assert found["address"] == street.address
    assert {"pid", "version", "started"} <= told.keys()
    assert all(found[key] == told[key] for key in ("pid", "version", "started"))


def test_watchdogs_are_listed_page_by_page(web: Web, street: Street) -> None:
    """Patterns, offsets and limits reach the supervisor; wrong ones are told what is allowed."""
    for number in range(5):
        assert web.get(f"/ping/paged-{number}").status == 200
    names: list[str] = []
    place: int | None = 0
    while place is not None:
        page = web.get(f"/api/v1/watchdogs?name=paged-*&offset={place}&limit=2").json
        assert len(page["rows"]) <= 2
        names += [row["name"] for row in page["rows"]]
        place = page["next"]
    assert names == [f"paged-{number}" for number in range(5)]
    assert page["total"] == street.ask("summary")["watchdogs"]
    for wrong in ("limit=0", "limit=501", "limit=x", "offset=-1", "limit=1e3", "limit=%D9%A3", "name=" + "x" * 300):
        found = web.get(f"/api/v1/watchdogs?{wrong}")
        assert found.status == 400, wrong
        assert found.json["detail"]


def test_one_watchdog_with_its_feeds_and_a_suggestion(web: Web, street: Street) -> None:
    """The row of ``status``, and more."""
    client = street.client()
    client.feed("whole/1", status=HOSTILE, progress=float("inf"))
    until(lambda: street.row("whole/1"), "it is watched")
    found = web.get("/api/v1/watchdogs/whole%2F1").json
    assert found["name"] == "whole/1"
    assert found["status"] == HOSTILE
    assert found["progress"] == "inf", "JSON has no infinity"
    assert found["pid"] == os.getpid()
    assert found["suggestion"]["name"] == "whole/1"
    missing = web.get("/api/v1/watchdogs/none-such")
    assert missing.status == 404
    assert "no watchdog is called 'none-such'" in missing.json["detail"]
    assert web.get("/api/v1/watchdogs/-%20x").status == 400


def test_looking_at_many_at_once(web: Web, street: Street) -> None:
    """Rows of those that are watched, names of those that are not; at most 200."""
    web.get("/ping/looked-1")
    web.get("/ping/looked-1")
    found = web.get("/api/v1/look?names=looked-1,looked-2,looked-1&feeds=1").json
    assert [row["name"] for row in found["rows"]] == ["looked-1"]
    assert found["gone"] == ["looked-2"]
    assert len(found["rows"][0]["feeds"]) == 1, "one gap between two pings"
    assert 0 <= found["rows"][0]["feeds"][0][0] < 60, "its age"
    for wrong in (
        "",
        "names=",
        "names=,,",
        "names=a%20b",
        "names=a&feeds=2",
        "names=" + ",".join(["x"] * 3) + ",-",
    ):
        assert web.get(f"/api/v1/look?{wrong}").status == 400, wrong
    many = ",".join(f"n{number}" for number in range(201))
    assert web.get(f"/api/v1/look?names={many}").status == 400


def test_pausing_resuming_releasing(web: Web, street: Street) -> None:
    """What the buttons do is done by the supervisor; a name that is not watched does not come to be."""
    web.get("/ping/acted")
    row = web.act("/api/v1/watchdogs/acted/pause", {"seconds": 3600}).json["row"]
    assert row["state"] == street.row("acted")["state"] == "paused"
    assert 3500 < row["left"] <= 3600
    assert web.act("/api/v1/watchdogs/acted/pause").json["row"]["left"] is None
    assert web.act("/api/v1/watchdogs/acted/resume").json["row"]["state"] == "alive"
    assert web.act("/api/v1/watchdogs/acted/release").json == {"row": None}
    assert street.row("acted") == {}
    for what in ("pause", "resume", "release"):
        assert web.act(f"/api/v1/watchdogs/acted/{what}").status == 404
    assert street.row("acted") == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"second": 1}', 400),
        (b'{"seconds": "1h"}', 400),
        (b'{"seconds": -1}', 400),
        (b'{"seconds": NaN}', 400),
        (b'{"seconds": true}', 400),
        (b'{"seconds": 1e300}', 400),
        (b"[" * 60_000, 400),
        (b"\xff\xfe", 400),
        (b'{"seconds": 1}' + b" " * BODY_MAX, 413),
    ],
)
def test_bad_bodies_are_told_what_is_allowed(web: Web, body: bytes, status: int) -> None:
    """And do nothing."""
    web.get("/ping/bodies")
    found = web.ask("POST", "/api/v1/watchdogs/bodies/pause", web.signed, body)
    assert found.status == status
    assert found.headers["content-type"] == "application/problem+json"
    assert found.json["status"] == status
    assert found.json["detail"]
    assert web.get("/api/v1/watchdogs/bodies").json["state"] == "alive"


def test_a_huge_body_is_not_taken(web: Web) -> None:
    """Two gigabytes are announced; the answer comes long before they could have been sent."""
    sent = {**web.signed, "Content-Length": str(2 << 30)}
    web.get("/ping/bodies")
    found = web.ask("POST", "/api/v1/watchdogs/bodies/pause", sent, b"x" * (BODY_MAX * 3))
    assert found.status == 413
    assert found.headers["connection"] == "close"


def test_programs_are_started_and_stopped(web: Web, street: Street) -> None:
    """By the supervisor, as ``banken start`` does."""

    def state() -> Any:
        return web.get("/api/v1/programs").json["rows"][0]["state"]

    assert web.act("/api/v1/programs/sleeper/start").status == 200
    until(lambda: state() == "running", "it runs")
    assert web.act("/api/v1/programs/sleeper/stop").status == 200
    until(lambda: state() == "stopped", "it is stopped")
    none = web.act("/api/v1/programs/none/start")
    assert none.status == 404
    assert "sleeper" in none.json["detail"], "the answer does not say which there are"


def test_groups(web: Web, street: Street) -> None:
    """A group is a row that says how many of its members live."""
    web.get("/ping/pool-1")
    rows = until(lambda: web.get("/api/v1/groups").json["rows"], "the group is known")
    assert [row["name"] for row in rows] == ["pool"]
    assert rows[0]["group"]["at_least"] == 1


def test_incidents_and_their_stories(web: Web, street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command line prints as JSON, over HTTP."""
    before = web.get("/api/v1/summary").json["uptime"]
    web.ask("POST", "/ping/told/fail", body=HOSTILE)
    listed = until(lambda: web.get("/api/v1/incidents?name=told").json["incidents"], "the incident is on record")
    assert [each["name"] for each in listed] == ["told"]
    assert listed[0]["cause"] == "failed"
    assert web.get(f"/api/v1/incidents/{listed[0]['id']}").json == street.incident(listed[0]["id"])
    assert listed[0] in web.get("/api/v1/incidents?open=1").json["incidents"]
    web.get("/ping/told")
    until(lambda: not web.get("/api/v1/incidents?name=told&open=1").json["incidents"], "it is closed")
    now = listed[0]["opened"] + 3600
    assert web.get(f"/api/v1/incidents?name=told&since={now}").json["incidents"] == []
    assert len(web.get(f"/api/v1/incidents?name=told&since={listed[0]['opened'] - before}").json["incidents"]) == 1
    assert web.get("/api/v1/incidents/none").status == 404
    for wrong in ("limit=1001", "since=soon", "since=nan", "since=-1", "name=a%20b", "open=maybe"):
        assert web.get(f"/api/v1/incidents?{wrong}").status == 400, wrong


def test_history(web: Web, street: Street) -> None:
    """Uptime, incidents and events of one watchdog."""
    web.get("/ping/kept/start")
    web.get("/ping/kept/7")

    def recorded() -> Any:
        it = web.get("/api/v1/watchdogs/kept/history").json
        return it if it.get("incidents") and "expired" in {event["type"] for event in it["events"]} else None

    found = until(recorded, "it is on record")
    assert found["incidents"][0]["reason"] == "exit status 7"
    assert 0 <= found["uptime"]["24h"] < 1
    assert web.get("/api/v1/watchdogs/never/history").status == 404


def test_badges(web: Web) -> None:
    """A picture whatever there is to show; its text is text."""
    web.get("/ping/a%2Fb")
    for path, said in (("/badge/a%2Fb.svg", "a/b: alive"), ("/badge/nobody.svg", "nobody: unknown")):
        found = web.get(path)
        assert found.headers["content-type"].startswith("image/svg+xml")
        assert "no-cache" in found.headers["cache-control"]
        assert ET.fromstring(found.text).attrib["aria-label"] == said
    assert web.get("/badge/%3Cscript%3E.svg").status == 400


def test_a_badge_escapes_every_text() -> None:
    """Even one that no name may hold."""
    root = ET.fromstring(drawn('<x a="1">&', "]]><script>"))
    assert root.attrib["aria-label"] == '<x a="1">&: ]]><script>'
    assert [each.tag.rpartition("}")[2] for each in root.iter() if "script" in each.tag] == []


def test_hostile_texts_stay_texts(web: Web, street: Street) -> None:
    """JSON is ASCII: no control character, no bidirectional override and no line separator goes out as itself."""
    client: Client = street.client()
    client.feed("hostile", status=HOSTILE)
    found = until(lambda: "status" in street.row("hostile") and web.get("/api/v1/watchdogs/hostile"), "it is told")
    assert found.headers["content-type"] == "application/json"
    assert found.json["status"] == HOSTILE
    assert all(32 <= byte < 127 for byte in found.body)


DOCUMENTED = {
    "GET /-/healthy",
    "GET /-/ready",
    "GET /api/v1/groups",
    "GET /api/v1/incidents",
    "GET /api/v1/incidents/{id}",
    "GET /api/v1/look",
    "GET /api/v1/programs",
    "GET /api/v1/stream",
    "GET /api/v1/summary",
    "GET /api/v1/watchdogs",
    "GET /api/v1/watchdogs/{name}",
    "GET /api/v1/watchdogs/{name}/history",
    "GET /badge/{file}",
    "GET /metrics",
    "POST /api/v1/programs/{name}/{command}",
    "POST /api/v1/watchdogs/{name}/pause",
    "POST /api/v1/watchdogs/{name}/release",
    "POST /api/v1/watchdogs/{name}/resume",
    *(
        f"{method} /ping/{{name}}{rest}"
        for method in ("GET", "POST")
        for rest in ("", "/start", "/fail", "/{status}")
    ),
}


def test_the_document_describes_what_is_answered(web: Web) -> None:
    """Its paths are pinned; each status and media type that comes is in it, and the page has all paths."""
    found = web.get("/api/v1/openapi.json").json
    assert {f"{method.upper()} {path}" for path, each in found["paths"].items() for method in each} == DOCUMENTED
    page = web.get("/api/")
    assert page.headers["content-type"].startswith("text/html")
    filled = {"name": "documented", "id": "none", "status": "0", "file": "documented.svg"}
    for path, each in sorted(found["paths"].items()):
        assert path in page.text
        if "get" in each and not path.endswith("/stream"):
            answer = web.get(path.format(**filled))
            described = each["get"]["responses"]
            wanted = described.get(str(answer.status)) or described["4XX"]
            assert answer.headers["content-type"].split(";")[0] in wanted["content"], path
    assert not re.search(r"<script|//cdn|https?://", page.text)
    identities = [each["operationId"] for methods in found["paths"].values() for each in methods.values()]
    assert len(identities) == len(set(identities))
    assert web.get("/docs").status == web.get("/redoc").status == 404, "those load scripts from another host"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("watchdogs?limit=501", ["limit", "501", "500"]),
        ("watchdogs?limit=x", ["limit", "'x'", "integer"]),
        ("look", ["names", "nothing"]),
        ("incidents?since=soon", ["since", "'soon'", "number"]),
        ("watchdogs/-%20x", ["name", "'- x'", "1 to 128"]),
        ("watchdogs?name=" + "x" * 300, ["name", "xxx", "256"]),
    ],
)
def test_a_refusal_says_what_was_given_and_what_is_allowed(web: Web, path: str, said: list[str]) -> None:
    """As problem details: in one sentence, and for programs each parameter apart."""
    found = web.get(f"/api/v1/{path}")
    assert found.headers["content-type"] == "application/problem+json"
    assert (found.status, found.json["status"], found.json["title"]) == (400, 400, "Bad Request")
    assert all(each in found.json["detail"] for each in said), found.json
    assert set(found.json["errors"][0]) == {"where", "given", "allowed"}


@pytest.mark.parametrize(
    "path", ["/", "/static/app.css", "/api/", "/api/v1/summary", "/badge/x.svg", "/metrics", "/api/v1/stream"]
)
def test_head_is_get_without_a_body(web: Web, path: str) -> None:
    """Also for the stream, which would have no end."""
    head = web.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    if not path.endswith("/stream"):
        assert head.headers["content-type"] == web.get(path).headers["content-type"]


def test_metrics(web: Web, own: Street) -> None:
    """What Prometheus scrapes, in the format that it asks for; without a supervisor it says that there is none."""
    found = web.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain; version=")
    assert "\nbanken_up 1.0\n" in found.text
    asked = web.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    assert asked.text.endswith("# EOF\n")
    web.get("/ping/measured")
    assert 'name="measured"' in web.get("/metrics?names=meas*").text
    assert "measured" not in web.get("/metrics?names=").text
    long = web.get("/metrics?names=" + "[" * 257)
    assert (long.status, "256" in long.text) == (400, True), "a long pattern would hold the supervisor's loop"
    alone = Web(own.address)
    own._closing.append(alone)
    assert "\nbanken_up 0.0\n" in alone.get("/metrics").text


def test_what_is_not_there(web: Web) -> None:
    """Wrong paths and methods get an answer that helps; the files of the package cannot be left."""
    assert "/api/" in web.get("/api/v1/nothing").json["detail"]
    assert web.ask("DELETE", "/api/v1/summary", web.signed).status == 405
    refused = web.ask("PUT", "/ping/x")
    assert refused.status == 405
    assert all(each in refused.text for each in ("GET", "HEAD", "POST"))
    assert web.get("/api").headers["location"] == "/api/"
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2Fapp.py", "/static//etc/passwd"):
        assert web.get(path).status == 404, path


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"x" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n", 400),
    ],
)
def test_garbage_is_answered_and_not_logged(web: Web, sent: bytes, status: int) -> None:
    """What is no HTTP, has no host, too long a head, or a body of two lengths."""
    web.ready()
    until(lambda: "the supervisor answers" in web.process.log(), "it has said so")
    logged = web.process.log()
    with socket.create_connection(("127.0.0.1", web.port), timeout=START_S) as one:
        one.sendall(sent)
        assert one.recv(100).startswith(b"HTTP/1.1 %d " % status)
    assert web.process.log() == logged


def test_files_are_revalidated(web: Web) -> None:
    """An ETag, and 304 for who has it."""
    found = web.get("/static/api.css")
    assert found.headers["content-type"].startswith("text/css")
    assert found.headers["cache-control"] == "no-cache"
    again = web.ask("GET", "/static/api.css", {"If-None-Match": found.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (
            "/api/v1/incidents?opened=1",
            'query "opened": unknown key; did you mean open? allowed: limit, name, open, since',
        ),
        ("/api/v1/watchdogs?name=a&name=b", "query name: given 2 times; allowed: once"),
        ("/api/v1/summary?x=1", 'query "x": unknown key; allowed: none'),
        ("/api/v1/stream?x=1", 'query "x": unknown key; allowed: none'),
        ("/metrics?name=a", 'query "name": unknown key; did you mean names? allowed: names'),
    ],
)
def test_query_keys_that_a_path_does_not_take(web: Web, path: str, says: str) -> None:
    """They are refused, and the allowed ones named: an answer about everything must not be taken for a filtered
    one."""
    found = web.get(path)
    assert found.status == 400
    assert says in found.text.replace("\\", "")
