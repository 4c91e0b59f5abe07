"""Ping URLs: each word, bodies of every kind, and names that nobody may have."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator

import pytest

from banken.address import resolve
from banken_supervisor.web.ping_keys import make_key
from process.kit import START_S, until
from process.ladder_kit import LONG
from web.kit import Street, Web

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("web-pings")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_ping_feeds(web: Web, street: Street, method: str) -> None:
    """With each method, and says so."""
    name = f"pinged-{method}"
    found = web.ask(method, f"/ping/{name}")
    assert found.status == 200
    assert found.body == (b"" if method == "HEAD" else b"OK\n")
    row = street.row(name)
    assert row["state"] == "alive"
    assert row["pid"] is None, "a ping stands in no worker's way"


def test_a_ping_declares(web: Web, street: Street) -> None:
    """As ``banken feed --timeout`` does."""
    assert web.get("/ping/declared?timeout=25h&interval=1m&grace=2d").status == 200
    row = street.row("declared")
    assert (row["timeout"], row["interval"], row["grace"]) == (90_000.0, 60.0, 172_800.0)
    for wrong in ("timeout=soon", "timeout=0", "timeout=-1s", "grace=1m", "timeout=1s&interval=x", "timeout="):
        found = web.get(f"/ping/undeclared?{wrong}")
        assert found.status == 400, wrong
        assert found.headers["content-type"].startswith("text/plain")
    assert street.row("undeclared") == {}


def test_the_words_of_a_job(web: Web, street: Street) -> None:
    """start, an exit status, fail."""
    assert web.get("/ping/job/start").status == 200
    assert street.row("job")["status"] == "started"
    assert web.get("/ping/job/0").status == 200
    assert (street.row("job")["state"], street.row("job")["status"]) == ("alive", "exit status 0")
    assert web.ask("POST", "/ping/job/3", body="disk full\n").status == 200
    row = street.row("job")
    assert (row["state"], row["incident"]["cause"]) == ("expired", "failed")
    assert row["incident"]["reason"] == "exit status 3\ndisk full"
    assert web.ask("POST", "/ping/job", body="all is well").status == 200
    assert (street.row("job")["state"], street.row("job")["status"]) == ("alive", "all is well")
    assert web.get("/ping/job/fail").status == 200
    assert street.row("job")["incident"]["reason"] == "a ping said so"
    for wrong in ("256", "-1", "x", "0x1", "1/2", "%D9%A3"):
        assert web.get(f"/ping/job/{wrong}").status == 404, wrong


def test_a_name_with_slashes(web: Web, street: Street) -> None:
    """``%2F`` belongs to the name, ``/`` divides it from what follows."""
    assert web.get("/ping/team%2Fjob%2F3").status == 200
    assert web.get("/ping/team%2Fjob%2F3/start").status == 200
    assert street.row("team/job/3")["status"] == "started"
    assert web.get("/ping/team/job").status == 404
    assert web.get("/ping/twice%252Fencoded").status == 400, "it is decoded once, and no name has a %"
    assert street.rows("twice*") == {}


@pytest.mark.parametrize("name", ["%20x", "-x", "x%00", "%3Cb%3E", "x" * 129, "%E7%95%AA", "a%0Ab"])
def test_names_that_nobody_may_have(web: Web, name: str) -> None:
    """Are refused, with what is allowed."""
    found = web.get(f"/ping/{name}")
    assert found.status == 400
    assert "1 to 128" in found.text


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (
            "/ping/typo?timout=5m",
            'query "timout": unknown key; did you mean timeout? allowed: grace, interval, timeout',
        ),
        ("/ping/typo/start?timeout=5m&Grace=1m", 'query "Grace": unknown key; did you mean grace?'),
        ("/ping/typo/0?x%1b[31m=1", 'query "x\\x1b[31m": unknown key'),
        ("/ping/typo?timeout=5m&timeout=5h", "query timeout: given 2 times; allowed: once"),
    ],
)
def test_query_keys_that_nobody_takes(web: Web, street: Street, path: str, says: str) -> None:
    """A misspelt timeout is no feed without a timeout: it is refused, and nothing is declared."""
    for method in ("GET", "POST", "HEAD"):
        found = web.ask(method, path)
        assert found.status == 400
        assert method == "HEAD" or found.text.startswith(says)
    assert street.rows("typo") == {}


@pytest.mark.parametrize("path", ["/ping/slashed/", "/ping/slashed/start/", "/ping/slashed/0/"])
def test_nothing_is_redirected(web: Web, street: Street, path: str) -> None:
    """``curl -f`` would take a redirection for a success: a slash too many is a fault that it sees."""
    assert web.get(path).status == 404
    assert street.rows("slashed") == {}


def test_a_long_body_is_cut_and_still_a_proof_of_life(web: Web, street: Street) -> None:
    """Its beginning is kept; what is longer than anybody needs is not even taken."""
    assert web.ask("POST", "/ping/long", body="é" * 9_000).status == 200
    assert street.row("long")["status"] == "é" * 1023 + "…"
    assert web.ask("POST", "/ping/long", body=b"\xff\x00<b>" + b"y" * 500_000).status == 200
    assert street.row("long")["status"].startswith("\ufffd\x00<b>yyy")
    sent = {"Content-Length": str(1 << 40)}
    found = web.ask("POST", "/ping/long", sent, b"z" * 1_200_000)
    assert (found.status, found.headers["connection"]) == (200, "close")
    assert street.row("long")["status"].startswith("zzz")


def test_a_body_in_chunks(web: Web, street: Street) -> None:
    """Without a length."""
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=LONG)

    def parts() -> Iterator[bytes]:
        yield b"first "
        yield b"second"

    connection.request(
        "POST", "/ping/chunked", parts(), encode_chunked=True, headers={"Host": web.host, **web.signed}
    )
    assert connection.getresponse().read() == b"OK\n"
    connection.close()
    assert street.row("chunked")["status"] == "first second"


def test_undeclared_names_where_they_are_refused(own: Street) -> None:
    """404, with the supervisor's own words; a declaration in the query helps."""
    own.run("[supervisor]\nundeclared = 'refuse'\n")
    web = own.web()
    found = web.get("/ping/stranger")
    assert (found.status, found.text) == (
        404,
        "nobody declared 'stranger', and undeclared names are refused here\n",
    )
    assert web.get("/ping/stranger?timeout=1h").status == 200


def test_curl_can_feed(web: Web, street: Street) -> None:
    """The commands of docs/web.md, with what is at hand instead of curl: Python's own client."""
    code = (
        "import urllib.request as u, sys; "
        "print(u.urlopen(u.Request(sys.argv[1], data=b'from a script', method='POST')).read())"
    )
    url = f"http://localhost:{web.port}/p/{make_key(resolve(street.address), 'scripted', new=False)}/0"
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, timeout=START_S)
    assert done.stdout == "b'OK\\n'\n", done.stderr
    until(lambda: street.row("scripted").get("status") == "from a script", "it is fed")
