"""What happens in a whole simulation: a plan from a seed, as data, to be printed, cut down and replayed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple


class Trouble(NamedTuple):
    """One thing that happens. Seconds since the begin."""

    at: float
    what: str
    who: str = ""
    """a worker"""
    seconds: float = 0.0
    """how long it lasts, or until its process is started again"""
    amount: float = 0.0
    """its size: a status, a count, a number of bytes, seconds"""
    point: str = ""
    """where in the supervisor it happens: the ``amount``-th time that it comes to this point"""


TIMEOUTS = {"own-4": 4.0, "own-10": 10.0, "own-30": 30.0, "own-55": 55.0,
            "ladder-a": 4.0, "ladder-b": 4.0, "ladder-c": 4.0}  # fmt: skip
"""The workers, and after how much silence each is to be found. Those of the ladder have it from the config."""

POINTS = (
    "any", "clock", "lock", "wait", "read", "barrier", "commit", "commit", "committed", "committed", "publish",
    "publish", "deed",
)  # fmt: skip
"""Points of the supervisor at which it may stop or die; see ``World.passes``."""

WEIGHTS = {
    "hang": 14, "kill-worker": 6, "exit": 5, "crash": 3, "leave": 3, "stop-worker": 6, "fail": 4, "pause": 3,
    "extend": 3, "section": 5, "fork": 3, "late": 4, "cut": 4, "no-descriptor": 2, "garbage": 3, "double": 3,
    "narrow": 2, "stall": 8, "stall-at": 6, "kill-at": 14, "term": 3, "reload": 3, "full": 3, "failing": 2,
    "slow": 4, "idle": 4, "busy": 4, "lose": 1, "clock": 4, "no-thread": 2, "deed-hangs": 2, "deed-raises": 2,
    "deaf": 2,
}  # fmt: skip


def plan(seed: int, hours: float = 1.0, number: int | None = None) -> list[Trouble]:
    """``number`` troubles (a hundred an hour) over so many hours."""
    kinds = [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]
    return plan_of(kinds, seed, hours * 3600.0, round(100 * hours) if number is None else number)


def plan_of(kinds: Sequence[str], seed: int, seconds: float, number: int) -> list[Trouble]:
    """So many troubles of these kinds."""
    rng = random.Random(f"plan {seed}")
    found: list[Trouble] = []
    while len(found) < number:
        found += trouble(rng.choice(kinds), rng.uniform(5.0, seconds), rng)
    return sorted(found[:number])


def trouble(what: str, at: float, rng: random.Random) -> list[Trouble]:
    """One of a kind. A death of the supervisor comes with a silence, which is found at about that time."""
    who = rng.choice(list(TIMEOUTS))
    timeout = TIMEOUTS[who]
    some = rng.choice((0.05, 0.5, 3.0, 12.0, 30.0))
    back = rng.choice((0.05, 1.0, 5.0, 40.0))
    at = round(at, 3)
    match what:
        case "hang":
            made = Trouble(
                at, what, who, round(timeout * rng.choice((0.5, 1.2, 1.2, 2.0)) + rng.choice((0, 9, 20)), 3)
            )
        case "idle" | "busy":
            made = Trouble(at, what, who, round(timeout * rng.choice((1.5, 3.0, 6.0)), 3))
        case "kill-worker":
            made = Trouble(at, what, who, back)
        case "exit" | "crash" | "leave":
            made = Trouble(at, what, who, back, {"exit": 0, "crash": 1}.get(what, rng.choice((0, 1))))
        case "stop-worker":
            made = Trouble(at, what, who, round(timeout * rng.uniform(0.2, 2.5), 3))
        case "pause" | "extend":  # and it is silent meanwhile, or not
            made, length = (
                Trouble(at, what, who, 0.0, rng.choice((1.0, timeout, 90.0))),
                rng.choice((0.0, 40.0, 90.0)),
            )
            return [made, Trouble(at + 0.01, "hang", who, length)] if length else [made]
        case "section":
            made = Trouble(at, what, who, rng.choice((0.5, 4.0)), rng.choice((1.0, 3.0)))
        case "fork":
            made = Trouble(at, what, who, 0.0, rng.choice((1, 4)))
        case "late":
            made = Trouble(at, what, who, some, rng.choice((0.001, 0.1, 1.0)))
        case "double" | "garbage":
            made = Trouble(at, what, who, 0.0, rng.choice((1, 5)))
        case "narrow":
            made = Trouble(at, what, "", some, 400)
        case "stall":
            made = Trouble(at, what, "", some)
        case "stall-at":
            made = Trouble(at, what, "", some, rng.choice((0, 1, 3, 10, 40)), rng.choice(POINTS))
        case "kill-at":
            count = rng.choice((0, 0, 0, 1, 2, 4, 9, 30))
            late = round(timeout * rng.uniform(0.1, 1.2) + rng.choice((0.0, 0.0, 3.0, 8.0)), 3)
            return [
                Trouble(at, "hang", who, round(late + rng.choice((0.5, 5.0, 30.0)), 3)),
                Trouble(round(at + late, 3), what, "", back, count, rng.choice(POINTS)),
            ]
        case "term" | "deed-hangs" | "deed-raises" | "deaf":
            made = Trouble(at, what, "", back)
        case "slow":
            made = Trouble(at, what, "", some, rng.choice((0.02, 0.5, 1.5)))
        case "clock":
            made = Trouble(at, what, "", 0.0, rng.choice((-3600.0, 3600.0, 0.5, -0.5, 4e7, -4e7)))
        case "full" | "failing" | "no-thread" | "no-descriptor":
            made = Trouble(at, what, "", some)
        case _:
            made = Trouble(at, what, who)
    return [made]
