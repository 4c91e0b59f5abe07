"""A supervisor that listens for other hosts: who gets in, what each key may do, and what does not exist for them.

One supervisor in this process, on loopback; each test has names and keys of its own.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zmq

from banken.client import Client
from banken.control import Control, Events
from banken.errors import AddressRefused, KeyRefused, RequestFailed, Unreachable
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.config.faults import ConfigFaults
from banken_supervisor.control.control_api import OPS
from banken_supervisor.control.key_rights import READS
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.keys import access
from banken_supervisor.keys.directory import KeyDirectory
from banken_supervisor.runtime.supervisor import Supervisor
from banken_supervisor.sources.tcp_connections import connection_of
from banken_supervisor.sources.tcp_feeds import reachable
from banken_supervisor.sources.zap import KeyGate
from hosts_kit import Host, free_ports, running_host
from recovery_kit import until


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with running_host() as made:
        yield made


def start(supervisor: Supervisor) -> None:
    """Which cannot be; it might be tried again."""
    try:
        supervisor.start_in_thread()
    finally:
        supervisor._mailbox.close()


def fed(client: Client, name: str, condition: Callable[[], Any], what: str, timeout: float = 60.0) -> Any:
    """Feed until the condition holds; each feed is sent."""
    handle = client.watchdog(name, timeout, resolution=0)

    def once() -> Any:
        handle.feed()
        return condition()

    return until(once, what)


def all_read(host: Host) -> int:
    """How many messages it has read, when what earlier tests have sent has been."""

    counts = [-1]

    def is_quiet() -> bool:
        time.sleep(0.2)
        counts.append(host.ask("summary")["messages"])
        return counts[-1] == counts[-2]

    until(is_quiet, "nothing more arrives")
    return counts[-1]


def test_a_key_feeds_its_names_and_no_other(host: Host) -> None:
    before = host.refused("key")
    with host.client(host.key("a", "a-*")) as client:
        row = fed(client, "a-1", lambda: host.row("a-1"), "it is watched")
        assert (row["state"], row["key"], row["host"]) == ("alive", "a", "127.0.0.1")
        key = next(each for each in host.ask("keys")["rows"] if each["name"] == "a")
        assert (key["control"], key["hosts"]) == ("none", ["127.0.0.1"])
        assert 0.0 <= key["seen"] < 60.0
        fed(client, "b-1", lambda: host.refused("key") > before, "it is refused")
        assert host.row("b-1") is None
        assert "key" not in host.ask("look", names=["a-1"], feeds=True)["gone"]


def test_a_frame_of_another_key_counts_nothing(host: Host) -> None:
    """The very bytes that the other one sends."""
    one, two = host.key("c", "c-*"), host.key("d", "d-*")
    with host.client(one) as client:
        fed(client, "c-1", lambda: host.row("c-1"), "it is watched")
        silence = host.row("c-1")["silence"]  # type: ignore[index]
    before = host.refused("key")
    with host.client(two) as other:
        other._deliver(encode(Message(Kind.FEED, "c-1", None, 0.0, None)), 2.0)
        until(lambda: host.refused("key") > before, "it is refused")
    assert host.row("c-1")["silence"] >= silence  # type: ignore[index]


def test_silence_is_noticed_and_what_needs_the_process_is_left_out(host: Host) -> None:
    """A worker's own callback runs there, with no more rights than to feed; a pid of another host is never looked
    at here, even if there is such a process."""
    steps = Ladder((Step("dump"), Step("signal", options=(("signal", "SIGKILL"),)), Step("log")))
    host.supervisor.policy("e-1", Policy(Declaration(0.4, 60.0, 60.0), steps))
    called: list[str] = []
    path = host.key("e")
    host.keys.allow("e", ["e-*"], None)
    host.reload()
    with host.client(path) as client, Events(host.here, ["e-1"]) as events:
        handle = client.watchdog("e-1", resolution=0, callback=lambda incident: called.append(incident.name))
        until(lambda: handle.feed() or (host.row("e-1") or {}).get("state") == "alive", "it is fed")
        found = []
        while len(found) < 3 and (event := events.next(10.0)) is not None:
            found += [event] if event["type"].startswith("action-") else []
        assert [(each["type"], each["do"]) for each in found] == [
            ("action-skipped", "dump"), ("action-skipped", "signal"), ("action-done", "log"),
        ]  # fmt: skip
        assert found[0]["text"] == "its process is on another host"
        until(lambda: called, "its callback has run")
        row = host.row("e-1")
        assert row is not None
        assert row["incident"]["cause"] == "timeout"
    assert host.ask("summary")["probes_lost"] == 0


@pytest.mark.parametrize("control", [each for each in access.Control if each != "member"])
def test_what_may_be_asked_is_said_by_the_key(host: Host, control: access.Control) -> None:
    path = host.key(f"ask-{control}", control=control)
    with Control(host.address, 10.0, key=path) as asked:
        for op, may in (("summary", control != "none"), ("reload", control == "full")):
            if may:
                assert asked.request(op)
            else:
                says = rf"'{op}' is not allowed with this key: its `control` in access.toml is '{control}'"
                with pytest.raises(RequestFailed, match=says):
                    asked.request(op)


def test_what_read_allows_are_requests_that_there_are() -> None:
    assert OPS.keys() > READS
    assert not READS & {"tell", "program", "reload", "stop"}


def test_events_are_heard_of_names_that_the_key_may_feed(host: Host) -> None:
    """With `read` of all. Who may not hear one is refused, and told."""
    own, all_ = host.key("f", "f-*"), host.key("g", control=access.Control.READ)
    before = host.refused("key")
    with (
        Events(host.address, ["f-1", "h-1"], key=own) as mine,
        Events(host.address, key=own) as every,
        Events(host.address, key=all_) as theirs,
        closing(Client(host.here, release_at_exit=False)) as client,
    ):
        until(lambda: host.refused("key") >= before + 2, "both are refused")
        for name in ("h-1", "f-1"):
            client.watchdog(name, 60.0, resolution=0)
        assert (mine.next(10.0) or {}).get("name") == "f-1"
        heard = []
        while not {"h-1", "f-1"} <= set(heard) and (event := theirs.next(10.0)) is not None:
            heard.append(event.get("name"))
        assert {"h-1", "f-1"} <= set(heard)
        assert every.next(0.0) is None


def test_a_revoked_key_is_refused_from_its_next_message_on(host: Host) -> None:
    """On its open connection, which is ended; its events and its requests, too. Others are back at once."""
    gone, stays = host.key("i"), host.key("j", control=access.Control.READ)
    with (
        host.client(gone) as client,
        Control(host.address, 10.0, key=stays) as asked,
        Events(host.address, ["j"], key=stays) as events,
        Events(host.address, ["i"], key=gone) as former,
    ):
        fed(client, "i", lambda: host.row("i"), "it is watched")
        until(lambda: client.fail("i", "x") and former.next(0.1), "it hears")
        fed(client, "i", lambda: host.row("i")["state"] == "alive", "it is fed again")  # type: ignore[index]
        before = host.refused("denied")
        host.keys.revoke("i")
        host.reload()
        client.fail("i", "not any more")
        until(lambda: host.refused("revoked"), "its message is refused")
        assert host.row("i")["state"] == "alive"  # type: ignore[index]
        until(lambda: host.refused("denied") > before, "it does not come in again")
        until(lambda: asked.request("ping"), "another one asks")
        with closing(Client(host.here, release_at_exit=False)) as local:
            until(lambda: local.fail("j", "x") and events.next(0.1), "another one hears")
            while former.next(0.0) is not None:
                pass
            assert local.fail("i", "not for it")
            until(lambda: host.row("i")["state"] == "expired", "there is something to hear")  # type: ignore[index]
            assert former.next(0.2) is None


def test_who_was_denied_comes_in_when_it_is_allowed(host: Host) -> None:
    before = host.refused("denied")
    with host.client(host.key("k", allow=False)) as client:
        fed(client, "k", lambda: host.refused("denied") > before, "it is denied")
        denied = host.ask("keys")["denied"][-1]
        assert (denied["host"], denied["key"]) == ("127.0.0.1", host.keys.public("k").key.decode())
        assert host.row("k") is None
        host.keys.allow("k", ["k"], None)
        host.reload()
        fed(client, "k", lambda: host.row("k"), "it is let in")


def test_a_number_that_is_no_connections_by_now_costs_no_descriptor() -> None:
    """What waits of a connection that has ended has its number still, which may be a file's by then."""
    with open("/dev/null") as file:
        before = {*os.listdir("/proc/self/fd")}  # of which others may be closed meanwhile
        for number in (file.fileno(), 1_000_000):
            with pytest.raises(OSError, match="socket|descriptor"):
                connection_of(number)
        assert {*os.listdir("/proc/self/fd")} <= before


