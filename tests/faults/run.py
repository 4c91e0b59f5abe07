"""The fault suite. From ``tests/``:

    python -m faults.run                                  each fault once, briefly: under half a minute
    python -m faults.run --minutes 60 --seed 7            as many long rounds as there is time for
    python -m faults.run --only stop --rounds 100 --jobs 8
    python -m faults.run --only kill-9 --rounds 1000
    python -m faults.run --hours 4                        the soak
    python -m faults.run --minutes 60 --write ../docs/reliability.md

Each fault is done to a real ``banken run`` with a journal, beside processes that feed it and probes that fall
silent. It prints one table and ends with 1 if a promise was broken. What needs root is not tried by others.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

from . import table
from .catalogue import FAULTS
from .place import Place
from .rounds import end_in, kills, suffer
from .seen import NotHere, Seen
from .soak import soak
from .table import Row

SHORT_S = 0.3
ENDS_EVERY = 4
"""In the short setting one of so many faults has a SIGTERM in its middle; in the long one each."""

KILLS_MIN = 3


class Plan:
    """How long and how often."""

    def __init__(self, options: argparse.Namespace, over: threading.Event) -> None:
        self.seed: int = options.seed
        self.short = not (options.minutes or options.rounds)
        self.honest: int = options.honest or (8 if self.short else 30)
        self.jobs: int = options.jobs
        self.copies = 1 if self.short else max(1, options.jobs // len(options.names))
        """places that try the same fault at once"""
        self.over = over
        """no further round begins"""
        self._rounds = -(-options.rounds // self.copies)
        self._share_s = 60 * options.minutes * options.jobs / (len(options.names) * self.copies)

    def turns(self, at_least: int = 1) -> Iterator[int]:
        """The numbers of the rounds of one fault at one place: that many, or for its share of the time."""
        deadline = time.monotonic() + self._share_s
        for number in count():
            enough = number >= max(at_least, self._rounds) and time.monotonic() >= deadline
            if self.over.is_set() or enough:
                return
            yield number

    def seconds(self, name: str) -> float:
        """Of one round."""
        return SHORT_S if self.short else FAULTS[name].seconds

    def ends(self, name: str) -> bool:
        """Whether it is ended in the middle of this fault."""
        return not self.short or (list(FAULTS).index(name) + self.seed) % ENDS_EVERY == 0


def at_one_place(plan: Plan, names: list[str], copy: int = 0) -> list[Row]:
    """These faults, one after another; they want the same place. After one that broke, the next has a new one."""
    rows: list[Row] = []
    while left := names[len(rows) :]:
        fault = FAULTS[left[0]]
        try:
            if plan.over.is_set():
                raise NotHere("interrupted")
            with Place(plan.honest, fault.config, own_disk=fault.own_disk) as place:
                for name in left:
                    rows.append(_visit(plan, place, name, copy))
                    if rows[-1].seen.wrong:
                        break
        except NotHere as why:
            rows += [Row(name, Seen(), not_tried=str(why)) for name in names[len(rows) :]]
        except Exception as problem:  # of starting or ending the place
            if len(rows) + len(left) == len(names):
                rows.append(Row(left[0], Seen()))
            rows[-1].seen.wrong.append(repr(problem))
    return rows


def _visit(plan: Plan, place: Place, name: str, copy: int) -> Row:
    fault, chance, row = FAULTS[name], Random(f"{plan.seed} {name} {copy}"), Row(name, Seen())
    try:
        for _ in plan.turns():
            row.seen.add(suffer(place, fault, chance, plan.seconds(name)))
        if plan.ends(name):
            row.seen.add(end_in(place, fault, chance, plan.seconds(name)))
    except NotHere as why:
        row.not_tried = str(why)
    except Exception as problem:
        row.seen.wrong += [*place.seen.wrong, f"{problem!r}; its log: {list(place.log)[-5:]}"]
    print(f"{name}: {row.seen.rounds} rounds, {row.verdict}", file=sys.stderr, flush=True)
    return row


def killed(plan: Plan, copy: int) -> list[Row]:
    """The kills."""
    honest, back_max = (10, 10.0) if plan.short else (100, 1.0)
    row = Row("kill-9", Seen())
    try:
        kills(f"{plan.seed} {copy}", row.seen, plan.turns(KILLS_MIN), honest=honest, back_max=back_max)
    except Exception as problem:
        row.seen.wrong.append(repr(problem))
    return [row]


def tasks(plan: Plan, names: list[str]) -> list[Callable[[], list[Row]]]:
    """What can be done at once. In the long setting each fault has a place of its own."""
    groups: list[list[str]] = []
    for name in (each for each in names if each in FAULTS):
        same = [each for each in groups if _wants(each[0]) == _wants(name)]
        if not plan.short or len(same) < (plan.jobs if _wants(name) == PLAIN else 1):
            groups.append([name])
        else:
            min(same, key=len).append(name)
    copies = range(plan.copies)
    found: list[Callable[[], list[Row]]] = [
        partial(at_one_place, plan, each, copy) for each in groups for copy in copies
    ]
    return found + [partial(killed, plan, copy) for copy in copies if "kill-9" in names]


PLAIN = (None, False, False)


def _wants(name: str) -> tuple[object, bool, bool]:
    """What decides whether two faults may have the same place."""
    fault = FAULTS[name]
    return fault.config, fault.own_disk, fault.leaves


def together(rows: Iterable[Row]) -> list[Row]:
    """One row for each fault."""
    found: dict[str, Row] = {}
    for row in rows:
        if row.name in found:
            found[row.name].seen.add(row.seen)
        else:
            found[row.name] = row
    return list(found.values())


def own_mounts() -> None:
    """What is mounted here is seen by nobody else, and goes with this process."""
    if os.geteuid() == 0 and ctypes.CDLL(None).unshare(0x00020000) == 0:  # CLONE_NEWNS
        subprocess.run(["mount", "--make-rprivate", "/"], check=False)


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    known = [*FAULTS, "kill-9"]
    parser = argparse.ArgumentParser(
        prog="python -m faults.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=0.0, help="long rounds, for about so long in all")
    parser.add_argument("--rounds", type=int, default=0, help="at least so many long rounds of each fault")
    parser.add_argument("--hours", type=float, default=0.0, help="the soak, for so long, and nothing else")
    parser.add_argument("--seed", type=int, default=1, help="decides moments and kinds (default: %(default)s)")
    parser.add_argument("--only", default=",".join(known), help="some of: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="places at once (default: %(default)s)")
    parser.add_argument("--honest", type=int, default=0, help="processes that feed (default: 8, 30, or 100)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows into the table of this page")
    options = parser.parse_args(arguments)
    options.names = [each.strip() for each in options.only.split(",")]
    if unknown := sorted(set(options.names) - set(known)):
        parser.error(f"no such fault: {', '.join(unknown)}; there are {', '.join(known)}")
    for name in ("minutes", "rounds", "hours", "honest"):
        if getattr(options, name) < 0:
            parser.error(f"--{name} must not be negative: {getattr(options, name)}")
    if options.jobs < 1:
        parser.error(f"--jobs must be 1 or more: {options.jobs}")
    if options.hours and (options.minutes or options.rounds):
        parser.error("--hours is the soak: it goes without --minutes and --rounds")
    return options


def main(arguments: list[str]) -> int:
    """1: a promise was broken."""
    options, began = parsed(arguments), time.monotonic()
    own_mounts()
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    if options.hours:
        rows = [soak(options.hours, str(options.seed), options.honest or 100, over)]
    else:
        plan = Plan(options, over)
        with ThreadPoolExecutor(options.jobs) as pool:
            begun = [pool.submit(each) for each in tasks(plan, options.names)]
            rows = together(row for each in begun for row in each.result())
    print(table.shown(rows))
    broken = sum(row.verdict == "broken" for row in rows)
    took = time.monotonic() - began
    print(f"{len(rows)} faults, {broken} broken, {took:.0f} s, seed {options.seed}, {os.cpu_count()} processors")
    if options.write:
        how = f"The last run: `python -m faults.run {' '.join(arguments)}`, {took / 60:.0f} min"
        how += f", {os.cpu_count()} processors."
        table.write(options.write, rows, how)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
