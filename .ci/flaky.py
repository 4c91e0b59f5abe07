"""Whether a second run of what failed may count as a pass: ``flaky.py LIST FIRST SECOND``.

FIRST and SECOND are pytest's lists of failed tests (``lastfailed``) after each run; SECOND ran what FIRST names.
What failed twice is a failure. What then passed is one, too, but for the tests in LIST: a file of lines
``DATE TEST REASON``, a space in TEST as %20. Without FIRST and SECOND only the list itself is checked.
Ends with 1 where something is wrong.
"""

from __future__ import annotations

import json
import sys
from datetime import date, timedelta
from pathlib import Path

KEPT = timedelta(days=60)


def listed(text: str, today: date) -> tuple[set[str], list[str]]:
    """The tests of a list, and what is wrong with it."""
    tests, problems = set(), []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            day, test, _ = line.split(maxsplit=2)
            found = date.fromisoformat(day)
        except ValueError:
            problems.append(f"line {number} is not DATE TEST REASON: {line}")
            continue
        tests.add(test.replace("%20", " "))
        if not today - KEPT <= found <= today:
            problems.append(f"line {number}: {day} is not within the last {KEPT.days} days; mend {test}")
    return tests, problems


def verdict(first: set[str], second: set[str], allowed: set[str]) -> list[str]:
    """What is wrong with two runs."""
    if not first:
        return ["the run failed, but no test did"]
    return [f"FAILED twice: {test}" for test in sorted(second)] + [
        f"FLAKY, failed once and then passed: {test}" for test in sorted(first - second - allowed)
    ]


def main(flaky: str, *runs: str) -> int:
    """Print what is wrong; the exit code."""
    allowed, problems = listed(Path(flaky).read_text(encoding="utf-8"), date.today())
    if runs:
        first, second = (set(json.loads(Path(run).read_text())) if Path(run).exists() else set() for run in runs)
        problems += verdict(first, second, allowed)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
