"""Reads what ``faulthandler`` writes. Pure."""

from __future__ import annotations

import re
from typing import Any

from banken_supervisor.evidence import text

THREADS_WRITTEN_MAX = 100
"""faulthandler stops after so many threads; the main thread, the oldest, is then not among them."""

_thread = re.compile(r"(Current thread|Thread) 0x([0-9a-f]{1,16})(?: \[(.*)\])? \(most recent call first\):$")
_frame = re.compile(r'  File "(.*)", line (\d{1,9}|\?\?\?) in (.*)$')


def parse(dump: str, pid: int) -> tuple[list[dict[str, Any]], bool]:
    """(the threads, as ``text.thread`` makes them; whether all are there).

    What faulthandler does not know is None: which one runs, and who holds the interpreter lock.
    """
    threads: list[dict[str, Any]] = []
    whole = True
    for line in dump.splitlines():
        head = _thread.match(line)
        frame = _frame.match(line)
        if head:
            threads.append(text.thread(int(head[2], 16), None, head[3]))
        elif line == "..." and threads:
            whole = False
        elif frame and threads and len(threads[-1]["frames"]) < text.FRAMES_MAX:
            number = int(frame[2]) if frame[2].isdecimal() else 0
            threads[-1]["frames"].append(text.frame(frame[3], frame[1], number))
        elif (frame or line == "  ...") and threads:
            threads[-1]["frames_left_out"] += 1  # at "..." it does not say how many
        elif line.startswith("Current thread's C stack"):
            break
    if threads and whole:
        # It goes from the newest thread to the oldest.
        threads[-1]["main"] = True
        threads[-1]["tid"] = pid
        threads[-1]["name"] = threads[-1]["name"] or "MainThread"
    return threads, whole
