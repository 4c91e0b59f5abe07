"""What one client's requests may cost: the head of each, and all those that need no token."""

from __future__ import annotations

import contextlib
import socket
import time

import psutil
import pytest

from banken_supervisor.web.http_protocol import HEAD_MAX, KEYS_MAX, LINES_MAX, PATH_MAX
from banken_supervisor.web.peers import BURST, RATE
from process.kit import START_S, until
from web.kit import Street, Web

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("web-floods")]

FLOOD = 100
"""Heads of 24,000 lines. h11 took about 70 ms for each."""


def said(web: Web, *parts: bytes) -> bytes:
    """The answer to these bytes, on a connection of their own; empty: it was cut while they were sent."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", web.port), START_S) as one:
        for part in parts:
            one.sendall(part)
            time.sleep(0.05 if len(parts) > 1 else 0)
        while some := one.recv(65_536):
            answer += some
    return answer


def head(web: Web, *, method: str = "GET", path: str = "/-/healthy", lines: int = 2, size: int = 0) -> bytes:
    """A head of this many header lines, or of this many bytes."""
    start = f"{method} {path} HTTP/1.1\r\nHost: {web.host}\r\nConnection: close\r\n".encode()
    start += b"a:\r\n" * (lines - 2)
    return start + (b"b: " + b"x" * (size - len(start) - 7) + b"\r\n" if size else b"") + b"\r\n"


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_head_has_so_many_bytes_and_lines(web: Web, pieces: int) -> None:
    """Also where it arrives at once. What is within is served."""
    for sent, status in (
        (head(web, lines=LINES_MAX), 200),
        (head(web, lines=LINES_MAX + 1), 431),
        (head(web, size=HEAD_MAX), 200),
        (head(web, size=HEAD_MAX + 1), 431),
        (head(web, size=60_000), 431),
        (head(web, path="/static/" + "x" * (PATH_MAX - 8)), 404),
        (head(web, path="/static/" + "x" * (PATH_MAX - 7)), 414),
        (head(web, path="/static/" + "x" * (PATH_MAX - 7), method="HEAD"), 414),
        (head(web, path="/-/healthy?" + "&".join(["a"] * (KEYS_MAX + 1))), 414),
    ):
        half = len(sent) // 2
        answer = said(web, sent) if pieces == 1 else said(web, sent[:half], sent[half:])
        assert answer[:13] == b"HTTP/1.1 %d " % status, (len(sent), answer)
        assert answer.partition(b"\r\n\r\n")[2] or sent.startswith(b"HEAD")
    assert "Traceback" not in web.process.log()


def test_the_lines_after_a_body_in_chunks_are_as_many(web: Web) -> None:
    """They need the token, or one name's key."""
    start = f"POST /ping/trailed HTTP/1.1\r\nHost: {web.host}\r\nX-Banken-Token: {web.token}\r\n"
    start += "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    for count, taken in ((LINES_MAX, True), (LINES_MAX + 3, False)):
        answer = said(web, start.encode() + b"a:\r\n" * count + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ") is taken, answer


def test_a_flood_of_heads_of_very_many_lines_costs_little(street: Street) -> None:
    """Another user sent them on 250 connections to a path that needs no token, and no ping got through."""
    web = street.web()
    sent = head(web, lines=24_000)
    process = psutil.Process(web.process.pid)
    before = sum(process.cpu_times()[:2])
    for _ in range(FLOOD):
        assert said(web, sent)[:13] in (b"", b"HTTP/1.1 431 ")
    assert sum(process.cpu_times()[:2]) - before < 0.02 * FLOOD
    assert web.get("/ping/after-heads").status == 200


def test_requests_without_a_token_are_counted_on_one_connection_too(street: Street) -> None:
    """Beyond the rate the next is refused and its connection ends; in a moment the client is served again."""
    web = street.web()
    one = f"GET /-/healthy HTTP/1.1\r\nHost: {web.host}\r\n\r\n".encode()
    began = time.monotonic()
    served = refused = 0
    with socket.create_connection(("127.0.0.1", web.port), START_S) as flood, contextlib.suppress(OSError):
        while not refused:
            flood.sendall(one * 20)
            answers = b""
            while answers.count(b"HTTP/1.1 ") < 20 and (some := flood.recv(65_536)):
                answers += some
            served += answers.count(b"HTTP/1.1 200 ")
            refused += answers.count(b"HTTP/1.1 429 ")
            assert answers, "it ended without a word"
            assert served <= BURST + RATE * (time.monotonic() - began) + 1
    assert refused == 1
    assert served >= BURST / 2

    def pings() -> bool:
        with contextlib.suppress(OSError):
            return web.get("/ping/after-requests").status == 200
        return False

    until(pings, "it is served again", START_S)
    assert 'banken_web_refused_total{reason="rate"} 1' in web.get("/metrics").text
