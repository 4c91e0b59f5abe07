"""Copies an installed CPython to another directory, from which it runs: ``copy_python.py PREFIX DESTINATION``.

What was installed into it is left behind. A shared libpython is looked for at the absolute path that was built in;
in the copy that becomes one that is relative to the executable.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

LEFT_OUT = shutil.ignore_patterns("site-packages", "__pycache__", "test", "idlelib", "config-3*", "*.a")


def main(prefix: str, destination: str) -> None:
    """Copy, and overwrite the executables' search paths: the new one is shorter, the rest is filled with NUL."""
    shutil.copytree(prefix, destination, symlinks=True, ignore=LEFT_OUT)
    old = os.fsencode(prefix) + b"/lib\0"
    new = b"$ORIGIN/../lib".ljust(len(old), b"\0")
    assert len(new) == len(old), f"{prefix} is too short a path to be replaced"
    for executable in Path(destination, "bin").glob("python3.*"):
        if not executable.is_symlink() and executable.read_bytes().startswith(b"\x7fELF"):
            executable.write_bytes(executable.read_bytes().replace(old, new))
    for path in Path(destination).rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444))


if __name__ == "__main__":
    main(*sys.argv[1:])
