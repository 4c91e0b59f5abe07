"""What every test may use."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture
def address() -> Iterator[str]:
    """A fresh address, short enough for a Unix socket, gone after the test."""
    directory = tempfile.mkdtemp(prefix="bk-")
    yield os.path.join(directory, "s")
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_inherited_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own BANKEN_* settings change nothing here."""
    for name in [name for name in os.environ if name.startswith("BANKEN_")]:
        monkeypatch.delenv(name)


def pytest_configure() -> None:
    """A shell's ``&``, and nohup, have signals ignored, and what we start would inherit that."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """An ordinary user leaves out what needs root."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))
