"""A name that the key may not feed where ``[upward]`` sends it: it is told, and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from banken_supervisor.coordination.settings import UpwardSettings
from banken_supervisor.engine.effects import Event
from banken_supervisor.runtime import feed_rights
from banken_supervisor.runtime.upward import Counts, Upward
from banken_supervisor.text import upward_text
from hosts_kit import Host, running_host
from recovery_kit import until


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with running_host() as made:
        yield made


def test_a_name_that_the_key_may_not_feed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not said to be taken; as soon as it is, that is said."""
    monkeypatch.setattr(feed_rights, "REFUSED_S", 0.2)
    events: list[Event] = []
    faults: list[Exception] = []

    def at_once(what: Callable[[], None]) -> None:
        what()

    settings = UpwardSettings((host.address,), str(host.key("up", "host/up1")), "host/up2", 20.0)
    upward = Upward(settings, lambda: Counts(len(events), 1, 0), at_once, events.append, faults.append)
    with closing(upward):
        upward.start()
        until(lambda: events, "something is told")
        until(lambda: upward.state()["destinations"][0]["reachable"], "it is reached")
        state = upward.state()
        assert [each.data["what"] for each in events] == ["refused"]
        assert "this supervisor's key may not feed that name" in events[0].data["text"]
        refused = f"{host.address} refuses the feeds of host/up2: the key may not feed that name there"
        assert upward_text.headline(state) == f"upward: host/up2 is fed to 0 of 1 supervisor; {refused}"
        assert upward_text.trouble(state) == [refused]
        host.keys.allow("up", ["host/up2"], None)
        host.reload()
        until(lambda: events[-1].data["what"] == "reached", "it is told that it is taken")
        assert upward_text.headline(upward.state()) == "upward: host/up2 is fed to 1 of 1 supervisor"
        until(lambda: host.row("host/up2"), "and it is watched")
    assert not faults
