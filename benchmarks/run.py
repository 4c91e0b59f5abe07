"""All benchmarks, one command: ``python benchmarks/run.py``.

Prints a table of what was asked and what was measured in this run, and writes the same as JSON with every
round's figures. Exit code 0: every limit that was measured is kept; 1: one was missed, or a benchmark
failed.

``--quick``: fewer rounds, no million. ``--only feed,idle``: some of them. ``--json FILE``: where the JSON
goes (default: benchmarks/results/latest.json).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
import traceback
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from common import HERE, MISSED, ROOTS, Figure, exit_on_sigterm

BENCHMARKS = {
    "feed": "feed",
    "scopes": "scopes",
    "checks": "checks",
    "intake": "intake",
    "hosts": "hosts",
    "latency": "latency",
    "scale": "scale",
    "import": "importing",
    "idle": "idle",
    "wake": "wake",
    "callbacks": "callbacks",
    "harmless": "harmless",
    "recovery": "recovery",
    "journal": "journal",
    "web": "web",
    "page": "page",
}
"""What --only says, and the module that does it."""

FAILED = "failed"
WIDTHS = (10, 62, 20, 20, 8)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure what banken promises.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no million watchdogs")
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="some of: %(default)s")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "latest.json", help="where the JSON goes")
    options = parser.parse_args()
    wanted = [name.strip() for name in options.only.split(",") if name.strip()]
    unknown = sorted(set(wanted) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")

    exit_on_sigterm(143)  # the children are ended then, too
    for root in ROOTS:  # this checkout is what is measured, whatever is installed
        sys.path.insert(0, str(root))
    result = {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "on": machine(),
    }
    line("benchmark", "what", "measured", "asked", "verdict", "")
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for name in BENCHMARKS:
        if name not in wanted:
            continue
        start = time.monotonic()
        try:
            found: list[Figure] = importlib.import_module(BENCHMARKS[name]).run(options.quick)
        except Exception as fault:
            failures[name] = f"{type(fault).__name__}: {fault}"
            line(name, failures[name].splitlines()[0], "", "", FAILED, "")
            traceback.print_exc()
            continue
        finally:
            seconds[name] = round(time.monotonic() - start, 1)
        for figure in found:
            line(name, figure.what, figure.measured, figure.asked, figure.verdict, figure.note)
        figures += found

    missed = [figure for figure in figures if figure.verdict == MISSED]
    result |= {
        "seconds": seconds,
        "load_after": os.getloadavg(),
        "figures": [figure.as_json() for figure in figures],
        "failures": failures,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    asked = sum(1 for figure in figures if figure.asked and figure.value is not None)
    print(
        f"\n{asked - len(missed)} of {asked} limits kept, {len(failures)} benchmarks failed, "
        f"{sum(seconds.values()):.0f} s; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    return 1 if missed or failures else 0


def line(*cells: str) -> None:
    """One line of the table; the last cell, a note, may be as long as it likes."""
    padded = [cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=False)]
    print("  ".join([*padded, *cells[len(WIDTHS) :]]).rstrip(), flush=True)


def machine() -> dict[str, Any]:
    """What it ran on, without saying where."""
    parts = {}
    for name in ("pyzmq", "msgpack", "gunicorn", "sdnotify"):
        try:
            parts[name] = version(name)
        except PackageNotFoundError:
            parts[name] = "not installed"
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load_before": os.getloadavg(),
        **parts,
    }


if __name__ == "__main__":
    sys.exit(main())
