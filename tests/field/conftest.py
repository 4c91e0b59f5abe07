"""How often each case is taken, and what must be there."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

PACKAGES = ("apscheduler", "celery", "dramatiq", "gunicorn", "huey", "redis", "rq", "uvicorn")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long setting and the short one."""
    parser.addoption("--rounds", type=int, default=1, help="how often each case is taken (default: 1)")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> range:
    """The rounds of one case."""
    return range(request.config.getoption("--rounds"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A bound for each, and a reason where a package is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    for item in items:
        item.add_marker(pytest.mark.process)
        item.add_marker(pytest.mark.timeout(60 + 30 * config.getoption("--rounds")))
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"pip install -e '.[field]': no {', '.join(missing)}"))
