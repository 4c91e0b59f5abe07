"""What one connection sends in a mass is read over several turns; a file system that hangs holds nobody up."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from banken.address import resolve
from banken.control import Control, Events
from banken.errors import RequestFailed
from banken.process_identity import boot_id
from banken.protocol.codec import VERSION, encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor import Supervisor
from banken_supervisor.engine.policy import ProgramSpec
from banken_supervisor.runtime import address_monitor
from process.kit import Home, until
from process.ladder_kit import House

pytestmark = pytest.mark.process

PARTS = 100_000
TURN_MAX = 1.5
"""Seconds of the slowest turn, on a busy machine; all parts in one took four."""

HOURS = Declaration(3600.0, 3600.0, 3600.0)


@contextmanager
def _socket(kind: int, endpoint: str) -> Iterator[zmq.Socket[bytes]]:
    context: zmq.Context[Any] = zmq.Context()
    try:
        with context.socket(kind) as ours:
            ours.setsockopt(zmq.LINGER, 2000)
            ours.setsockopt(zmq.SNDHWM, 0)
            ours.connect(endpoint)
            yield ours
    finally:
        context.term()


def test_a_request_of_very_many_parts_holds_no_turn_and_nothing_gets_out_of_step(home: Home) -> None:
    """It is read a part at a time and refused once; requests before and behind it have their own replies."""
    home.supervisor()
    with _socket(zmq.DEALER, resolve(home.address).control) as dealer:
        dealer.send(msgpack.packb([VERSION, 1, "ping", {}]))
        dealer.send_multipart([b""] * PARTS)
        dealer.send_multipart([msgpack.packb([VERSION, 2, "ping", {}])] * 2500)
        dealer.send(msgpack.packb([VERSION, 3, "ping", {}]))
        replies = []
        for _ in range(4):
            assert dealer.poll(20_000)
            replies.append(msgpack.unpackb(dealer.recv())[1:3])
        assert replies == [[1, True], [None, False], [None, False], [3, True]]
        assert not dealer.poll(100)
    assert home.ask("summary")["slowest_turn"] < TURN_MAX


def test_others_are_heard_while_many_subscribe(home: Home) -> None:
    """A hundred thousand subscriptions are read over many turns; a verdict meanwhile comes in time."""
    home.supervisor()
    with _socket(zmq.XSUB, resolve(home.address).events) as sub:
        for number in range(PARTS):
            sub.send(b"\x01w-%d\0" % number)
        frame = encode(Message(Kind.FEED, "other", None, 0.0, Declaration(0.5, 0.5, 0.5)))
        home.ask("tell", frame=frame)
        began = time.monotonic()
        until(lambda: home.row("other")["state"] == "expired", "the verdict falls", 10.0)
        took, summary = time.monotonic() - began, home.ask("summary")
        assert took < 0.5 + 2.0 + summary["lost"]
        assert summary["slowest_turn"] < TURN_MAX
        with Events(home.address, ["late"]) as events:
            until(lambda: events.next(0.05) or _again(home, "late"), "a later subscription is heard, too")


def _again(home: Home, name: str) -> None:
    for kind in (Kind.DECLARE, Kind.RELEASE):
        home.ask("tell", frame=encode(Message(kind, name, None, 0.0, HOURS)))


def test_an_asker_that_does_not_read_costs_a_bounded_number_of_bytes(home: Home) -> None:
    """Long rows: one reply ends at a bound and says where it goes on; all of them are had in order."""
    home.supervisor()
    for number in range(400):
        note = encode(Message(Kind.NOTE, f"w-{number:03}", None, 0.0, HOURS, (None, "é" * 1024)))
        fail = encode(Message(Kind.FAIL, f"w-{number:03}", None, 0.0, HOURS, ("é" * 4096,)))
        for frame in (note, fail):
            home.ask("tell", frame=frame)
    offset: int | None = 0
    names: list[str] = []
    with _socket(zmq.DEALER, resolve(home.address).control) as dealer:
        while offset is not None:
            dealer.send(msgpack.packb([VERSION, 1, "status", {"offset": offset}]))
            assert dealer.poll(10_000)
            raw = dealer.recv()
            assert len(raw) < 2_000_000
            reply = msgpack.unpackb(raw)[3]
            names += [row["name"] for row in reply["rows"]]
            offset = reply["next"]
    assert names == [f"w-{number:03}" for number in range(400)]


def test_one_odd_request_or_feed_does_not_end_banken_run(house: House) -> None:
    """The two that ended it: an offset near 2⁶³, and a process number that no process has."""
    house.run('[[watchdog]]\nname = "quiet"\ntimeout = "1s"\ngrace = "1s"\nexpect = true\n')
    with Control(house.address, 10.0) as control:
        for op in ("status", "suggest"):
            for offset in (2**63 - 20_000, 2**63 - 1, 2**64 - 1, -1):
                with pytest.raises(RequestFailed, match=f"offset must be an integer from 0 to .*, not {offset}"):
                    control.request(op, offset=offset)
        who = ProcessIdentity(boot_id(), 2**31, 1, b"abcd")
        with _socket(zmq.PUSH, resolve(house.address).feed) as push:
            push.send(encode(Message(Kind.FEED, "odd", who, 0.0, HOURS)))
        until(lambda: house.row("odd").get("state") == "alive", "it is taken")
        until(lambda: house.row("quiet")["state"] == "expired", "another one is judged", 10.0)
        assert control.request("summary")["internal_errors"] == {}
    assert house.run_by.running()


def test_a_file_system_that_hangs_stops_no_verdict(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every look at the address and at logs of programs blocks, on whatever thread: the loop is none of them."""
    monkeypatch.setattr(address_monitor, "CHECK_EVERY_S", 0.05)
    hanging, free = threading.Event(), threading.Event()
    blocked: list[str] = []

    def block(name: str) -> None:
        whole = getattr(os, name)

        def looking(path: Any, *args: Any, **kwargs: Any) -> Any:
            there = isinstance(path, str) and path.startswith((os.path.dirname(address), str(tmp_path)))
            if hanging.is_set() and there:
                blocked.append(threading.current_thread().name)
                free.wait(30.0)
            return whole(path, *args, **kwargs)

        monkeypatch.setattr(os, name, looking)

    for name in ("stat", "lstat", "readlink", "open", "listdir", "unlink", "replace", "mkdir"):
        block(name)
    supervisor = Supervisor(address)
    try:
        with supervisor:
            with Control(address, 10.0) as control:
                control.request("ping")
                hanging.set()
                until(lambda: blocked, "the address is looked at")
                assert supervisor._loop is not None
                logs = supervisor._loop.programs.manager._logs
                kept = threading.Event()

                def keep() -> None:
                    logs.keep(ProgramSpec("p", ("true",), log=str(tmp_path / "log")))
                    kept.set()

                supervisor._mailbox.post(keep)
                assert kept.wait(5.0), "a program's log is taken on by the loop without a look at it"
                until(lambda: any("program" in name for name in blocked), "its thread looks")
                frame = encode(Message(Kind.FEED, "w", None, 0.0, Declaration(0.3, 0.3, 0.3)))
                control.request("tell", frame=frame)
                until(lambda: control.request("status", name="w")["rows"][0]["state"] == "expired", "judged")
                assert control.request("summary")["slowest_turn"] < 5.0  # what hangs, hangs for 30 s
                assert "banken-supervisor" not in blocked
            hanging.clear()
            free.set()
    finally:
        free.set()
        supervisor._mailbox.close()
