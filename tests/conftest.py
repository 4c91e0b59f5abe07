"""What every test may use."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from banken.address import resolve
from banken_supervisor.sources.sockets import Sockets

PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def address() -> Iterator[str]:
    """A fresh address, short enough for a Unix socket, gone after the test."""
    directory = tempfile.mkdtemp(prefix="bk-")
    yield os.path.join(directory, "s")
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def sockets(address: str) -> Iterator[Sockets]:
    """Those of a supervisor at this address."""
    os.mkdir(address, 0o700)
    reader, writer = os.pipe()
    made = Sockets(resolve(address), reader)
    yield made
    made.close()
    os.close(reader)
    os.close(writer)


@pytest.fixture(autouse=True)
def _no_inherited_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own BANKEN_* settings change nothing here."""
    for name in [name for name in os.environ if name.startswith("BANKEN_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _adopts_no_orphans() -> Iterator[None]:
    """What runs checks adopts what they leave. A process of tests that went on with it would be the parent of what
    other tests leave, and be ended by a program that ends its parent."""
    yield
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def pytest_configure() -> None:
    """A shell's ``&``, and nohup, have signals ignored, and what we start would inherit that. Servers of Debian lie
    where an ordinary user's path does not lead."""
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs root, an extra, or etcd, is left out where there is none."""
    missing = {"root": "needs root"} if os.geteuid() else {}
    if find_spec("apprise") is None:
        missing["notify"] = "needs apprise: pip install -e '.[notify]'"
    if shutil.which("etcd") is None:
        missing["etcd"] = "needs etcd: apt-get install etcd-server"
    for item in items:
        for marker in filter(item.get_closest_marker, missing):
            item.add_marker(pytest.mark.skip(reason=missing[marker]))
