"""For whom a process may speak: for itself, and for those that started it. Real processes, asked of the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from banken.process_identity import own_identity, process_space, process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.engine.effects import WatchProcess
from banken_supervisor.engine.states import State
from banken_supervisor.processes import peer_credentials
from banken_supervisor.processes.peer_credentials import NONCES_MAX, PeerCredentials
from engine_kit import BOB, Bench, told

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel does not say who has connected")

ME = own_identity()


@pytest.fixture
def peers() -> PeerCredentials:
    return PeerCredentials()


@pytest.fixture
def other() -> Iterator[ProcessIdentity]:
    """A process that this one has started, as it says who it is."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield identity(process.pid)
        process.kill()


def identity(pid: int, nonce: bytes = b"mine") -> ProcessIdentity:
    return ProcessIdentity(process_space(), pid, process_start(pid), nonce)


def test_what_a_process_says_of_itself_is_proved(peers: PeerCredentials) -> None:
    """Each copy of banken in it has a random part of its own; an invented one is nobody's."""
    assert not peers.is_proved(ME)
    peers.connected(ME.pid)
    assert not peers.is_proved(ME)
    copy = ME._replace(nonce=b"copy")
    for each in (ME, copy):
        assert peers.speaks_for(ME.pid, each)
    assert peers.is_proved(ME)
    assert peers.is_proved(copy)
    assert not peers.is_proved(ME._replace(nonce=b"liar"))
    assert not peers.is_proved(ME._replace(start=ME.start - 1))


def test_nobody_else_speaks_for_a_process_that_has_connected(
    peers: PeerCredentials, other: ProcessIdentity
) -> None:
    """Not with its own random part, nor with another one; nor the process that has started it."""
    for pid in (ME.pid, other.pid):
        peers.connected(pid)
    assert peers.speaks_for(other.pid, other)
    for forged in (other, other._replace(nonce=b"liar")):
        assert not peers.speaks_for(ME.pid, forged)
    assert not peers.is_proved(other._replace(nonce=b"liar"))
    with subprocess.Popen(["sleep", "60"]) as sibling:
        peers.connected(sibling.pid)
        assert not peers.speaks_for(sibling.pid, other)
        sibling.kill()
    assert not peers.speaks_for(sibling.pid, other)  # it has ended


def test_a_child_speaks_for_the_processes_above_it(peers: PeerCredentials, other: ProcessIdentity) -> None:
    """As a command in a script may do for the script. Its own child's child, too."""
    peers.connected(ME.pid)
    assert peers.speaks_for(other.pid, ME)
    assert peers.is_proved(ME)
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        grandchild = int(shell.stdout.readline())
        peers.connected(shell.pid)
        assert peers.speaks_for(grandchild, ME)
        assert peers.speaks_for(grandchild, identity(shell.pid))
        os.kill(grandchild, 9)


def test_what_never_connected_may_be_named_and_is_never_acted_upon(
    peers: PeerCredentials, other: ProcessIdentity
) -> None:
    """A relay speaks for the processes behind it. If one of them connects later, what was said before proves
    nothing."""
    assert peers.speaks_for(ME.pid, other)
    peers.connected(other.pid)
    assert not peers.is_proved(other)
    assert peers.speaks_for(other.pid, other._replace(nonce=b"true"))
    assert not peers.is_proved(other)
    assert peers.is_proved(other._replace(nonce=b"true"))


def test_a_program_is_not_spoken_for(peers: PeerCredentials, other: ProcessIdentity) -> None:
    peers.trust(other._replace(nonce=b""))
    assert peers.is_proved(other._replace(nonce=b""))
    assert not peers.speaks_for(ME.pid, other)
    assert not peers.is_proved(other)


def test_where_the_kernel_says_nothing_a_message_is_believed(peers: PeerCredentials) -> None:
    """A sender that is not known, a process of another host, one whose start is not known."""
    peers.connected(ME.pid)
    assert peers.speaks_for(0, ME)
    assert peers.speaks_for(ME.pid, BOB)
    peers.trust(BOB)
    assert peers.speaks_for(ME.pid, BOB)
    assert not peers.is_proved(ME)
    assert peers.speaks_for(ME.pid, ME._replace(start=0))
    assert not peers.is_proved(ME._replace(start=0))


def test_a_pid_that_is_used_again_is_another_process(peers: PeerCredentials, other: ProcessIdentity) -> None:
    former = other._replace(start=other.start - 5)
    peers.trust(former)
    peers.connected(other.pid)
    assert peers.speaks_for(other.pid, other)
    assert not peers.is_proved(former)
    assert peers.speaks_for(ME.pid, former)  # it has ended: nothing can be done to it
    assert not peers.is_proved(former)


def test_what_is_remembered_is_bounded(peers: PeerCredentials, monkeypatch: pytest.MonkeyPatch) -> None:
    peers.connected(ME.pid)
    for number in range(2 * NONCES_MAX):
        assert peers.speaks_for(ME.pid, ME._replace(nonce=number.to_bytes(4)))
    assert peers.is_proved(ME._replace(nonce=(2 * NONCES_MAX - 1).to_bytes(4)))
    assert not peers.is_proved(ME._replace(nonce=(NONCES_MAX - 1).to_bytes(4)))
    monkeypatch.setattr(peer_credentials, "PEERS_MAX", 10)
    for pid in range(10**7, 10**7 + 20):
        peers.trust(ME._replace(pid=pid))
    assert not peers.is_proved(ME)
    assert len(peers._peers) == 10


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after waiting"])
def test_what_it_may_not_say_counts_as_nobodys_and_is_told(waits: bool) -> None:
    """The watchdog is fed, and no process is watched, owned or released for it. Who may say so does."""
    bench = Bench()
    bench.engine.admission.speaks_for = lambda pid, process: pid == process.pid
    bench.engine.waiting.speaker = lambda: 300
    bench.engine.waiting.at_once = 0 if waits else 100
    bench.feed("lie", who=BOB)
    bench.engine.take_waiting(bench.now, bench.out)
    record = bench.engine.get("lie")
    assert record is not None
    assert (record.state, record.owner) == (State.ALIVE, None)
    assert not [each for each in bench.out if isinstance(each, WatchProcess)]
    (refused,) = told(bench, "refused")
    assert refused["reason"] == "identity"
    assert "process 300 named process 200 as its own" in refused["text"]
    bench.engine.waiting.speaker = lambda: 200
    bench.feed("lie", who=BOB)
    bench.engine.take_waiting(bench.now, bench.out)
    assert record.owner == BOB
