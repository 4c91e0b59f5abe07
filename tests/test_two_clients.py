"""Two clients in one process that feed one name: to the supervisor they are one process, whose word is one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from banken.client import Client
from banken.protocol.codec import decode
from banken.protocol.messages import Kind
from recovery_kit import until


class Ear:
    """A feed socket, without the supervisor."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        self._socket.bind(f"ipc://{directory}/feed")
        self.heard: list[tuple[Kind, str]] = []
        self._clients: list[Client] = []

    def client(self, *, anonymous: bool = False) -> Client:
        """One that is connected: a first message may find no connection on a busy machine."""
        made = Client(self.directory, anonymous=anonymous)
        self._clients.append(made)
        made.resume("connects")
        until(lambda: made.stats()["reachable"], "the client is connected")
        return made

    def releases(self) -> list[str]:
        """Names that were released so far. What was said before has come."""
        marker = f"marker-{time.monotonic_ns()}"
        self._clients[0].resume(marker)
        while (Kind.RESUME, marker) not in self.heard:
            assert self._socket.poll(10_000)
            message = decode(self._socket.recv())
            self.heard.append((message.kind, message.name))
        return [name for kind, name in self.heard if kind is Kind.RELEASE]

    def close(self) -> None:
        for each in self._clients:
            each.close()
        self._context.destroy(0)


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    made = Ear(tmp_path)
    yield made
    made.close()


def test_the_last_one_releases_the_name(ear: Ear) -> None:
    """Until then the other one is watched, also if it falls silent."""
    one, other = ear.client(), ear.client()
    one.watchdog("w", timeout=30)
    other.feed("w")
    assert one.release("w")
    assert ear.releases() == []
    other.release("w")
    until(lambda: ear.releases() == ["w"], "the name is released")


@pytest.mark.parametrize("how", ["closed", "released", "never fed it", "anonymous", "elsewhere", "forgotten"])
def test_one_that_does_not_feed_it_holds_back_no_release(
    ear: Ear, how: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one, other = ear.client(), ear.client(anonymous=how == "anonymous")
    one.feed("w")
    if how == "forgotten":
        other.watchdog("w", timeout=0.1, resolution=0.0)
    if how != "never fed it":
        other.feed("w")
    if how == "closed":
        other.close()
    elif how == "released":
        other.release("w")
    elif how == "forgotten":
        time.sleep(0.2)
    elif how == "elsewhere":
        other.connect(tmp_path_factory.mktemp("elsewhere"))
        other.feed("w")
    one.release("w")
    until(lambda: ear.releases() == ["w"], "the name is released")


def test_one_that_never_fed_it_releases_it_at_once(ear: Ear) -> None:
    """It has no part of its own in it: it means the name."""
    one, other = ear.client(), ear.client()
    other.feed("w")
    one.release("w")
    until(lambda: ear.releases() == ["w"], "the name is released")


def test_what_names_no_process_releases_at_once(ear: Ear) -> None:
    """It is an operator's word."""
    one, operator = ear.client(), ear.client(anonymous=True)
    one.feed("w")
    operator.feed("w")
    operator.release("w")
    until(lambda: ear.releases() == ["w"], "the name is released")
