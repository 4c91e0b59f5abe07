"""One supervisor and one web process for all tests here that do not need to end them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

from web.kit import CONFIG, Street, Web


@pytest.fixture(scope="session")
def street() -> Iterator[Street]:
    """The shared home."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("BANKEN_")]:
            patch.delenv(name)
        directory = tempfile.mkdtemp(prefix="bk-")
        one = Street(os.path.join(directory, "s"))
        try:
            one.run(CONFIG)
            yield one
        finally:
            one.close()
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def web(street: Street) -> Web:
    """The shared web process."""
    return street.web()


@pytest.fixture
def own(address: str) -> Iterator[Street]:
    """A home of the test's own."""
    one = Street(address)
    try:
        yield one
    finally:
        one.close()
