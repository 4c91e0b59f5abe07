"""``banken run --listen``, ``banken keys`` and a worker with a key, each as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from banken_supervisor.cli.group import banken
from hosts_kit import free_ports
from process.kit import START_S, memory, until
from process.run_kit import Running

WORKER = """
import time
from banken import client

while True:
    client.watchdog("trainer-1", timeout=30, resolution=0).feed()
    time.sleep(0.02)
"""


FLOOD = """
import os, zmq
from banken import tcp
from banken.address import resolve
from banken.protocol.codec import encode
from banken.protocol.messages import Kind, Message
address = resolve(os.environ["BANKEN_ADDRESS"])
sockets = []
for number in range(20):
    sockets.append(zmq.Context.instance().socket(zmq.PUSH))
    tcp.prepare(sockets[-1], address, tcp.given_key())
    sockets[-1].setsockopt(zmq.IMMEDIATE, 1)
    sockets[-1].connect(address.feed)
frames = [encode(Message(Kind.NOTE, "flood", None, 0.0, None, (number, "x" * 40))) for number in range(1000)]
while True:
    for frame in frames:
        for socket in sockets:
            try:
                socket.send(frame, zmq.DONTWAIT)
            except zmq.Again:
                pass
"""

MEMORY_LEFT = 40 * 2**20
"""Bytes more, at most, when a flood is over. Without giving back it was 120 MB and more."""


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bk-") as directory:
        yield Path(directory)


@pytest.mark.process
def test_a_worker_with_a_key_is_watched_until_it_is_revoked(place: Path) -> None:
    """Over the death of the supervisor, too; and every command says what is to be done next."""
    address, keys = f"tcp://127.0.0.1:{free_ports()}", str(place / "keys")
    running = Running(place, f'[supervisor]\nlisten = ["{address}"]\nkeys = "keys"\n')

    def say(*words: str, **environment: str) -> str:
        result = CliRunner().invoke(banken, words, env=environment)
        assert result.exit_code == 0, result.output
        return result.output

    def row() -> dict[str, Any] | None:
        return running.watchdogs().get("trainer-1")

    assert "`banken run --listen tcp://HOST:PORT` uses it" in say("keys", "new", "watch", "--server", "--dir", keys)
    made = say("keys", "new", "trainer", "--for", address, "--feed", "trainer*", "--dir", keys)
    assert "trainer may feed trainer*" in made
    environment = {**os.environ, "BANKEN_ADDRESS": address, "BANKEN_KEY": str(place / "keys" / "trainer.key")}
    with open(place / "errors", "wb") as errors:
        worker = subprocess.Popen([sys.executable, "-c", WORKER], env=environment, stderr=errors)
    try:
        running.run()
        where = f"banken supervises at {running.address} and {address}"
        until(lambda: where in running.log.read_text(), "it says where", START_S)
        found = until(row, "it is watched", START_S)
        assert (found["key"], found["host"], found["pid"]) == ("trainer", "127.0.0.1", worker.pid)
        assert "on 127.0.0.1, key trainer" in say("status", "--address", running.address)
        assert "ago from 127.0.0.1" in say("keys", "list", "--dir", keys, "--address", running.address)

        say("feed", "trainer-2", BANKEN_ADDRESS=address, BANKEN_KEY=environment["BANKEN_KEY"])
        until(lambda: "trainer-2" in running.watchdogs(), "a command feeds with the key", START_S)

        running.kill()
        running.run()
        until(lambda: any(key["seen"] is not None for key in running.home.ask("keys")["rows"]), "it is heard again")
        assert row()["incidents"] == 0  # type: ignore[index]

        say("keys", "revoke", "trainer", "--dir", keys)
        say("reload", "--address", running.address)
        until(lambda: running.home.ask("summary")["refused"].get("revoked"), "it is refused")
        until(lambda: row()["silence"] > 0.2, "it is heard no longer")  # type: ignore[index]
    finally:
        worker.kill()
        worker.wait()
        running.close()


@pytest.mark.process
def test_after_a_flood_over_tcp_the_memory_comes_back(place: Path) -> None:
    """Twenty connections of one key, which is cut off again and again."""
    address = f"tcp://127.0.0.1:{free_ports()}"
    running = Running(place, f'[supervisor]\nlisten = ["{address}"]\nkeys = "keys"\n')
    for words in (["new", "watch", "--server"], ["new", "flood", "--for", address, "--feed", "*"]):
        made = CliRunner().invoke(banken, ["keys", *words, "--dir", str(place / "keys")])
        assert made.exit_code == 0, made.output
    environment = {**os.environ, "BANKEN_ADDRESS": address, "BANKEN_KEY": str(place / "keys" / "flood.key")}
    try:
        supervisor = running.run()
        before = memory(supervisor.pid)
        with subprocess.Popen([sys.executable, "-c", FLOOD], env=environment) as flood:
            try:
                until(lambda: running.home.ask("summary")["refused"].get("flood", 0) > 1, "it is cut off", 60.0)
            finally:
                flood.kill()
        until(lambda: memory(supervisor.pid) < before + MEMORY_LEFT, "the memory is back", 15.0)
    finally:
        running.close()


@pytest.mark.process
def test_what_is_wrong_is_said_before_it_starts(place: Path) -> None:
    """In one line, with an exit code of its own."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("XDG_", "BANKEN_"))}
    command = [sys.executable, "-m", "banken_supervisor", "run", "--address", str(place / "a"), "--no-journal"]
    for words, code, says in (
        (["--keys", "k"], 2, "--keys is for workers of other hosts: it needs --listen"),
        (
            ["--listen", "tcp://127.0.0.1:7767", "--keys", str(place)],
            2,
            "exactly one key of a server, and has: none",
        ),
        (["--listen", "/run/x"], 6, "it listens at tcp://HOST:PORT"),
        (["--listen", "tcp://h:65534"], 6, "PORT from 1 to 65533"),
    ):
        ran = subprocess.run(
            [*command, *words], env={**environment, "HOME": str(place)}, capture_output=True, text=True,
            timeout=START_S, check=False,
        )  # fmt: skip
        assert ran.returncode == code, words
        assert says in ran.stderr
