"""The command line: one file per command, or for several of a kind, loaded when the command is used.

``exit_codes.py`` lists the exit codes. Data goes to stdout; logs, notes and errors go to stderr.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import banken

__all__ = ["main"]


def main() -> None:
    """The ``banken`` command: run it, and end the process with its exit code."""
    if sys.stdout is None:  # closed (>&-): what we print goes nowhere
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # until the process ends
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character is shown its number; it is no reason to fall over.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    code = _run()
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            # Here and not at the interpreter's exit, which would complain about a reader or terminal that has gone.
            if stream is not None:
                stream.flush()
        except OSError as fault:
            _give_up(descriptor)
            if descriptor == 1 and fault.errno != errno.EPIPE:
                code = exit_codes.NOT_SO
    sys.exit(code)


def _run() -> int:
    try:
        result = banken.main(prog_name="banken", standalone_mode=False)
    except click.ClickException as fault:
        fault.show()
        return fault.exit_code
    except (click.Abort, KeyboardInterrupt):  # click makes an Abort of Ctrl-C
        return exit_codes.INTERRUPTED
    except BrokenPipeError:  # the reader of our output had enough
        _give_up(1)
        return exit_codes.OK
    except OSError as fault:  # a full disk, a directory that may not be read …
        what = f": {fault.filename}" if fault.filename is not None else ""
        return _failed(f"{fault.strerror or fault}{what}")
    except Exception as fault:  # a fault of ours: a line for people, the traceback on request
        if os.environ.get("BANKEN_TRACEBACK") or sys.argv[1:2] == ["run"]:  # a supervisor's belongs in its log
            raise
        last = traceback.extract_tb(fault.__traceback__)[-1]
        return _failed(
            f"a fault of banken itself: {type(fault).__name__}: {fault} ({os.path.basename(last.filename)}, line "
            f"{last.lineno}). Please report it, with the traceback that BANKEN_TRACEBACK=1 shows"
        )
    return result if isinstance(result, int) else exit_codes.OK


def _failed(text: str) -> int:
    click.echo(f"Error: {text}", err=True)
    return exit_codes.NOT_SO


def _give_up(descriptor: int) -> None:
    """What is still buffered goes nowhere, silently."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
