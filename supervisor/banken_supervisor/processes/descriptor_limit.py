"""How many descriptors this process may open: as many as the system allows, which is not for what it starts."""

from __future__ import annotations

import resource

_given: list[tuple[int, int]] = []
"""the limit before it was raised; empty: it was not"""


def raise_limit() -> None:
    """As many descriptors as the system lets us have: libzmq ends the process when it runs out of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        _given[:] = _given or [(soft, hard)]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS says "unlimited" and means 10,240
            wanted = min(10_240, hard) if hard != resource.RLIM_INFINITY else 10_240
            if soft < wanted:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def given() -> tuple[int, int]:
    """(soft, hard) limit that this process was started with."""
    return _given[0] if _given else resource.getrlimit(resource.RLIMIT_NOFILE)