@pytest.mark.parametrize("strange", ["http", "NULL", "PLAIN", "half a handshake"])
def test_what_has_no_key_says_nothing(host: Host, strange: str) -> None:
    """On none of the three ports; and the supervisor goes on."""
    port = int(host.address.rpartition(":")[2])
    messages = all_read(host)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.linger = 0
    peers: list[Any] = []
    feed = encode(Message(Kind.FEED, "strange", None, 0.0, None))
    for step, kind in enumerate((zmq.PUSH, zmq.DEALER, zmq.SUB)):
        if strange in ("NULL", "PLAIN"):
            peer = context.socket(kind)
            if strange == "PLAIN":
                peer.plain_username, peer.plain_password = b"a", b"b"
            peer.connect(f"tcp://127.0.0.1:{port + step}")
            if kind == zmq.SUB:
                peer.setsockopt(zmq.SUBSCRIBE, b"")
            else:
                peer.send(feed)
        else:
            peer = socket.create_connection(("127.0.0.1", port + step))
            said = (
                b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\n" + feed if strange == "http" else b"\xff" + bytes(8)
            )
            peer.sendall(said)
        peers.append(peer)
    time.sleep(0.1)
    assert host.ask("summary")["messages"] == messages
    assert host.row("strange") is None
    for peer in peers:
        peer.close()
    context.term()


