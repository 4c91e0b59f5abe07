"""One worker and several supervisors: real sockets on loopback, with keys."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

from banken.address import resolve_all
from banken.client import Client
from banken.client.unread import LOOK_S
from banken.errors import AddressRefused, KeyRefused
from banken.protocol.codec import decode
from banken.protocol.messages import Kind
from banken_supervisor.keys.directory import KeyDirectory
from banken_supervisor.sources.zap import KeyGate
from recovery_kit import until

Socket = zmq.Socket[bytes]


class Watcher:
    """A supervisor's feed socket on a port of its own, without the supervisor."""

    def __init__(self, tmp_path: Path, name: str) -> None:
        self.keys = KeyDirectory(tmp_path / name)
        self.keys.new("watch", server=True)
        self.denied: list[bytes | None] = []
        self.context: zmq.Context[Socket] = zmq.Context()
        self.gate = KeyGate(self.context, frozenset(), lambda _, key: self.denied.append(key))
        self.public = self.keys.server().key
        self.secret = _secret(self.keys.path / "watch.key")
        self.port = 0
        self.up()

    def up(self) -> None:
        self.socket = self.context.socket(zmq.PULL)
        self.gate.guard(self.socket, self.public, self.secret)
        self.socket.setsockopt(zmq.HANDSHAKE_IVL, 200)
        if self.port:
            self.socket.bind(f"tcp://127.0.0.1:{self.port}")
        else:
            self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")

    def down(self) -> None:
        self.socket.close(0)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def names(self, wait: float = 0.0, most: int = 10_000) -> list[str]:
        """Of the messages that came, within so many seconds, at most so many."""
        found: list[str] = []
        deadline = time.monotonic() + wait
        while len(found) < most and self.socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            with suppress(zmq.Again):
                found.append(decode(self.socket.recv(zmq.DONTWAIT)).name)
        return found

    def close(self) -> None:
        self.down()
        self.gate.close()
        self.context.term()


def _secret(path: Path) -> bytes:
    return next(line.split('"')[1].encode() for line in path.read_text().splitlines() if line.startswith("secret"))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first message of a client waits until all are connected, on a busy machine, too."""
    monkeypatch.setattr("banken.client.fanout.FIRST_WAIT", 10.0)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[Watcher]]:
    made = [Watcher(tmp_path, f"k{number}") for number in range(3)]
    yield made
    for each in made:
        each.close()


def key_for(tmp_path: Path, watchers: list[Watcher], *, allowed: bool = True) -> Path:
    """A worker's file for all of them."""
    keys = KeyDirectory(tmp_path / "worker")
    path = keys.new("w")
    lines = [path.read_text(), "[servers]", *(f'"{each.address}" = "{each.public.decode()}"' for each in watchers)]
    path.write_text("\n".join(lines) + "\n")
    for each in watchers if allowed else ():
        each.gate.allowed = {keys.public("w").key}
    return path


def client_of(path: Path, watchers: list[Watcher]) -> Any:
    return closing(Client(",".join(each.address for each in watchers), key=path))


def fed(client: Client, condition: Callable[[], Any], what: str) -> None:
    """Feed, each feed sent, until the condition holds."""

    def once() -> Any:
        client.watchdog("w", 60, resolution=0).feed()
        return condition()

    until(once, what)


@pytest.mark.usefixtures("patient")
def test_every_supervisor_hears_every_feed(tmp_path: Path, three: list[Watcher]) -> None:
    with client_of(key_for(tmp_path, three), three) as client:
        client.feed("w")  # the first message waits until all are connected
        assert [each.names(5.0, 1) for each in three] == [["w"]] * 3
        stats = client.stats()
        assert (stats["sent"], stats["dropped"], stats["reachable"]) == (1, 0, True)
        assert [each["address"] for each in stats["destinations"]] == [each.address for each in three]
        assert [(each["sent"], each["dropped"]) for each in stats["destinations"]] == [(1, 0)] * 3


