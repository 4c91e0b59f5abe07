"""A file system that never answers: FUSE, with nobody who reads its requests."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_MNT_DETACH = 2


@contextmanager
def dead_mount(at: Path) -> Iterator[Path]:
    """Every look at what lies in it blocks until the test is over."""
    if os.geteuid() or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and /dev/fuse")
    libc = ctypes.CDLL(None, use_errno=True)
    fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
        if libc.mount(b"banken-test", os.fsencode(at), b"fuse", 0, options):
            pytest.skip(f"cannot mount FUSE: {os.strerror(ctypes.get_errno())}")
        try:
            yield at
        finally:
            libc.umount2(os.fsencode(at), _MNT_DETACH)
    finally:
        os.close(fuse)  # what waits gets ENOTCONN
