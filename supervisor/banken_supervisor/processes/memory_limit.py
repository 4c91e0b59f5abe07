"""How much memory this process may still take, where a limit is set (``ulimit -v``, ``ulimit -d``), and how it
gives back what it has freed.

Beyond a limit every library gets none: Python raises MemoryError, and libzmq ends the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource

_ARENA_MAX = -8
"""M_ARENA_MAX of <malloc.h>"""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_COLUMNS = ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5))
"""Limits, and the column of /proc/self/statm that each bounds (in Linux; elsewhere nothing is known)."""


def room() -> tuple[int, int] | None:
    """(bytes used, limit) of the limit that leaves the least; None: there is none, or it is not known."""
    limits = [(limit, column) for which, column in _COLUMNS if (limit := resource.getrlimit(which)[0]) >= 0]
    if not limits:
        return None
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            pages = [int(each) for each in file.read().split()]
    except OSError:
        return None
    return min(((pages[column] * _PAGE, limit) for limit, column in limits), key=lambda each: each[1] - each[0])


def spare_address_space() -> None:
    """Where the address space is limited: have the C library not reserve 64 MiB of it for each thread."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        with contextlib.suppress(AttributeError, OSError):  # another C library
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Have the C library give memory back that was freed: by itself it keeps what lies between things in use. Takes
    about a millisecond for each 10 MB."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