def test_one_that_is_down_costs_the_others_nothing(tmp_path: Path, three: list[Watcher]) -> None:
    """A message is sent if any took it; the one that came back hears again."""
    three[1].down()
    with client_of(key_for(tmp_path, three), three) as client:
        there = [True, False, True]
        fed(client, lambda: [each["reachable"] for each in client.stats()["destinations"]] == there, "two hear")
        handle = client.watchdog("w", 60, resolution=0)
        before = client.stats()
        for each in (three[0], three[2]):
            each.names(1.0, before["destinations"][three.index(each)]["sent"])
        for _ in range(100):
            handle.feed()
        assert all(len(each.names(5.0, 100)) == 100 for each in (three[0], three[2]))
        stats = client.stats()
        assert (stats["sent"] - before["sent"], stats["dropped"] - before["dropped"]) == (100, 0)
        assert [each["reachable"] for each in stats["destinations"]] == there
        down = [each["destinations"][1]["dropped"] for each in (before, stats)]
        assert down[1] - down[0] == 100
        three[1].up()
        fed(client, three[1].names, "it hears again")


def test_where_none_takes_it_a_feed_is_dropped(tmp_path: Path, three: list[Watcher]) -> None:
    for each in three:
        each.down()
    with client_of(key_for(tmp_path, three), three) as client:
        began = time.monotonic()
        client.feed("w")
        client.feed("w")
        assert time.monotonic() - began < 1.0  # 0.1 s for the first message
        stats = client.stats()
        assert (stats["sent"], stats["dropped"], stats["reachable"]) == (0, 2, False)


def test_a_key_that_is_denied_is_told_once_and_comes_in_when_it_is_allowed(
    tmp_path: Path, three: list[Watcher], caplog: pytest.LogCaptureFixture
) -> None:
    """By itself, within two seconds."""
    path = key_for(tmp_path, three[:1], allowed=False)
    with client_of(path, three[:1]) as client, caplog.at_level(logging.WARNING, "banken"):
        fed(client, lambda: client.stats()["destinations"][0]["denied"], "it is denied")
        for _ in range(5):
            client.feed("w")
            time.sleep(0.11)
        assert three[0].names() == []
        told = [each.getMessage() for each in caplog.records]
        assert len(told) == 1
        assert f"{three[0].address} does not let this process in: the key 'w' is not allowed there" in told[0]
        three[0].gate.allowed = {KeyDirectory(tmp_path / "worker").public("w").key}
        began = time.monotonic()
        fed(client, three[0].names, "it is heard")
        assert time.monotonic() - began < 5.0
        assert not client.stats()["destinations"][0]["denied"]


