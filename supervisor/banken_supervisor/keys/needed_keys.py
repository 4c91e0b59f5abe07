"""The keys that a config needs: whether workers of other hosts can be let in, seen from this process."""

from __future__ import annotations

from collections.abc import Iterator

from banken.errors import KeyRefused
from banken_supervisor.config.faults import ConfigFaults, Problem
from banken_supervisor.config.settings import Config
from banken_supervisor.keys.directory import KeyDirectory

KEYS_ALONE = 'is for workers of other hosts: it needs listen = ["tcp://HOST:PORT"]'
"""What is said of keys where nothing listens."""


def problems(config: Config) -> Iterator[Problem]:
    """What is missing, unreadable, or another user's; and where nothing listens for which there are keys."""
    settings = config.settings
    if config.cluster is not None and (why := config.cluster.address_fault(settings.listen)) is not None:
        yield Problem(("cluster", "address") if config.cluster.address else ("cluster",), why)
    if not settings.listen:
        if settings.keys is not None:
            yield Problem(("supervisor", "keys"), KEYS_ALONE)
        return
    directory, path = KeyDirectory(settings.keys), ("supervisor", "listen" if settings.keys is None else "keys")
    try:
        directory.server_pair()
    except KeyRefused as fault:
        yield Problem(path, str(fault))
    except OSError as fault:
        yield Problem(path, f"{fault.filename or directory.path}: {fault.strerror or fault}")
    try:
        directory.allowed()
    except ConfigFaults as fault:
        yield from (Problem(path, str(each)) for each in fault.faults)
    except (KeyRefused, OSError) as fault:
        yield Problem(path, f"{directory.access_file}: {fault}")
