"""How a process of ours is started that runs one of our own modules."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def command(module: str, *arguments: str) -> list[str]:
    """What runs the module.

    -P: with -m alone the working directory is looked at first, before the standard library: another user's file
    there would be run, and one of this user's that has the name of any module would hide that.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(more: Mapping[str, str] = {}) -> dict[str, str]:
    """This process's, with ``more``, and with a mark: what runs the module is known to be of no program.

    Without it, it would be taken for an orphan of a program, and be ended with that.
    """
    return {"BANKEN_RUN": "", **os.environ, **more}