def test_a_file_that_is_gone_or_wrong_lets_in_who_was_let_in(host: Host) -> None:
    """It is told, and the old rights stay."""
    with host.client(host.key("m")) as client:
        text = host.keys.access_file.read_text()
        try:
            host.keys.access_file.unlink()
            assert "access.toml is gone: the" in host.reload(ok=False)
            host.keys.access_file.write_text('[[key]]\nname = "m"\n')
            assert "access.toml:1: key[0].public: " in host.reload(ok=False)
            fed(client, "m", lambda: host.row("m"), "it is heard")
        finally:
            host.keys.access_file.write_text(text)
        host.reload()


@pytest.mark.parametrize("sabotage", ["lets all in", "lets nobody in", "hangs"])
def test_it_does_not_start_unless_its_handler_does_its_work(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, sabotage: str
) -> None:
    answer = KeyGate._answer

    def wrong(gate: KeyGate, request: list[bytes]) -> None:
        if sabotage == "hangs":
            return
        gate.allowed = {zmq.utils.z85.encode(request[-1])} if sabotage == "lets all in" else set()
        answer(gate, request)

    monkeypatch.setattr(KeyGate, "_answer", wrong)
    monkeypatch.setattr("banken_supervisor.sources.zap.PROVE_S", 0.5)
    keys = KeyDirectory(tmp_path)
    keys.new("watch", server=True)
    supervisor = Supervisor(address, listen=[f"tcp://127.0.0.1:{free_ports()}"], keys=tmp_path)
    what = (
        "a key that nobody knows was let in" if sabotage == "lets all in" else "own key was not let in within 0.5 s"
    )
    with pytest.raises(KeyRefused, match=f"nothing listens for other hosts: .*{what}"):
        start(supervisor)


