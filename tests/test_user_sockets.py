"""Feed sockets of other users beside the address: read, probed and bound again like the first one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from banken.address import Address, directory_of_user, resolve
from banken.client.sender import Sender
from banken.control import Control, Events
from banken.errors import AddressRefused
from banken.process_identity import own_identity
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.principal import OtherUser, Principal
from banken_supervisor.engine.rules import Rules
from banken_supervisor.files.users import find_user
from banken_supervisor.processes.handle import runs_as
from banken_supervisor.runtime.lock import AddressLock
from banken_supervisor.runtime.user_feeds import UserFeeds
from banken_supervisor.sources.zmq_feeds import FeedSource
from banken_supervisor.sources.zmq_sockets import FEEDS, Sockets

ME = OtherUser(os.geteuid(), {}.get, lambda process: False)


@pytest.fixture
def sockets(address: str) -> Iterator[Sockets]:
    os.mkdir(address, 0o700)
    reader, writer = os.pipe()
    made = Sockets(resolve(address), reader)
    yield made
    made.close()
    os.close(reader)
    os.close(writer)


def end(address: str) -> Address:
    return resolve(directory_of_user(address, ME.uid))


def bound(sockets: Sockets) -> FeedSource:
    source = sockets.bind_for(ME)
    assert source is not None
    return source


def drained(sockets: Sockets, count: int) -> list[tuple[bytes, object]]:
    """The next messages, each with who sent it."""
    found: list[tuple[bytes, object]] = []
    read: Callable[..., None] = lambda frames, who: found.extend((frame, who) for frame in frames)  # noqa: E731
    until = time.monotonic() + 10
    while len(found) < count and time.monotonic() < until:
        if sockets.wait(0.1) is FEEDS:
            sockets.drain(read, 1000, 1.0, lambda fault: None)
    return found


def test_what_is_sent_before_the_loop_reads_it_waits(sockets: Sockets, address: str) -> None:
    """And it comes with its principal, beside the messages of the first socket."""
    source = bound(sockets)
    assert sockets.bind_for(ME) is None
    theirs, ours = Sender(end(address)), Sender(resolve(address))
    assert theirs.send(b"theirs", 5.0, insist=True)
    sockets.read(source)
    assert ours.send(b"ours", 5.0, insist=True)
    assert set(drained(sockets, 2)) == {(b"theirs", ME), (b"ours", Principal.LOCAL)}
    theirs.close()
    ours.close()


def test_a_probe_passes_every_socket_that_is_read(sockets: Sockets) -> None:
    sockets.send_barrier(b"one")
    assert drained(sockets, 1) == [(b"one", Principal.LOCAL)]
    sockets.read(bound(sockets))
    assert sockets.feed_sockets == 2
    sockets.send_barrier(b"two")
    assert set(drained(sockets, 2)) == {(b"two", Principal.LOCAL), (b"two", ME)}


def test_a_full_socket_takes_no_turn_from_another_and_the_turn_is_not_complete(
    sockets: Sockets, address: str
) -> None:
    """One that always has more does not keep the others from being read."""
    sockets.read(bound(sockets))
    sender, other = Sender(resolve(address)), Sender(end(address))
    for number in range(500):
        assert sender.send(b"%d" % number, 5.0, insist=True)
    assert other.send(b"other", 5.0, insist=True)
    time.sleep(0.2)
    found: list[bytes] = []
    count, complete = sockets.drain(lambda frames, who: found.extend(frames), 100, 1.0, lambda fault: None)
    assert (count, complete) == (51, False)
    assert found[-1] == b"other"
    sender.close()
    other.close()


def test_a_user_is_served_once_and_the_next_probe_waits_for_its_socket(sockets: Sockets, address: str) -> None:
    driver, posted = Driver(Engine(Rules(None), "run"), 0.0), list[Callable[[], None]]()
    feeds = UserFeeds(sockets, driver, posted.append, {}.get, lambda process: None)
    for _ in range(2):
        assert feeds.serve(os.geteuid()) is None
    assert driver.barrier.sockets == 1
    for each in posted:
        each()
    assert (len(posted), driver.barrier.sockets) == (1, 2)


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
