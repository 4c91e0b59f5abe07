"""kill -9 of the supervisor at random moments under load, many times: lost, doubled, false.

    python benchmarks/kills.py --times 200 --seed 1

The load and the questions are those of ``tests/process/test_kill_restore.py``. Ends with 1 when anything was lost,
doubled or false.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
for home in ("tests", "client", "supervisor"):
    sys.path.append(str(ROOT / home))  # an installed banken comes first

from common import short_directory  # noqa: E402

from process.kills import Nights, Standby  # noqa: E402
from process.kit import Home  # noqa: E402

TELL_EVERY = 10
"""Kills between two lines of progress."""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Kill the supervisor under load, again and again.")
    parser.add_argument("--times", type=int, default=200, help="how often (default: %(default)s)")
    parser.add_argument("--seed", default="1", help="decides the moments (default: %(default)s)")
    options = parser.parse_args()
    began = time.monotonic()
    with short_directory() as directory:
        address = str(Path(directory) / "address")
        home, runner = Home(address), None
        try:
            runner = Standby(address)
            nights = Nights(home, runner, options.seed)
            for number in range(1, options.times + 1):
                nights.kill()
                if number % TELL_EVERY == 0:
                    count = nights.count
                    wrong = len(count.lost) + len(count.doubled)
                    print(f"{number} kills, {time.monotonic() - began:.0f} s, {wrong} wrong", flush=True)
            count = nights.finish()
        finally:
            if runner is not None:
                runner.close()
            home.close()
    print(
        f"{count.kills} kills in {time.monotonic() - began:.0f} s: {count.announced:,} incidents announced, "
        f"{count.resumed:,} found open and gone on with, {count.steps:,} steps run; "
        f"{len(count.lost)} lost, {len(count.doubled)} doubled, {len(count.false)} false"
    )
    for line in (*count.lost, *count.doubled, *count.false)[:20]:
        print(f"  {line}")
    return 0 if count.clean else 1


if __name__ == "__main__":
    sys.exit(main())
