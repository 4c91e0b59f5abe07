"""Sockets of the address that others remove are bound again; what cannot be is told once, and tried again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from banken_supervisor.runtime.address_monitor import RemovedSockets
from banken_supervisor.sources.notify_sockets import SUPPORTED
from banken_supervisor.sources.sockets import Sockets

pytestmark = pytest.mark.skipif(not SUPPORTED, reason="this system does not tell who sends a datagram")


def test_one_that_cannot_be_bound_keeps_no_other(sockets: Sockets, address: str) -> None:
    """It stays missing until it is bound; the others are bound at once."""
    places = [Path(address) / each for each in ("notify", "others")]
    paths = [
        sockets.notify.open(name, str(place / name)) for name, place in zip(("db", "web"), places, strict=True)
    ]
    removed = RemovedSockets()
    assert sockets.missing() == []
    for each in places:
        shutil.rmtree(each)
    places[0].touch()
    assert sockets.missing() == paths
    told = removed.bind_again(sockets, paths, address)
    start = f"sockets of {address} were removed, and"
    assert told[0] == f"{start} are bound again: others/web"
    assert told[1].startswith(f"{start} cannot be bound now, which is tried again: notify/db: ")
    assert len(told) == 2
    for _ in range(2):
        assert sockets.missing() == paths[:1]
        assert removed.bind_again(sockets, paths[:1], address) == []
    places[0].unlink()
    assert removed.bind_again(sockets, paths[:1], address) == [f"{start} are bound again: notify/db"]
    assert sockets.missing() == []
    sockets.notify.close_one("db")
    assert removed.bind_again(sockets, paths[:1], address) == []
    assert sockets.missing() == []


def test_one_to_which_no_way_leads_keeps_no_other(sockets: Sockets, address: str) -> None:
    """The directory is a link that leads to itself now: that is told once, like one that was removed."""
    path, place = sockets.notify.open("db", f"{address}/notify/db"), Path(address) / "notify"
    feed = Path(address) / "feed"
    removed = RemovedSockets()
    shutil.rmtree(place)
    place.symlink_to(place.name)
    feed.unlink()
    assert sorted(sockets.missing()) == sorted([str(feed), path])
    told = removed.bind_again(sockets, sockets.missing(), address)
    assert told[0] == f"sockets of {address} were removed, and are bound again: feed"
    assert told[1].startswith(f"sockets of {address} were removed, and cannot be bound now, which is tried again: ")
    assert removed.bind_again(sockets, sockets.missing(), address) == []
    place.unlink()
    told = removed.bind_again(sockets, sockets.missing(), address)
    assert told == [f"sockets of {address} were removed, and are bound again: notify/db"]
    assert sockets.missing() == []


@pytest.mark.parametrize("there", ["a file in the way", "something at its place"])
def test_one_that_cannot_be_bound_at_first_is_bound_later(sockets: Sockets, address: str, there: str) -> None:
    """Not with the next reload only. It is told once that it cannot be bound, and once that it is."""
    place, path = Path(address) / "notify", f"{address}/notify/db"
    if there == "a file in the way":
        place.touch()
    else:
        os.makedirs(f"{path}/full")
    removed = RemovedSockets()
    for _ in range(2):  # a reload tries it, too
        with pytest.raises(OSError, match=r"notify|director|exists|use"):
            sockets.notify.awaited.open("db", path)
    assert (sockets.missing(), sockets.notify.names()) == ([path], ["db"])
    (told,) = removed.bind_again(sockets, [path], address)
    assert told.startswith(f"sockets of {address} cannot be bound now, which is tried again: notify/db: ")
    assert removed.bind_again(sockets, [path], address) == []
    place.unlink() if place.is_file() else shutil.rmtree(place)
    told_ = removed.bind_again(sockets, sockets.missing(), address)
    assert told_ == [f"sockets of {address} are bound now, as they were not before: notify/db"]
    assert (sockets.missing(), sockets.notify.path("db")) == ([], path)
    Path(path).unlink()
    told_ = removed.bind_again(sockets, sockets.missing(), address)
    assert told_ == [f"sockets of {address} were removed, and are bound again: notify/db"]


def test_one_that_is_not_wanted_any_more_is_not_tried(sockets: Sockets, address: str) -> None:
    (Path(address) / "notify").touch()
    with pytest.raises(OSError, match=r"notify|director|exists|use"):
        sockets.notify.awaited.open("db", f"{address}/notify/db")
    missing = sockets.missing()
    sockets.notify.close_one("db")
    assert (sockets.missing(), sockets.notify.names()) == ([], [])
    assert RemovedSockets().bind_again(sockets, missing, address) == []
