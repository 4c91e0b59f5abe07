"""What fails because the system has no descriptor, process, memory or disk for it now, and may succeed later."""

from __future__ import annotations

import errno
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

T = TypeVar("T")

WAIT_S = 2.0
AGAIN_S = 0.05

_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT})


class Shortage(Exception):
    """An exception of ours that says so."""


def is_shortage(fault: BaseException | None) -> bool:
    """Whether it was that; also of a fault that was raised while such a one was handled."""
    while fault is not None:
        if isinstance(fault, MemoryError | Shortage) or (isinstance(fault, OSError) and fault.errno in _SHORT):
            return True
        fault = fault.__context__
    return False


def patiently(do: Callable[[], T]) -> T:
    """What ``do`` returns. In a shortage it is tried again, for ``WAIT_S`` seconds: not for the loop's thread."""
    until = monotonic() + WAIT_S
    while True:
        try:
            return do()
        except Exception as fault:
            if not is_shortage(fault) or monotonic() >= until:
                raise
        sleep(AGAIN_S)