@pytest.mark.parametrize("strange", ["another server's key", "plain", "http"])
def test_nobody_else_is_heard(tmp_path: Path, three: list[Watcher], strange: str) -> None:
    one = three[0]
    if strange == "http":
        import socket

        with socket.create_connection(("127.0.0.1", one.port)) as raw:
            raw.sendall(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc" * 20)
            assert one.names(0.2) == []
        return
    with one.context.socket(zmq.PUSH) as socket_:
        socket_.setsockopt(zmq.LINGER, 0)
        if strange != "plain":
            one.gate.allowed = set()
            pair = zmq.curve_keypair()
            one.gate.allowed = {pair[0]}
            socket_.curve_publickey, socket_.curve_secretkey = pair
            socket_.curve_serverkey = three[1].public
        socket_.connect(one.address)
        socket_.send(b"x")
        assert not one.socket.poll(200)


@pytest.mark.usefixtures("patient")
def test_a_forked_child_feeds_all_by_itself(tmp_path: Path, three: list[Watcher]) -> None:
    with client_of(key_for(tmp_path, three), three) as client:
        client.feed("w")
        assert [each.names(5.0, 1) for each in three] == [["w"]] * 3
        child = os.fork()
        if child == 0:
            client.feed("child")
            client.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        client.feed("other")
        assert [sorted(each.names(5.0, 2)) for each in three] == [["child", "other"]] * 3


def test_it_ends_in_time_beside_one_that_is_dead_and_one_that_does_not_read(
    tmp_path: Path, three: list[Watcher]
) -> None:
    three[1].down()
    client = Client(",".join(each.address for each in three), key=key_for(tmp_path, three))
    handle = client.watchdog("w", 60, resolution=0)
    for _ in range(3_000):  # nobody reads: what the queues hold is full
        handle.feed()
    began = time.monotonic()
    client.close()
    assert time.monotonic() - began < 2.0


def test_wrong_keys_are_refused_at_once(
    tmp_path: Path, three: list[Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the client is made, and not with some feed."""
    monkeypatch.delenv("BANKEN_KEY", raising=False)
    with pytest.raises(KeyRefused, match=r"needs a key: name its file in \$BANKEN_KEY"):
        Client(three[0].address)
    path = key_for(tmp_path, three[:1])
    with pytest.raises(KeyRefused, match=rf"no public key of {three[1].address}; .* it has: {three[0].address}"):
        Client(three[1].address, key=path)
    monkeypatch.setenv("BANKEN_KEY", str(path))
    Client(three[0].address).close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (",".join(f"tcp://h:{port}" for port in range(1, 11)), "10 addresses; at most 9"),
        ("tcp://a:1,tcp://a:1", "names one supervisor twice"),
        ("tcp://a:1,/run/a,/run/b", "more than one directory"),
        ("tcp://a:1,", "not empty"),
        ("tcp://a:65534,tcp://b:1", "PORT from 1 to 65533"),
        ("tcp://::1:7767", r"IPv6 address in brackets, tcp://\[::1\]:7767"),
        ("tcp://[::1", "is no address"),
        ("tcp://a b:1", "is no address"),
    ],
)
def test_addresses_that_mean_nothing_say_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(AddressRefused, match=says):
        resolve_all(text)


def test_several_addresses_are_split_at_commas() -> None:
    found = resolve_all("tcp://a:1, tcp://[::1]:2,/run/b")
    assert [each.feed for each in found] == ["tcp://a:1", "tcp://[::1]:2", "ipc:///run/b/feed"]
    assert [each.feed for each in resolve_all("/run/a,b")] == ["ipc:///run/a,b/feed"]
    for text in ("/tmp/x,/tmp/y", "/tmp/x, ~/y", "x, /tmp/y"):
        with pytest.raises(AddressRefused, match="more than one directory: of several supervisors one may be"):
            resolve_all(text)


@pytest.mark.usefixtures("patient")
def test_a_release_is_said_again_to_a_supervisor_that_was_away(tmp_path: Path, three: list[Watcher]) -> None:
    """The one before may have ended before it read that. The others hear it once more, too."""
    with client_of(key_for(tmp_path, three), three) as client:
        client.watchdog("gone", 60, resolution=0).feed()
        assert client.release("gone")
        assert [each.names(5.0, 3) for each in three] == [["gone"] * 3] * 3
        three[0].down()
        until(lambda: client.feed("w") or client.stats()["destinations"][0]["dropped"], "it is missed")
        three[0].up()
        heard: list[str] = []
        fed(client, lambda: heard.extend(three[0].names()) or "gone" in heard, "it hears of the release")
        assert "gone" in three[1].names(5.0)
        until(lambda: client.feed("w") or not three[0].names(0.6).count("gone"), "it is said once")
        heard.clear()
        fed(client, lambda: heard.extend(three[0].names()) or len(heard) > 3, "it hears feeds")
        assert "gone" not in heard


@pytest.mark.usefixtures("patient")
def test_while_one_is_away_the_others_hear_no_word_again(tmp_path: Path, three: list[Watcher]) -> None:
    """However fast the client feeds; another supervisor in the place of one of them hears it all the same."""
    here = tmp_path / "here"
    here.mkdir()
    away = three[0]
    path = key_for(tmp_path, [away])
    with (
        closing(Client(f"{here},{away.address}", key=path)) as client,
        closing(Here(here)) as one,
    ):
        fed(client, lambda: all(each["reachable"] for each in client.stats()["destinations"]), "both hear")
        client.pause("p")
        until(lambda: one.pauses() == [True], "it is heard")
        away.down()
        fed(client, lambda: client.stats()["destinations"][1]["dropped"], "it is missed")
        end = time.monotonic() + 4 * LOOK_S
        while time.monotonic() < end:
            client.watchdog("w", 60, resolution=0).feed()
            time.sleep(0.01)
        assert one.pauses() == []
        one.close()
        one.begin()
        heard: list[bool] = []
        fed(client, lambda: heard.extend(one.pauses()) or heard, "the next one hears it")
        assert heard == [False]
        away.up()
        fed(client, away.names, "the other one is back")
        fed(client, lambda: heard.extend(one.pauses()) or len(heard) > 1, "both hear it again")


class Here:
    """A supervisor's feed socket in a directory, without the supervisor."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "feed"
        self.begin()

    def begin(self) -> None:
        self._path.unlink(missing_ok=True)
        self._context: zmq.Context[Socket] = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        self._socket.bind(f"ipc://{self._path}")

    def pauses(self) -> list[bool]:
        """Of each pause that came: whether it was said for the first time."""
        found = []
        while self._socket.poll(0):
            message = decode(self._socket.recv())
            if message.kind is Kind.PAUSE:
                assert message.number is not None
                found.append(message.number > 0)
        return found

    def close(self) -> None:
        self._context.destroy(0)
