"""The keys that a config needs: whether workers of other hosts can be let in, seen from this process."""

from __future__ import annotations

from collections.abc import Iterator

from banken.errors import KeyRefused
from banken_supervisor.config.faults import ConfigFaults, Problem
from banken_supervisor.config.settings import Config
from banken_supervisor.keys.directory import KeyDirectory


def problems(config: Config) -> Iterator[Problem]:
    """What is missing, unreadable, or another user's."""
    settings = config.settings
    if not settings.listen:
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
