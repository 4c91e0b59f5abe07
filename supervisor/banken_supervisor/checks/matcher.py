"""The process in which lines are matched, see pattern_matching.py. It knows nothing but the standard library.

A question is a line of JSON, [pattern, lines]; the answer is the number of the last line that fits, or null. The
process ends with its stdin, and when one question takes too long: then by the kernel, for Python is held meanwhile.
"""

from __future__ import annotations

import json
import re
import signal
import sys

COMPUTE_S = 0.25
"""Seconds of computing that one question may take."""


def answer(pattern: str, lines: list[str]) -> int | None:
    """The number of the last line that holds the pattern."""
    search = re.compile(pattern).search
    return next((number for number in range(len(lines) - 1, -1, -1) if search(lines[number])), None)


def main() -> None:
    """Answer until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for question in sys.stdin.buffer:
        asked = json.loads(question)
        signal.setitimer(signal.ITIMER_VIRTUAL, COMPUTE_S)
        found = answer(*asked)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
