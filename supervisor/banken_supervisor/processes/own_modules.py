"""How a process of ours is started that runs one of our own modules."""

from __future__ import annotations

import sys


def command(module: str, *arguments: str) -> list[str]:
    """What runs the module.

    -P: with -m alone the working directory is looked at first, before the standard library: another user's file
    there would be run, and one of this user's that has the name of any module would hide that.
    """
    return [sys.executable, "-P", "-m", module, *arguments]
