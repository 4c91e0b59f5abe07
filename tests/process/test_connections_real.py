"""More connections than there are descriptors: the supervisor goes on, and honest workers are served."""

from __future__ import annotations

import signal
import time

import pytest

from banken.address import resolve
from banken.client.sender import Sender
from banken.control import Control
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from process.kit import Child, Home, until
from process.run_kit import running

pytestmark = pytest.mark.process

WORKERS = 125
LIMIT = 256
SERVED_S = 5.0
"""Asked are two seconds; on a machine that is busy with other tests the new worker itself starts later."""


def served(home: Home, name: str) -> float:
    """Seconds until a new worker's first feed is known."""
    began = time.monotonic()
    client = home.client()
    until(lambda: client.feed(name) or home.row(name), f"{name} is served", 20)
    return time.monotonic() - began


def test_a_low_limit_of_descriptors_and_a_flood_of_connections_end_nothing(home: Home) -> None:
    """All workers are fed. One process that opens 20,000 silent connections beside them gets the rest and no more:
    nobody is convicted, a new worker is served, and it is told."""
    supervisor = home.supervisor("limited", LIMIT)
    home.start("raw", "herd", WORKERS, 2.0).hear()
    until(lambda: home.ask("summary")["states"]["alive"] == WORKERS, "all are fed", 30)
    flood: Child = home.start("raw", "silent", 20_000)
    flood.hear(60)
    events = home.events()
    assert served(home, "new") < SERVED_S
    assert events.until(10, "refused", reason="connections")["count"]
    events.during(2.5)
    assert events.convicted() == set()
    summary = home.ask("summary")
    assert summary["states"]["alive"] == WORKERS + 1
    assert summary["connections"] <= summary["connections_max"] == LIMIT * 5 // 8
    flood.kill()
    until(lambda: home.ask("summary")["connections"] < WORKERS + 10, "the rest is given back")
    assert supervisor.running()


LOW, COMMANDS = 64, 6


def test_commands_run_beside_a_crowd_under_a_limit_of_64() -> None:
    """300 connections of one process that say who they are and no more: the commands of steps run, all at once."""
    config = "".join(
        f'[[watchdog]]\nname = "w{number}"\ntimeout = "1s"\n'
        'ladder = [{ do = "exec", command = ["sh", "-c", "sleep 0.3; echo $BANKEN_NAME >> @PLACE@/told"] }]\n'
        for number in range(COMMANDS)
    )
    with running(config, under=("sh", "-c", f'ulimit -n {LOW}; exec "$@"', "sh")) as one:
        one.home.start("raw", "crowd", 300).hear(60)
        summary = one.home.ask("summary")
        assert 8 <= summary["connections"] <= summary["connections_max"] < LOW
        with Control(one.address, 15.0) as control:
            for number in range(COMMANDS):
                feed = Message(Kind.FEED, f"w{number}", None, 0.0, Declaration(1.0, 60.0, 60.0))
                control.request("tell", frame=encode(feed))
        until(lambda: len(one.lines()) == COMMANDS, "all commands run", 20)
        assert "Too many open files" not in one.log.read_text()


def test_a_stop_convicts_nobody_whatever_the_senders_hold(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The senders' queues and the kernel's are full when the supervisor goes on: what is fed then counts."""
    monkeypatch.setattr("banken.client.sender.SEND_QUEUE_MAX", 10)
    supervisor = home.supervisor()
    events = home.events()
    senders = [Sender(resolve(home.address)) for _ in range(5)]
    frames = [
        encode(Message(Kind.FEED, f"w-{number}", None, 0.0, Declaration(1.0, 3600.0, 3600.0)))
        for number in range(len(senders))
    ]
    until(lambda: all(s.send(f) for s, f in zip(senders, frames, strict=True)), "all have connected")
    stopped_until = time.monotonic() + 2.0
    supervisor.signal(signal.SIGSTOP)
    while time.monotonic() < stopped_until:
        for sender, message in zip(senders, frames, strict=True):
            sender.send(message)
    supervisor.signal(signal.SIGCONT)
    feeding_until = time.monotonic() + 2.0
    while time.monotonic() < feeding_until:
        for sender, message in zip(senders, frames, strict=True):
            sender.send(message)
        time.sleep(0.05)
    assert events.convicted() == set()
    for sender in senders:
        sender.close()
