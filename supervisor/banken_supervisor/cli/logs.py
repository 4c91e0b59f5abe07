"""Log lines of ``banken run``: on stderr, for people or as JSON."""

from __future__ import annotations

import contextlib
import logging
import os
import select

from banken_supervisor.cli.printing import clean, clock, timestamp
from banken_supervisor.text.sanitize import to_json


class StderrHandler(logging.Handler):
    """Writes whole lines to file descriptor 2, past ``sys.stderr`` and without a lock.

    The supervisor's log_queue may hang in the write while nobody reads the pipe. The end of the process then must
    not wait for it: ``logging.shutdown`` would for the handler's lock, the interpreter for that of
    ``sys.stderr``'s buffer (and abort). A reader that has gone is no reason to stop supervising either.
    """

    def createLock(self) -> None:
        self.lock = contextlib.nullcontext()  # type: ignore[assignment]  # for `with`; else `acquire` is called

    def acquire(self) -> None:
        pass

    release = acquire

    def emit(self, record: logging.LogRecord) -> None:
        try:
            rest = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            while rest:
                try:
                    rest = rest[os.write(2, rest) :]
                except BlockingIOError:  # whoever shares the pipe or terminal may have made it non-blocking
                    poll = select.poll()
                    poll.register(2, select.POLLOUT)
                    poll.poll()
        except OSError:
            return
        except Exception:  # noqa: BLE001  # as every handler of logging: a bad line is reported, not raised
            self.handleError(record)


class PlainFormatter(logging.Formatter):
    """``2026-11-24 18:07:11.123 CET warning worker-3 expired …``; further lines are indented.

    What workers wrote is in there, so control characters are taken out, and a line break cannot forge a line.
    """

    def format(self, record: logging.LogRecord) -> str:
        first, *more = super().format(record).splitlines() or [""]
        head = f"{clock(_when(record))} {record.levelname.lower():<7} {clean(first)}"
        return "\n".join([head, *(f"    | {clean(line)}" for line in more)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``timestamp``, ``level``, ``message``, and the fields of the event it tells of."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "banken", {})
        return to_json(
            {
                "timestamp": timestamp(_when(record)),
                "level": record.levelname.lower(),
                "message": super().format(record),
                **{key: value for key, value in fields.items() if key != "time"},
            }
        )


def to_stderr(level: str, *, as_json: bool) -> None:
    """Send this process's log to stderr; ``level``: of banken's own lines, others' from warnings on."""
    handler = StderrHandler()
    handler.setFormatter(JsonFormatter() if as_json else PlainFormatter())
    logging.getLogger().addHandler(handler)
    logging.getLogger("banken").setLevel(level.upper())
    logging.raiseExceptions = False


def _when(record: logging.LogRecord) -> float:
    """When it happened, which may be long before a log that nobody read was written; seconds since 1970."""
    fields = getattr(record, "banken", None)
    return float(fields["time"]) if fields and "time" in fields else record.created
