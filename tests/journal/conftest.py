"""What each test of the journal may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_kit import Opening, journals_at


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the journal of one test is."""
    return str(tmp_path / "journal.db")


@pytest.fixture
def opening(path: str) -> Iterator[Opening]:
    """Makes journals, and ends them after the test."""
    with journals_at(path) as one:
        yield one
