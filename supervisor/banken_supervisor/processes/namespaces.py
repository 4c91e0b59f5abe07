"""Which pid a process of another pid namespace of this host has here: a container's worker, for instance.

Such a process says its pid as its own namespace has it, with the number of that namespace mixed into its boot id
(docs/wire.md). Here it is the process that is in that namespace, has that pid there, and started at that tick: the
kernel shows all three below /proc to its user and to root. What has connected is noted (peer_credentials.py), the
rest is searched for.

In another time namespace the ticks are others: such a process cannot be identified.
"""

from __future__ import annotations

import os
import time

from banken.process_identity import boot_id, mix, namespace, process_space, process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes.children import children_of

SPACE = process_space()
"""What pids and start times mean here."""

SEARCH_S = 0.003
"""Seconds that a search may take: the loop asks, too. The newest processes come first."""

REST = 10
"""A search is followed by so many times its time without one."""

KNOWN_MAX = 100_000
"""Processes that are remembered, the newest."""

_DYNAMIC = 0xF0000000
"""From here on the kernel numbers namespaces."""

_known: dict[tuple[bytes, int, int], int] = {}
"""by space, own pid and start time: the pid here"""

_search_at = 0.0
"""monotonic time from which on it may be searched again"""


def pid_here(who: ProcessIdentity) -> int:
    """The pid that a process has in this namespace, whether it lives or not; 0: it is not of this host and boot, or
    it is of another namespace and was not found. From any thread."""
    pid = known_pid(who)
    if not pid and _is_elsewhere(who.boot):
        _search()
        return known_pid(who)
    return pid


def known_pid(who: ProcessIdentity) -> int:
    """As ``pid_here``, without a search: of another namespace what has connected is found."""
    return who.pid if who.boot == SPACE else _known.get((who.boot, who.pid, who.start), 0)


def pid_in_namespace_of(speaker: int, number: int) -> int:
    """The pid here of the process that has ``number`` in the pid namespace of the process ``speaker``; 0: there is
    none that is found."""
    space = namespace("pid", speaker, unknown=-1) if speaker > 0 else -1
    if space in (-1, _PID_SPACE):
        return number
    # It is mostly one of these, and may be younger than the last search.
    for pid in (speaker, *children_of(speaker)):
        note(pid)
    _search()
    wanted = mix(_BOOT, space << 32 | _TIME_SPACE), number
    for (boot, own, start), pid in reversed(list(_known.items())):
        if (boot, own) == wanted and process_start(pid) == start:
            return pid
    return 0


def note(pid: int) -> None:
    """Remember a process of another pid namespace. ``pid``: here."""
    number = namespace("pid", pid, unknown=-1)
    if number in (-1, _PID_SPACE) or namespace("time", pid) != _TIME_SPACE:
        return
    start = process_start(pid)
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            pids = next((line for line in file if line.startswith(b"NSpid:")), b"").split()
    except OSError:
        return
    # Read again: the pid may be another process's by now.
    if len(pids) > 2 and start and start == process_start(pid):
        if len(_known) >= KNOWN_MAX:
            _known.pop(next(iter(_known)), None)
        _known[mix(_BOOT, number << 32 | _TIME_SPACE), int(pids[-1]), start] = pid


def _is_elsewhere(space: bytes) -> bool:
    """Whether this may be another pid namespace of this host and boot."""
    number = int.from_bytes(mix(space, int.from_bytes(_BOOT, "big")), "big")
    return number >> 32 >= _DYNAMIC and number & 0xFFFFFFFF == _TIME_SPACE


def _search() -> None:
    global _search_at
    began = time.monotonic()
    if began < _search_at:
        return
    for pid in sorted(map(int, filter(str.isdecimal, os.listdir("/proc"))), reverse=True):
        note(pid)
        if time.monotonic() - began > SEARCH_S:
            break
    _search_at = time.monotonic() + REST * (time.monotonic() - began)


_BOOT = boot_id()
_PID_SPACE, _TIME_SPACE = namespace("pid"), namespace("time")
