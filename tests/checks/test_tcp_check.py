"""``tcp`` and ``unix`` against redis, memcached, PostgreSQL, and servers that do what no server should."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.checks import daemons, hostile
from tests.checks.kit import fails, footprint, free_port, look, made, many, nothing_left, passes

from banken_supervisor.checks import connection

PING = {"send": "PING\r\n", "expect": "+PONG", "every": "1s", "limit": "300ms"}


@pytest.mark.process
def test_redis_passes_hangs_recovers_and_ends() -> None:
    """The same check, over tcp and over its Unix socket."""
    with daemons.redis() as redis:
        tcp = {"tcp": f"127.0.0.1:{redis.port}", **PING}
        unix = {"unix": f"{redis.directory}/redis.sock", **PING}
        for check in (tcp, unix):
            assert '"+PONG\\r\\n" came in' in passes(check)
            redis.stop()
            try:
                assert fails(check) == 'no result within 0.3 s: "+PONG" was expected, nothing came'
            finally:
                redis.go_on()
            passes(check)
            assert '"-ERR' in fails({**check, "send": "NONSENSE\r\n", "expect": "+OK"})
        redis.kill()
        assert "Connection refused" in fails(tcp)
        assert "Connection refused" in fails(unix)
        os.unlink(f"{redis.directory}/redis.sock")
        assert "No such file" in fails(unix)


@pytest.mark.process
def test_memcached_says_its_version() -> None:
    with daemons.memcached() as memcached:
        check = {"tcp": f"localhost:{memcached.port}", **PING, "send": "version\r\n", "expect": "VERSION 1."}
        passes(check)
        memcached.stop()
        try:
            assert "nothing came" in fails(check)
        finally:
            memcached.go_on()
        passes(check)


def test_a_server_that_listens_and_never_accepts_is_connected_but_says_nothing() -> None:
    with hostile.deaf() as port, nothing_left():
        assert "connected in" in passes({"tcp": f"127.0.0.1:{port}", "limit": "300ms"})
        assert "nothing came" in fails({"tcp": f"127.0.0.1:{port}", "expect": "x", "limit": "300ms"})


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose queue is full: what connects gets no answer."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port: int = server.getsockname()[1]
        for _ in range(4):
            other = stack.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(("127.0.0.1", port))
        yield port


def test_of_several_addresses_one_that_answers_is_enough(full: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it stands, beside those that refuse, and those that do not answer."""
    check, ports = {"tcp": "several.example:1", "limit": "1s"}, list[int]()

    async def resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
        return [(socket.AF_INET, ("127.0.0.1", port)) for port in ports]

    monkeypatch.setattr(connection, "resolve", resolve)
    refusing = free_port()
    with hostile.deaf() as good, nothing_left():
        for each in ([full, good], [full, full, good, full], [refusing, good], [good, full], [good, good]):
            ports[:] = each
            assert "connected in" in passes(check)
        ports[:] = [refusing, refusing]
        assert "Connection refused" in fails(check)
        ports[:] = [refusing, full]
        assert "127.0.0.1 port 1 does not answer" in fails(check)
        ports.clear()
        assert "several.example has no address" in fails(check)


def test_a_server_that_drips_is_ended_by_the_limit() -> None:
    """What has come so far is said."""
    with hostile.serving(hostile.dripping) as port:
        text = fails({"tcp": f"127.0.0.1:{port}", "expect": "+PONG", "limit": "300ms"})
    assert '"+PONG" was expected, "xx' in text


def test_a_server_without_end_is_read_to_64_kib() -> None:
    with hostile.serving(hostile.endless) as port, nothing_left():
        text = fails({"tcp": f"127.0.0.1:{port}", "expect": "+PONG", "limit": "2s"})
    assert "within 64 KiB" in text


def test_a_server_that_answers_nonsense_and_closes() -> None:
    """Binary is shown as a text that a terminal takes."""
    with hostile.serving(hostile.says(b"\x1b[2J\xff\x00", after_request=False)) as port:
        text = fails({"tcp": f"127.0.0.1:{port}", "expect": "+PONG", "limit": "2s"})
    assert "before it closed the connection" in text
    assert "\x1b" not in text


def test_what_is_split_over_two_packets_is_found() -> None:
    with hostile.serving(lambda sock, over: hostile.dripping(sock, over, b"220 ready", 0.005)) as port:
        passes({"tcp": f"127.0.0.1:{port}", "expect": "ready", "limit": "2s"})


def test_nobody_listens_there() -> None:
    """A port from which Linux would connect to itself is no server."""
    port = free_port()
    assert {look({"tcp": f"127.0.0.1:{port}", "limit": "1s"}).passed for _ in range(50)} == {False}
    assert "no-such-host.invalid has no address" in fails({"tcp": "no-such-host.invalid:1", "limit": "3s"})


def test_a_unix_socket_whose_queue_is_full_is_waited_for(tmp_path: Path) -> None:
    path = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first, nothing_left():
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        assert "no result within 0.3 s" in fails({"unix": path, "limit": "300ms"})
        listener.accept()[0].close()
        passes({"unix": path, "limit": "300ms"})


@pytest.mark.parametrize("path", ["/etc/hostname", "/", "/" + "x" * 200])
def test_a_path_that_is_no_socket(path: str) -> None:
    assert fails({"unix": path, "limit": "300ms"})


@pytest.mark.process
def test_hanging_checks_leave_nothing_behind() -> None:
    """RUNS runs against a server that never answers: descriptors, threads and processes as before."""
    runs = int(os.environ.get("CHECK_RUNS", "1000"))
    check = made({"tcp": "127.0.0.1:1", "expect": "x", "limit": "100ms"})
    with hostile.deaf() as port, socket.socket() as taker:
        del taker
        check = made({"tcp": f"127.0.0.1:{port}", "expect": "x", "limit": "100ms"})
        asyncio.run(many(check, 10, 10))
        before = footprint()
        outcomes = asyncio.run(many(check, runs, 250))
        after = footprint()
    assert {outcome.passed for outcome in outcomes} == {False}
    assert len(after[0]) == len(before[0])
    assert after[1:] == before[1:]
    print(f"{runs} runs: {len(before[0])} descriptors before, {len(after[0])} after")
