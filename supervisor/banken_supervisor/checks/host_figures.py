"""Figures of this machine: for threads, since each may block."""

from __future__ import annotations

import os

import psutil

from banken_supervisor.checks.thresholds import PERCENT


def disk(path: str, unit: str) -> float:
    """How much of the file system is used: in percent as df has it, or in bytes. OSError."""
    found = os.statvfs(path)
    used = found.f_blocks - found.f_bfree
    if unit != PERCENT:
        return used * found.f_frsize
    # What is kept for root is not there for others.
    room = used + found.f_bavail
    inodes = found.f_files and (found.f_files - found.f_ffree) / found.f_files
    return max(used / room if room else 0.0, inodes) * 100


def load() -> float:
    """Mean of the last minute."""
    return os.getloadavg()[0]


def hottest() -> float | None:
    """°C; None: there is no sensor."""
    found = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    values = [each.current for group in found.values() for each in group]
    return max(values, default=None)
