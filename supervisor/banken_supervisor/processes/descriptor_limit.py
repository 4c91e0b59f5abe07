"""How many descriptors this process may open: as many as the system allows, which is not for what it starts."""

from __future__ import annotations

import os
import resource

_given: list[tuple[int, int]] = []
"""the limit before it was raised; empty: it was not"""


def raise_limit() -> bool:
    """As many descriptors as the system lets us have: libzmq ends the process when it runs out of them. False: it
    cannot be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        _given[:] = _given or [(soft, hard)]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS says "unlimited" and means 10,240
            wanted = min(10_240, hard) if hard != resource.RLIM_INFINITY else 10_240
            if soft >= wanted:
                return False
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            except (OSError, ValueError):
                return False
    return True


def given() -> tuple[int, int]:
    """(soft, hard) limit that this process was started with."""
    return _given[0] if _given else resource.getrlimit(resource.RLIMIT_NOFILE)


def limit() -> int:
    """How many it may have open now."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft != resource.RLIM_INFINITY else 2**31


def used() -> int:
    """How many are open. Needs none itself, but before Linux 6.2: then all count as open where there is none."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return os.stat(folder).st_size or len(os.listdir(folder)) - 1
        except FileNotFoundError:
            continue
        except OSError:
            return limit()
    return 0
