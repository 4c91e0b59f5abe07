"""A Watchdog whose timer a supervisor keeps: what the handle tells it, and when."""

from __future__ import annotations

from banken.protocol.messages import Kind
from banken.testing import Recorder


def call() -> None:
    """A callback."""


def test_a_callback_is_bound_whatever_the_timeout() -> None:
    """A timeout that is no whole number of milliseconds travels rounded, which is no change of the settings."""
    port = Recorder()
    dog = port.watchdog("worker", timeout=2 / 3, interval=1 / 7)
    dog.setCallback(call)
    assert port.callbacks == {"worker": call}
    assert port.kinds("worker") == [Kind.DECLARE]


def test_changed_settings_are_declared_once_each() -> None:
    """Each attribute that changes is told; the same value again is not, and the callback stays."""
    port = Recorder()
    dog = port.watchdog("worker", timeout=60, interval=20, callback=call)
    dog.timeout = 30
    dog.interval = 10
    dog.interval = 10.0
    assert [
        (message.declaration.timeout, message.declaration.interval)
        for message in port.messages
        if message.declaration is not None
    ] == [(60, 20), (30, 20), (30, 10)]
    assert port.callbacks == {"worker": call}


def test_after_stop_a_change_is_kept_for_the_next_start() -> None:
    """What is set while nobody watches is declared when the watch begins again."""
    port = Recorder()
    dog = port.watchdog("worker", timeout=60, callback=call)
    dog.stop()
    dog.timeout = 30
    assert port.kinds("worker") == [Kind.DECLARE, Kind.RELEASE]
    assert port.callbacks == {}
    dog.start_in_thread()
    last = port.messages[-1].declaration
    assert last is not None
    assert last.timeout == 30
    assert port.callbacks == {"worker": call}
