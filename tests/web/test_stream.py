"""The event stream: what it tells, and who listens badly."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from banken.client import Client
from banken_supervisor.web.broadcaster import QUEUE_BYTES_MAX, Subscriber
from banken_supervisor.web.peers import CLIENT_MAX
from process.kit import START_S, memory, until
from web.kit import CONFIG, Stream, Street, Web

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("web-stream")]


@pytest.fixture(scope="module")
def slow(web: Web) -> Iterator[list[socket.socket]]:
    """Clients that do not finish asking: silent, stopped in the head, in the body. Opened before all else."""
    found = [socket.create_connection(("127.0.0.1", web.port), timeout=START_S) for _ in range(3)]
    found[1].sendall(b"GET / HTTP/1.1\r\nHost: ")
    head = f"POST /ping/slow HTTP/1.1\r\nHost: {web.host}\r\nX-Banken-Token: {web.token}\r\n"
    head += "Content-Length: 100\r\n\r\nx"
    found[2].sendall(head.encode())
    yield found
    for each in found:
        each.close()


@pytest.mark.usefixtures("slow")
def test_everything_comes_and_then_what_changes(web: Web, street: Street) -> None:
    """hello, all rows, the verdict as an event, and the row as it is then; nothing else need be asked."""
    web.get("/ping/before")
    stream = web.stream()
    hello = stream.until("hello")
    assert stream.status == 200
    assert b"text/event-stream" in stream.headers
    assert hello["up"] is True
    assert hello["summary"]["watchdogs"] >= 1
    stream.until("rows", complete=True)
    names = [row["name"] for kind, told in stream.seen if kind == "rows" for row in told["rows"]]
    assert "before" in names
    assert len(names) == len(set(names))

    web.get("/ping/falls?timeout=2s")
    assert stream.row("falls", state="alive")["timeout"] == 2.0
    event = stream.until("event", type="expired", name="falls")
    heard = time.time()
    changed = stream.row("falls", state="expired")
    assert changed["incident"]["id"] == event["incident"]
    assert heard - event["time"] < 5.0, "bounded loosely: benchmarks/web.py measures it"
    assert f"{hello['session']}-{event['seq']}" in stream.ids
    summary = [told["summary"] for kind, told in stream.seen if kind == "changed" and told["summary"]]
    assert summary, "the counts are told with what changed"

    web.act("/api/v1/watchdogs/falls/release")
    assert "falls" not in [row["name"] for row in stream.until("changed", gone=["falls"])["rows"]]


def test_many_rows_come_in_pieces(own: Street) -> None:
    """At most 100 each, the last one says that it is."""
    own.supervisor()
    client: Client = own.client()
    for number in range(450):
        client.feed(f"many-{number}")
    until(lambda: own.ask("summary")["watchdogs"] == 450, "all are watched")
    stream = own.web().stream()
    stream.until("rows", complete=True)
    pieces = [told for kind, told in stream.seen if kind == "rows"]
    assert all(len(piece["rows"]) <= 100 for piece in pieces)
    assert [piece["complete"] for piece in pieces] == [False] * 4 + [True]
    assert len({row["name"] for piece in pieces for row in piece["rows"]}) == 450


def test_a_restart_of_the_supervisor(own: Street) -> None:
    """down while there is none, up when there is one again, then everything anew; the process lives through it."""
    first = own.supervisor()
    web = own.web()
    assert web.get("/ping/stays").status == 200
    stream = web.stream()
    old = stream.until("hello")
    stream.until("rows", complete=True)
    first.kill()
    assert "error" in stream.until("down", START_S)
    began = time.monotonic()
    found = web.get("/api/v1/summary")
    assert (found.status, found.json["up"]) == (503, False)
    assert web.get("/-/ready").status == 503
    assert web.get("/-/healthy").status == 200
    assert web.get("/ping/stays").status == 503
    assert web.act("/api/v1/watchdogs/stays/pause").status == 503
    assert web.get("/badge/stays.svg").status == 200
    assert time.monotonic() - began < 8.0, "each of them waits a quarter of a second at most, and not two"
    assert web.stream().until("hello")["up"] is False

    own.supervisor()
    new = stream.until("up", START_S)
    assert new["session"] != old["session"]
    assert stream.until("hello")["session"] == new["session"]
    stream.until("rows", complete=True)
    assert web.get("/ping/comes").status == 200
    assert stream.row("comes")["state"] == "alive"


def test_a_stopped_supervisor_is_told_as_down(own: Street) -> None:
    """It holds its connections and answers nothing; afterwards everything goes on."""
    supervisor = own.supervisor()
    web = own.web()
    stream = web.stream()
    stream.until("rows", complete=True)
    supervisor.signal(signal.SIGSTOP)
    stream.until("down", START_S)
    assert web.get("/-/healthy").status == 200
    supervisor.signal(signal.SIGCONT)
    stream.until("up", START_S)
    stream.until("rows", complete=True)


def test_200_streams_and_no_more(web: Web, street: Street) -> None:
    """All 200 hear of a verdict; the next is told to come again later, and may when one has gone away."""
    open_now = [Stream(web) for _ in range(210)]
    try:
        taken = []
        for each in open_now:
            each.open()
            if each.status == 200:
                taken.append(each)
        refused = [each for each in open_now if each.status == 503]
        assert len(refused) >= 10
        assert b"retry-after: 10" in refused[0].headers
        assert len(taken) + len(web._streams) >= 200
        for each in taken:
            each.until("rows", complete=True)
        web.get("/ping/told-to-all?timeout=300ms")
        for each in taken:
            each.until("event", type="expired", name="told-to-all")
        assert web.get("/-/healthy").status == 200
        for each in taken[:5]:
            each.close()
        until(lambda: _welcome(web), "there is room for another", START_S)
    finally:
        for each in open_now:
            each.close()
    until(lambda: _welcome(web), "they are gone", START_S)


def test_a_slow_reader_is_ended_and_costs_no_memory(own: Street) -> None:
    """It takes nothing while more is told than its queue may hold; others hear all of it."""
    own.supervisor()
    web = own.web()
    quick = web.stream()
    quick.until("rows", complete=True)
    slow = Stream(web, receive_buffer=65_536).open()
    web._streams.append(slow)
    before = memory(web.process.pid)
    # Each failure is told with its whole reason: together 17 MB, far more than 4 MiB
    # and what the kernel holds.
    client, reason = own.client(), "r" * 4000
    for number in range(70):
        for each in range(60):
            client.fail(f"loud-{each}", f"{number} {reason}")
        client.fail("the-last", str(number))
        quick.until("event", name="the-last", reason=str(number))
    assert memory(web.process.pid) - before < 64 * 2**20
    assert slow.ended() < START_S
    assert web.get("/-/healthy").status == 200


def test_sigterm_ends_it_with_streams_open(own: Street) -> None:
    """Within two seconds (and some, on a busy machine), exit code 0, and each stream in order."""
    own.supervisor()
    web = own.web()
    streams = [web.stream() for _ in range(20)]
    for each in streams:
        each.until("hello")
    web.process.signal(signal.SIGTERM)
    code, seconds = web.process.ended(10)
    assert (code, seconds < 5.0) == (0, True), f"{code} after {seconds:.1f} s: {web.process.log()}"
    for each in streams:
        each.ended()
    assert "Traceback" not in web.process.log()
    assert " error " not in web.process.log()


def test_a_flood_of_connections(own: Street) -> None:
    """Silent and half-sent requests of one client: the oldest of them give way, others are served all the time."""
    own.supervisor()
    web = own.web()
    stream = web.stream()
    stream.until("hello")
    flood: list[socket.socket] = []
    try:
        for number in range(2 * CLIENT_MAX):
            one = socket.create_connection(("127.0.0.1", web.port), timeout=START_S)
            flood.append(one)
            if number % 2:
                one.sendall(b"POST /ping/x HTTP/1.1\r\nHost: ")
            if number % 100 == 99:
                assert web.get("/ping/in-the-flood").status == 200
                assert web.get("/api/v1/summary").status == 200
        with contextlib.suppress(ConnectionResetError):
            assert flood[0].recv(1) == b""
        web.get("/ping/told-in-the-flood?timeout=300ms")
        stream.until("event", type="expired", name="told-in-the-flood")
    finally:
        for each in flood:
            each.close()


def test_a_queue_has_its_bounds() -> None:
    """What is over ends the stream and frees what waited."""
    subscriber = Subscriber()
    subscriber.offer(b"x" * (QUEUE_BYTES_MAX - 1))
    assert subscriber.steady
    subscriber.offer(b"yy")
    assert subscriber.ended
    assert subscriber.take() == b""


def test_slow_clients_are_cut(web: Web, slow: list[socket.socket]) -> None:
    """Within http_protocol.REQUEST_S, most of which has passed by now; others are served meanwhile."""
    assert web.get("/-/healthy").status == 200
    assert slow[2].recv(100).startswith(b"HTTP/1.1 408 ")
    for each in slow[:2]:
        with contextlib.suppress(ConnectionResetError):
            assert each.recv(100) == b""


def _welcome(web: Web) -> bool:
    one = Stream(web)
    try:
        return one.open().status == 200
    finally:
        one.close()


def test_what_changed_as_the_last_one_left_is_told_to_the_next(own: Street) -> None:
    """A watchdog that begins just before the only listener goes is in the next one's rows, whenever that comes."""
    own.run(CONFIG)
    web = own.web()
    for number in range(12):
        leaving = web.stream()
        leaving.until("rows", complete=True)
        web.get(f"/ping/late-{number}")
        leaving.close()
        time.sleep(number * 0.03)  # no condition is waited for: it may come at any moment
        coming = web.stream()
        assert coming.row(f"late-{number}")
        coming.close()
