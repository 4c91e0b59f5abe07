"""Sockets of the address that others remove are bound again; what cannot be is told once, and tried again."""

from __future__ import annotations

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
