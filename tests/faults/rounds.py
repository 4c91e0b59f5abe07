"""One fault after another at one place, and the kills, which have a place of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from process.kills import Nights, Standby
from process.kit import START_S, Child, Home, memory, until

from .catalogue import Fault
from .place import SCRIPT, Place
from .seen import Seen

CALM_S = 0.4
"""Seconds before and after a fault in which probes are fed; less where the fault is short."""

WRITTEN = ("ok", "moved-aside", "lagging")
"""States of a journal that is written, whatever was before."""

MIXED = ("feed", "section", "extend", "fail", "requests", "connects", "garbage", "unfinished", "subscribers")
"""Attacks beside which the supervisor is killed, in turn."""


def suffer(place: Place, fault: Fault, chance: Random, seconds: float) -> Seen:
    """One round: calm, the fault, and calm again."""
    calm_s = min(CALM_S, max(0.2, seconds))
    place.lasting = 0.0
    place.watch(calm_s)
    place.settle()
    calm, place.seen.late = place.seen.late, []
    place.seen.deeds.clear()
    before = place.seen.more = memory(place.pid)
    place.lasting = fault.lasting
    pid = place.pid
    harm = fault.harm(place, chance, seconds)
    with closing(harm):
        for wait in harm:
            place.watch(wait)
            if not place.running():
                break
    if not place.running():
        place.seen.wrong.append(f"the supervisor ended: {place.process}; its log: {list(place.log)[-8:]}")
        place.start()
    place.watch(calm_s)
    place.settle()
    seen = Seen(calm=calm)
    until(lambda: _all_written(place), "all is in the journal", START_S)
    if fault.journal == "loses":  # from now on all is kept
        seen.add(place.judge(kept=False))
        place.watch(calm_s)
        place.settle()
    if not fault.errors and (errors := place.internal_errors()):
        place.seen.wrong.append(f"internal errors: {errors}")
    seen.add(place.judge())
    seen.rounds = 1
    seen.more = max(0, seen.more - before) if place.pid == pid else 0
    if seen.more > fault.more_max:
        seen.wrong.append(f"it took {seen.more / 2**20:.0f} MB more")
    return seen


def _all_written(place: Place) -> bool:
    """Whether nothing waits for the journal. Its state is good before the queue is written."""
    journal: dict[str, Any] = place.ask("summary")["journal"]
    return journal["state"] in WRITTEN and not journal["lag"]


def end_in(place: Place, fault: Fault, chance: Random, seconds: float) -> Seen:
    """SIGTERM in the middle of the fault, and the next supervisor."""
    place.lasting = fault.lasting
    harm = fault.harm(place, chance, seconds)
    with closing(harm):
        place.watch(min(next(harm), seconds))
        place.terminate()
    seen = place.judge(kept=fault.journal == "works")
    seen.more = 0
    place.start()
    place.back()
    place.hear_again()
    seen.back += place.seen.back
    place.judge(kept=False)
    return seen


def kills(seed: str, seen: Seen, turns: Iterable[int], *, honest: int, back_max: float) -> None:
    """kill -9 at random moments, once each turn, beside one attack or another."""
    with tempfile.TemporaryDirectory(prefix="bks-", dir="/tmp") as directory:
        home = Home(str(Path(directory) / "address"))
        runner, attacks = None, Child(SCRIPT, "attacks", home.address)
        try:
            runner = Standby(home.address)
            nights = Nights(home, runner, seed, steady=honest)
            for turn in turns:
                attacks.tell(MIXED[turn % len(MIXED)])
                nights.kill()
                attacks.tell()
                while attacks.hear() != {"over": True}:
                    pass
                seen.rounds += 1
            count = nights.finish()
        finally:
            attacks.close()
            if runner is not None:
                runner.close()
            home.close()
    seen.announced, seen.back = count.announced, count.back
    seen.wrong = [f"lost: {each}" for each in count.lost] + [f"doubled: {each}" for each in count.doubled]
    seen.wrong += [f"a false verdict on {each}" for each in count.false]
    seen.wrong += [f"the clients were back after {each:.1f} s" for each in count.back if each > back_max]
