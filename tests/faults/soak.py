"""Hours with many processes and a fault each minute: is anything wrong, and does anything grow?

Each minute is printed with what was seen by then: of a run that is ended from outside the last line counts.
"""

from __future__ import annotations

import os
import threading
import time
from random import Random
from statistics import linear_regression

from process.kit import memory

from .catalogue import FAULTS
from .place import Place
from .rounds import suffer
from .seen import NotHere, Seen
from .table import Row, figures

MINUTE_S = 60.0
WARM = 0.25
"""The share of the time after which nothing may grow any more, once each fault was made, in a random order."""

GROWTH_MAX = 2**20
"""Bytes an hour."""

JUDGED_FROM = 1.0
"""Hours of a run that can show whether memory grows."""

DESCRIPTORS_MAX = 10
"""More than when it was warm."""

FAULTS_OF_IT = [
    name
    for name, fault in FAULTS.items()
    if not (fault.leaves or fault.own_disk or fault.config) and name not in ("damaged-journal", "busy")
]
"""Those that leave the supervisor, its journal and its names as they were."""


def soak(hours: float, seed: str, honest: int, over: threading.Event) -> Row:
    """A row of the table; progress is printed. It ends early when ``over`` is set."""
    chance, total, samples = Random(seed), Seen(), []
    first = chance.sample(FAULTS_OF_IT, len(FAULTS_OF_IT))
    began, warm_at = time.monotonic(), 0.0
    end = began + hours * 3600
    with Place(honest) as place:
        pid = place.pid
        while (now := time.monotonic()) < end and not over.is_set():
            name = first.pop() if first else chance.choice(FAULTS_OF_IT)
            try:
                seen = suffer(place, FAULTS[name], chance, chance.uniform(2.0, 10.0))
            except NotHere:
                continue
            while time.monotonic() < min(end, now + MINUTE_S) and not over.is_set():
                place.watch(1.0)
                place.settle()
            seen.add(place.judge())
            seen.wrong = [f"{name}: {each}" for each in seen.wrong]
            total.add(seen)
            total.calm.clear()  # of a soak the hours count
            total.more = 0
            if place.pid != pid:
                total.wrong.append("it did not live through it")
                break
            open_ = len(os.listdir(f"/proc/{pid}/fd"))
            at, size = (time.monotonic() - began) / 3600, memory(pid)
            samples.append((at, size, open_))
            warm_at = at if first else max(warm_at, WARM * hours)
            so_far = f"{at * 60:.0f} min, {name}: {size / 2**20:.1f} MB, {open_} open; {figures(total)}"
            print(so_far, *seen.wrong, sep="\n  ", flush=True)
    warm = [each for each in samples if each[0] >= warm_at] or samples
    times, sizes, _ = zip(*warm, strict=True)
    slope = linear_regression(times, sizes).slope if len(warm) > 2 else 0.0
    verdicts = figures(total)  # what follows is none
    most = max(each[2] for each in warm) - warm[0][2]
    if hours >= JUDGED_FROM and slope > GROWTH_MAX:
        total.wrong.append(f"memory grows by {slope / 2**20:.1f} MB an hour")
    if most > DESCRIPTORS_MAX:
        total.wrong.append(f"{most} descriptors more")
    grown = f"after the first {warm_at * 60:.0f} min {slope / 2**20:+.2f} MB an hour"
    grown += f", at most {most} descriptors more"
    return Row("soak", total, figure=f"{(time.monotonic() - began) / 60:.0f} min: {verdicts}; {grown}")
