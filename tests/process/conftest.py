"""Tests between real processes: supervisors and workers that are started, stopped, killed and starved.

All carry the marker ``process`` (``-m "not process"`` leaves them out). They wait on conditions, each with a
bound; where one sleeps, the sleep is the thing that is tested (a stall, a silence). Whatever a test started,
``home`` ends by its pid.

What takes longer or depends on the scheduler is left out unless ``BANKEN_LONG=1`` is set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from process.kit import Home
from process.ladder_kit import House

_HERE = Path(__file__).parent


@pytest.fixture
def home(address: str) -> Iterator[Home]:
    """Starts supervisors and workers at a fresh address, and ends them all."""
    one = Home(address)
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def house(address: str) -> Iterator[House]:
    """Runs ``banken run -c FILE`` at a fresh address, and ends all that comes of it."""
    one = House(address)
    try:
        yield one
    finally:
        one.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the long ones out unless they were asked for."""
    if os.environ.get("BANKEN_LONG"):
        return
    for item in items:
        if "long" in item.keywords and item.path.parent == _HERE:
            item.add_marker(pytest.mark.skip(reason="takes long; BANKEN_LONG=1 runs it"))


def pytest_configure(config: pytest.Config) -> None:
    """The marker for what BANKEN_LONG=1 adds."""
    config.addinivalue_line("markers", "long: left out unless BANKEN_LONG=1 is set")
