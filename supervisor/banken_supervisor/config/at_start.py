"""What of a config counts when the supervisor starts, and not when it is read again."""

from __future__ import annotations

from dataclasses import fields

from banken_supervisor.config.settings import Config

SUPERVISOR_KEYS = ("address", "listen", "keys", "callback_limit", "callback_threads", "journal", "retention")
"""Keys of [supervisor]."""


def changed(first: Config, later: Config) -> list[str]:
    """What is in ``later`` otherwise than in the config that the supervisor started with, and waits for its next
    start: ``[cluster] ttl``, ``[upward]``."""
    found = [
        f"[supervisor] {key}"
        for key in SUPERVISOR_KEYS
        if getattr(first.settings, key) != getattr(later.settings, key)
    ]
    for table in ("cluster", "upward"):
        one, other = getattr(first, table), getattr(later, table)
        if (one is None) != (other is None):
            found.append(f"[{table}]")
        elif one is not None:
            names = [each.name for each in fields(one)]
            found += [f"[{table}] {each}" for each in names if getattr(one, each) != getattr(other, each)]
    return found
