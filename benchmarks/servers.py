"""Real servers that never feed, with a ladder and no timeout, beside busy loops; then they are killed.

    python benchmarks/servers.py --minutes 5

As an ordinary user (PostgreSQL refuses root). What is not installed is left out, and said. Ends with 1 when there
was an incident, or the median of a server's kills was noticed later than ``NOTICED_S``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
for home in ("tests", "client", "supervisor"):
    sys.path.append(str(ROOT / home))  # an installed banken comes first

from common import short_directory  # noqa: E402

from process import servers  # noqa: E402
from process.kit import until  # noqa: E402
from process.ladder_kit import LONG, House  # noqa: E402

NOTICED_S = 0.020
BUSY = ["sh", "-c", "while :; do :; done"]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Servers that never feed, under busy loops, then killed.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long they run (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=5, help="of each, afterwards (default: %(default)s)")
    parser.add_argument("--busy", type=int, default=1, help="busy loops (default: %(default)s)")
    options = parser.parse_args()
    names = [name for name in servers.NAMES if servers.refused(name) is None]
    for name in set(servers.NAMES) - set(names):
        print(f"{name} is left out: {servers.refused(name)}")
    with short_directory() as directory:
        house = House(os.path.join(directory, "a"))
        loops = [subprocess.Popen(BUSY) for _ in range(options.busy)]
        try:
            return _measure(house, names, options.minutes, options.kills)
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()
            servers.end(house)


def _measure(house: House, names: list[str], minutes: float, kills: int) -> int:
    tables, sockets = ['[supervisor]\ndefaults = { timeout = "1s", grace = "1s" }\n'], []
    for name in names:
        place = house.place / name
        place.mkdir()
        command, path = servers.prepared(name, place)
        sockets.append(path)
        budget = f'"{kills + 1} per 1h"'  # they are to come up again each time
        keys = {
            "ladder": f'[{{ do = "restart", budget = {budget} }}]',
            "budget": budget,
            "backoff": '"50ms..100ms"',
        }
        tables.append(servers.table("program", name, command=command, **keys))
    events = house.run("".join(tables))
    for path in sockets:
        until(lambda path=path: servers.serves(path), f"{path} serves", LONG)
    began = time.monotonic()
    events.during(minutes * 60.0)
    incidents = {row["name"]: row["incidents"] for row in house.ask("status")["rows"]}
    serving = sum(map(servers.serves, sockets))
    print(
        f"{', '.join(names)}: {time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}; incidents: "
        f"{sum(incidents.values())}; serving at the end: {serving} of {len(names)}"
    )
    late = False
    for name in names:
        found = []
        for _ in range(kills):
            servers.runs_again(house, name)
            time.sleep(1.0)
            found.append(servers.noticed_within(house, name))
        published = sorted(seconds for seconds, _ in found)
        late = late or median(published) > NOTICED_S
        shown = ", ".join(f"{seconds * 1000:.1f}" for seconds in published)
        heard = max(seconds for _, seconds in found)
        print(f"{name}: killed {kills} times, noticed after {shown} ms (heard of after {heard * 1000:.1f} at most)")
    return int(late or any(incidents.values()) or serving < len(names))


if __name__ == "__main__":
    sys.exit(main())
