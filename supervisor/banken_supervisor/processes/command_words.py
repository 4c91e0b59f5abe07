"""Why a command cannot be run, in words: "No such file or directory" also means that its interpreter is missing."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence

LINE_MAX = 256
"""Bytes of the first line that Linux reads."""


def why_not(command: Sequence[str], fault: OSError, environment: Mapping[str, str], directory: str | None) -> str:
    """What the fault of starting this command means. Reads the first bytes of the command's file."""
    file = find(command[0], environment.get("PATH"), directory)
    if file is None:
        return "there is no such command" if fault.errno == errno.ENOENT else fault.strerror or str(fault)
    return interpreter_fault(file) or fault.strerror or str(fault)


def find(name: str, path: str | None, directory: str | None) -> str | None:
    """The file that would be run, as execvp looks for it; None: there is none."""
    folders = [directory or "."] if "/" in name else (os.defpath if path is None else path).split(os.pathsep)
    files = (os.path.join(directory or ".", folder, name) for folder in folders)
    return next((file for file in files if os.path.isfile(file) and os.access(file, os.X_OK)), None)


def interpreter_fault(file: str) -> str | None:
    """What is wrong with the interpreter that a script's first line names; None: nothing, or it is no script."""
    try:
        with open(file, "rb") as opened:
            first, newline, _ = opened.read(LINE_MAX).partition(b"\n")
    except OSError:
        return None
    words = first[2:].split(b" ") if first.startswith(b"#!") else []
    interpreter = next((word for word in words if word.strip(b" \t")), b"").decode("utf-8", "backslashreplace")
    if not words:
        return None
    if newline and first.endswith(b"\r"):
        return "its first line ends with a carriage return (DOS line ends): convert it, with dos2unix say"
    if not interpreter:
        return "its first line (#!) names no interpreter"
    interpreter = interpreter.split("\t")[0]
    if not os.path.exists(interpreter):
        return f"the interpreter {interpreter!r} that its first line names does not exist"
    if os.path.isdir(interpreter) or not os.access(interpreter, os.X_OK):
        return f"the interpreter {interpreter!r} that its first line names cannot be executed"
    return None
