"""Who is connected: found by real sockets; and who gives way, as numbers go up."""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path

import pytest

from banken_supervisor.web.peers import (
    BURST,
    CLIENT_MAX,
    CLIENTS_MAX,
    KEPT,
    NOBODY,
    OPEN_MAX,
    RATE,
    Allowed,
    Connections,
    Peer,
    peer_of,
)


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_whose_connection_of_this_host_it_is(family: socket.AddressFamily, host: str) -> None:
    """By the kernel's word; a port alone gives no right."""
    with socket.socket(family) as listener:
        try:
            listener.bind((host, 0))
        except OSError:
            pytest.skip(f"this host has no {host}")
        listener.listen()
        with socket.create_connection(listener.getsockname()[:2]), listener.accept()[0] as connected:
            peer = peer_of(connected, NOBODY, os.geteuid())
        with socket.create_connection(listener.getsockname()[:2]):
            closed = listener.accept()[0]
        with closed:
            assert peer_of(closed, NOBODY, os.geteuid()).client == host, "nobody owns it any more, root does not"
    assert (peer.client, peer.is_local, peer.is_allowed) == (f"user {os.geteuid()}", False, False)


def test_whose_unix_connection_it_is(tmp_path: Path) -> None:
    """Its user and its groups count, and nobody else's."""
    uid = os.geteuid()
    ours, its = socket.socketpair(socket.AF_UNIX)
    with ours, its:
        for allowed, own, right in (
            (NOBODY, uid, True),
            (NOBODY, uid + 1, uid == 0),
            (Allowed(frozenset({uid})), uid + 1, True),
            (Allowed(groups=frozenset({os.getegid()})), uid + 1, True),
        ):
            peer = peer_of(ours, allowed, own)
            assert (peer.client, peer.is_local, peer.is_allowed) == (f"user {uid}", True, right)
    assert not Allowed(frozenset({7}), frozenset({8})).allows(9, frozenset({10}), 11)
    assert Allowed(frozenset({7})).allows(0, frozenset(), 11), "root"


class Crowd:
    """Connections, and which of them were cut."""

    def __init__(self, descriptors: int = 4096) -> None:
        self.open = Connections(descriptors)
        self.cut: list[Peer] = []
        self._descriptors = itertools.count()

    def come(self, client: str, count: int = 1) -> list[Peer]:
        """New ones."""
        found = []
        for _ in range(count):
            peer = Peer(client)
            peer.cut = lambda peer=peer: self.cut.append(peer)  # type: ignore[misc]
            self.open.add(peer, next(self._descriptors))
            found.append(peer)
        return found


def test_too_many_new_connections_that_bring_nothing_are_refused() -> None:
    """Of one client; those that bring an allowed request do not count, and with time others may come again."""
    crowd = Crowd()
    assert [crowd.open.admit("a", 0.0) for _ in range(int(BURST) + 5)].count(True) == BURST
    assert crowd.open.admit("b", 0.0)
    assert [crowd.open.admit("a", 1.0) for _ in range(int(RATE) + 5)].count(True) == RATE
    for _ in range(int(3 * BURST)):
        assert crowd.open.admit("c", 1.0)
        peer = crowd.come("c")[0]
        assert crowd.open.begin(peer, ping=True)
        crowd.open.end(peer, ping=True)
        crowd.open.remove(peer)
    for number in range(CLIENTS_MAX + 10):
        assert crowd.open.admit(f"many-{number}", 2.0)
    assert len(crowd.open._credit) <= CLIENTS_MAX


def test_one_clients_oldest_idle_connection_gives_way() -> None:
    """Not the one that serves, and nobody else's."""
    crowd = Crowd()
    other = crowd.come("b")
    first, second, *_ = crowd.come("a", CLIENT_MAX)
    assert crowd.cut == []
    assert crowd.open.begin(first, ping=True)
    crowd.come("a")
    assert crowd.cut == [second]
    crowd.open.remove(second)  # the connection is lost a moment later: counted once
    crowd.open.end(first, ping=True)
    crowd.come("a")
    assert crowd.cut == [second, first]
    assert other[0] not in crowd.cut


def test_the_client_with_the_most_gives_way_when_all_are_too_many() -> None:
    """The others' connections stay, however old; a new one of theirs finds a place."""
    crowd = Crowd()
    for client, count in (("a", CLIENT_MAX), ("b", CLIENT_MAX - 1), ("c", OPEN_MAX - 2 * CLIENT_MAX + 1)):
        crowd.come(client, count)
    assert crowd.cut == []
    crowd.come("d", 20)
    assert {peer.client for peer in crowd.cut} == {"a", "b"}
    assert len(crowd.cut) == 20


def test_what_serves_is_never_cut() -> None:
    """The newcomer is, where nothing else is left."""
    crowd = Crowd()
    for peer in crowd.come("a", CLIENT_MAX):
        assert crowd.open.begin(peer, ping=True)
    newcomer = crowd.come("a")
    assert crowd.cut == newcomer


def test_a_share_is_kept_for_pings() -> None:
    """Reading stops before the connections are used up, of one client and of all; it goes on when others end."""
    crowd = Crowd()
    begun = [(peer, crowd.open.begin(peer, ping=False)) for peer in crowd.come("a", CLIENT_MAX)]
    assert [right for _, right in begun].count(True) == CLIENT_MAX - KEPT
    assert crowd.open.begin(begun[-1][0], ping=True)
    assert crowd.open.begin(crowd.come("b")[0], ping=False)
    crowd.open.end(begun[0][0], ping=False)
    assert crowd.open.begin(begun[-2][0], ping=False)


@pytest.mark.parametrize(("descriptors", "most"), [(128, 64), (256, 192), (4096, OPEN_MAX), (32, 10)])
def test_few_descriptors_are_few_connections(descriptors: int, most: int) -> None:
    """So that ZeroMQ, which ends a process that has none left, keeps its own."""
    crowd = Crowd(descriptors)
    for client in range(100):
        crowd.come(str(client), 20)
    assert 2_000 - len(crowd.cut) == most
