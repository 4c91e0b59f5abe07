"""Processes whose end is watched, while there are descriptors for it and while there are none."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from banken.process_identity import boot_id, process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes import descriptor_limit
from banken_supervisor.processes.process_watcher import ProcessWatcher
from recovery_kit import until

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


@pytest.fixture
def sleepers() -> Iterator[list[ProcessIdentity]]:
    """Five processes that wait."""
    pids = []
    for _ in range(5):
        pid = os.fork()
        if not pid:
            signal.pause()
            os._exit(0)
        pids.append(pid)
    yield [ProcessIdentity(boot_id(), pid, process_start(pid), b"1234") for pid in pids]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture
def watcher() -> Iterator[ProcessWatcher]:
    one = ProcessWatcher()
    yield one
    one.close()


@contextmanager
def no_descriptor() -> Iterator[None]:
    """This process may open none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def end(who: ProcessIdentity) -> None:
    """It is a zombie afterwards: its pid stays its own."""
    os.kill(who.pid, signal.SIGKILL)
    os.waitid(os.P_PID, who.pid, os.WEXITED | os.WNOWAIT)


def test_without_a_descriptor_it_is_unseen_and_seen_again_later(
    watcher: ProcessWatcher, sleepers: list[ProcessIdentity]
) -> None:
    """One that has ended meanwhile is found then, one that is not wanted any more is forgotten."""
    living, ended, forgotten = sleepers[:3]
    with no_descriptor():
        assert not any(map(watcher.watch, (living, ended, forgotten)))
        assert watcher.look_again(10, lambda who: True) == []
        assert list(watcher.unseen) == [living, ended, forgotten]
    end(ended)
    told = watcher.look_again(10, lambda who: who is not forgotten)
    told += [who for who, _ in watcher.gone()]  # a zombie can still be held
    assert told == [ended]
    assert not watcher.unseen
    assert watcher.holds(living)
    assert len(watcher) == 1
    end(living)
    assert until(watcher.gone, "it was watched") == [(living, -signal.SIGKILL)]


def test_all_identities_of_a_process_cost_one_descriptor(
    watcher: ProcessWatcher, sleepers: list[ProcessIdentity]
) -> None:
    """One that becomes another program again and again, or has many copies of banken: its end concerns those of its
    identities that own something."""
    one, other = sleepers[:2]
    before = descriptor_limit.used()
    copies = [one._replace(nonce=number.to_bytes(4)) for number in range(100)]
    assert all(map(watcher.watch, (other, *copies)))
    assert (descriptor_limit.used(), len(watcher)) == (before + 2, 2)
    assert all(map(watcher.holds, copies))
    watcher.same = lambda who: copies[7:9] if who[:3] == one[:3] else ()
    watcher.let_go(1)
    assert list(watcher.unseen) == copies[7:9]
    assert watcher.look_again(10, lambda who: True) == []
    assert not watcher.unseen
    assert len(watcher) == 2
    end(one)
    assert until(watcher.gone, "its end is noticed") == [(each, -signal.SIGKILL) for each in copies[7:9]]
    end(other)
    assert not watcher.gone()


def test_the_newest_give_way_and_come_back_as_there_is_room(
    watcher: ProcessWatcher, sleepers: list[ProcessIdentity]
) -> None:
    """As many descriptors as asked for are given back; no more are taken than there is room for."""
    before = descriptor_limit.used()
    assert all(map(watcher.watch, sleepers))
    assert descriptor_limit.used() == before + 5
    watcher.let_go(3)
    assert descriptor_limit.used() == before + 2
    assert [watcher.holds(who) for who in sleepers] == [True, True, False, False, False]
    watcher.look_again(0, lambda who: True)
    assert len(watcher.unseen) == 3
    watcher.look_again(2, lambda who: True)
    assert (len(watcher), len(watcher.unseen)) == (4, 1)
    watcher.let_go(100)
    assert len(watcher.unseen) == 5
    assert descriptor_limit.used() == before


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_descriptors_are_counted_without_one() -> None:
    """At the limit, too."""
    before = descriptor_limit.used()
    with open(os.devnull):
        assert descriptor_limit.used() == before + 1
        with no_descriptor():
            assert descriptor_limit.used() in (before + 1, 0, descriptor_limit.limit())