def test_without_keys_it_listens_nowhere(tmp_path: Path, address: str) -> None:
    """On loopback neither. What to do is said."""
    far = "tcp://127.0.0.1:7767"
    with pytest.raises(
        AddressRefused, match=r"for workers of other hosts, too, let it listen there: .*--listen tcp://"
    ):
        Supervisor(far)
    for given, says in (([address], "a directory is its --address"), ([far, far], "stands there twice")):
        with pytest.raises(AddressRefused, match=says):
            Supervisor(address, listen=given)
    keys = KeyDirectory(tmp_path)
    with pytest.raises(
        KeyRefused, match="exactly one key of a server, and has: none; `banken keys new NAME --server`"
    ):
        start(Supervisor(address, listen=[far], keys=tmp_path))
    keys.new("watch", server=True)
    keys.access_file.write_text("[[key]]\n")
    with pytest.raises(ConfigFaults):
        start(Supervisor(address, listen=[far], keys=tmp_path))


def test_a_port_that_is_taken_is_said(tmp_path: Path, host: Host, address: str) -> None:
    """All is given back: without it the same address is free."""
    KeyDirectory(tmp_path).new("watch", server=True)
    with pytest.raises(zmq.ZMQError, match="Address already in use"):
        start(Supervisor(address, listen=[host.address], keys=tmp_path))
    with Supervisor(address), Control(address, 10.0) as control:
        assert control.request("ping")


@pytest.mark.parametrize(
    ("bound", "reached"),
    [
        ("tcp://[::ffff:0.0.0.0]:1", "tcp://127.0.0.1:1"),
        ("tcp://0.0.0.0:1", "tcp://127.0.0.1:1"),
        ("tcp://[::]:1", "tcp://127.0.0.1:1"),
        ("tcp://[::ffff:10.0.0.1]:1", "tcp://[::ffff:10.0.0.1]:1"),
        ("tcp://[2001:db8::1]:1", "tcp://[2001:db8::1]:1"),
    ],
)
def test_the_supervisor_reaches_its_own_port(bound: str, reached: str) -> None:
    """By which it proves that all feeds have been read."""
    assert reachable(bound) == reached


def test_several_supervisors_are_asked_in_turn(host: Host, tmp_path: Path) -> None:
    """A request goes to one that is there, events come from each."""
    path = host.key("n", control=access.Control.READ)
    down = f"tcp://127.0.0.1:{free_ports()}"
    public = host.keys.server().key.decode()
    path.write_text(path.read_text() + f'"{down}" = "{public}"\n')
    with (
        Control(f"{down},{host.address}", 10.0, key=path) as control,
        Events(f"{down},{host.address}", key=path) as events,
    ):
        assert control.request("ping")
        assert control.address.text == host.address
        with closing(Client(host.here, release_at_exit=False)) as client:
            until(lambda: client.fail("n", "x") and events.next(0.1), "an event comes")
    with (
        Control(down, 0.1, key=path) as control,
        pytest.raises(Unreachable, match=f"no supervisor answers at {down}"),
    ):
        control.request("ping")


FLOOD = """
import sys, zmq
from banken import tcp
from banken.address import resolve
from banken.protocol.codec import encode
from banken.protocol.messages import Kind, Message
socket = zmq.Context().socket(zmq.PUSH)
address = resolve(sys.argv[1])
tcp.prepare(socket, address, tcp.given_key(sys.argv[2]))
socket.connect(address.feed)
frames = [encode(Message(Kind.NOTE, "flood", None, 0.0, None, (number, "x" * 200))) for number in range(1000)]
print("begins", flush=True)
while True:
    for frame in frames:
        socket.send(frame)
"""


def test_who_sends_more_than_can_be_read_is_cut_off_again_and_again(host: Host) -> None:
    """And told; another key's feeds are read meanwhile."""
    before = host.refused("flood")
    other = host.key("calm")
    key = host.key("flood")
    with subprocess.Popen([sys.executable, "-c", FLOOD, host.address, str(key)], stdout=subprocess.PIPE) as process:
        try:
            until(lambda: host.refused("flood") > before, "it is cut off", 30.0)
            with host.client(other) as client:
                fed(client, "calm", lambda: host.row("calm"), "the other is heard")
            until(lambda: host.refused("flood") > before + 1, "and once more", 30.0)
        finally:
            process.kill()
