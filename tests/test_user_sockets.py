"""Feed sockets of other users beside the address: read, probed and bound again like the first one."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from banken.address import Address, directory_of_user, resolve
from banken.client.sender import Sender
from banken.control import Control, Events
from banken.errors import AddressRefused
from banken.process_identity import own_identity
from banken_supervisor.engine.policy import Quotas
from banken_supervisor.engine.principal import OtherUser, Principal
from banken_supervisor.engine.waiting import Waiting
from banken_supervisor.files.users import find_user
from banken_supervisor.processes.handle import runs_as
from banken_supervisor.runtime.lock import AddressLock
from banken_supervisor.runtime.user_feeds import UserFeeds
from banken_supervisor.sources.connections import Door
from banken_supervisor.sources.sockets import FEEDS, Sockets

ME = OtherUser(os.geteuid(), {}.get, lambda process: False)


def end(address: str) -> Address:
    return resolve(directory_of_user(address, ME.uid))


def bound(sockets: Sockets) -> Door:
    door = sockets.bind_for(ME)
    assert door is not None
    return door


@contextmanager
def sending(*addresses: Address) -> Iterator[list[Sender]]:
    """Senders that connect as soon as the sockets are read."""
    senders = [Sender(each) for each in addresses]
    for each in senders:
        each.send(b"nobody reads this yet")
    yield senders
    for each in senders:
        each.close()


def drained(sockets: Sockets, count: int) -> list[tuple[bytes, object]]:
    """The next messages, each with who sent it."""
    found: list[tuple[bytes, object]] = []
    read: Callable[..., None] = lambda frames, who: found.extend((frame, who) for frame in frames)  # noqa: E731
    until = time.monotonic() + 10
    while len(found) < count and time.monotonic() < until:
        if sockets.wait(0.1) is FEEDS:
            sockets.drain(read, 1000, 1.0, lambda fault: None)
    return found


def test_who_connects_before_the_loop_reads_it_waits(sockets: Sockets, address: str) -> None:
    """And what it sends comes with its principal, beside the messages of the first socket."""
    door = bound(sockets)
    assert sockets.bind_for(ME) is None
    with sending(end(address), resolve(address)) as (theirs, ours):
        assert drained(sockets, 0) == []
        assert not theirs.reachable()
        sockets.read(door)
        assert sent(sockets, theirs, b"theirs") == [(b"theirs", ME)]
        assert sent(sockets, ours, b"ours") == [(b"ours", Principal.LOCAL)]


def sent(sockets: Sockets, sender: Sender, message: bytes) -> list[tuple[bytes, object]]:
    """What comes of one message."""
    until = time.monotonic() + 10
    while not sender.reachable() and time.monotonic() < until:
        sockets.wait(0.01)
        sockets.drain(lambda frames, who: None, 1000, 1.0, lambda fault: None)
    assert sender.send(message)
    return drained(sockets, 1)


def test_the_barrier_passes_when_all_is_read_that_came_before(sockets: Sockets, address: str) -> None:
    """At every socket; and at once where nothing has come."""
    sockets.send_barrier(b"one")
    assert drained(sockets, 1) == [(b"one", Principal.LOCAL)]
    sockets.read(bound(sockets))
    with sending(resolve(address), end(address)) as senders:
        for each in senders:
            sent(sockets, each, b"first")
        for each in senders:
            assert each.send(b"before")
            each.wait_left(10.0)
        sockets.send_barrier(b"two")
        found = [frame for frame, _ in drained(sockets, 3)]
    assert sorted(found) == [b"before", b"before", b"two"]
    assert found[-1] == b"two"


def test_who_always_has_more_takes_no_turn_from_another(sockets: Sockets, address: str) -> None:
    """One portion of it, then the other."""
    sockets.read(bound(sockets))
    with sending(resolve(address), end(address)) as (sender, other):
        for each in (sender, other):
            sent(sockets, each, b"first")
        for _ in range(500):
            assert sender.send(bytes(100), 5.0, insist=True)
        assert other.send(b"other")
        for each in (sender, other):
            each.wait_left(10.0)
        time.sleep(0.2)
        found: list[bytes] = []
        count, complete = sockets.drain(lambda frames, who: found.extend(frames), 10, 1.0, lambda fault: None)
        assert count < 100
        assert complete or b"other" not in found
        found.extend(frame for frame, _ in drained(sockets, 501 - count))
    assert found.count(b"other") == 1
    assert found.index(b"other") < 100
    assert len(found) == 501


def test_a_user_is_served_once(sockets: Sockets) -> None:
    posted: list[Callable[[], None]] = []
    feeds = UserFeeds(sockets, posted.append, {}.get, lambda process: None)
    for _ in range(2):
        assert feeds.serve(os.geteuid()) is None
    assert len(posted) == 1


def test_only_a_living_process_of_the_user_is_its_own() -> None:
    """By its real user, start and boot; and what is its own may be signalled."""
    mine = own_identity()
    assert runs_as(mine, os.getuid())
    assert not runs_as(mine, os.getuid() + 1)
    assert not runs_as(mine._replace(start=mine.start + 1), os.getuid())
    assert not runs_as(mine._replace(pid=2**22 + 1), os.getuid())


def test_a_place_that_is_not_the_supervisors_own_is_not_used(sockets: Sockets, address: str) -> None:
    """A link or a file in place of a directory: refused, and nothing behind it is changed."""
    aside = Path(address + "-aside")
    aside.mkdir(mode=0o755)
    Path(address + ".users").symlink_to(aside)
    with pytest.raises(FileExistsError, match=r"remove it: .*\.users'$"):
        sockets.bind_for(ME)
    assert not list(aside.iterdir())
    Path(address + ".users").unlink()
    assert bound(sockets).principal is ME


def test_only_feeds_are_at_such_an_address(address: str) -> None:
    """Commands, events and supervisors are refused there at once, with the place to go to."""
    there = directory_of_user(address, 33)
    for refused in (Control, Events, AddressLock):
        with pytest.raises(AddressRefused, match=address):
            refused(there)
    assert resolve(there).main == address
    for other in (f"{address}/users/33", f"{address}.users/x", "/x/.users/33", f"{address}.users"):
        assert resolve(other).main is None


def test_a_user_is_found_by_name_and_number() -> None:
    assert find_user("root").pw_uid == find_user("0").pw_uid == 0
    for unknown in ("no-such-user", "4294967294999", "-1", "", "a\0b", "4123456789"):
        with pytest.raises(LookupError):
            find_user(unknown)


def test_what_is_refused_is_no_garbage(sockets: Sockets) -> None:
    """Of a banken client, whose feeds of other names stand behind it: it is read as fast as before."""
    refused = Counter({"contest": 1_000, "not-owner": 1_000, "flood": 1_000})
    sockets.queue_in(Waiting(Quotas()), refused)
    assert sockets.listener.garbage() == 0
    refused.update(garbage=2, shape=1)
    assert sockets.listener.garbage() == 3
