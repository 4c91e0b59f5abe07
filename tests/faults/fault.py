"""What a fault is, and those that there are.

A fault is a generator. It does its harm, yields how many seconds are to be watched, as often as it likes, and
undoes the harm when it is closed. By then the supervisor may have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from random import Random
from typing import Literal

from .place import Place

PROMISES = {
    1: "no false verdict",
    2: "no missed verdict",
    4: "verdicts outlive everything",
    5: "a bad callback hurts only itself",
}
"""By their number in docs/promise.md. That feeding is harmless is looked at in all of them."""

Seconds = Generator[float, None, None]
Harm = Callable[[Place, Random, float], Seconds]


@dataclass(frozen=True)
class Fault:
    """``seconds``: of a long round. ``journal``: it works, waits until it can be written, or loses what it had."""

    promise: int
    what: str
    test: str
    harm: Harm
    seconds: float = 4.0
    config: Callable[[Place], None] | None = None
    own_disk: bool = False
    journal: Literal["works", "waits", "loses"] = "works"
    lasting: float = 0.0
    """seconds by which all may be later: it gets little of the processor, or waits for the disk"""
    more_max: int = 64 * 2**20
    """bytes of memory that it may cost"""
    leaves: bool = False
    """it leaves thousands of names behind"""
    errors: bool = False
    """faults that the supervisor survives are to be expected"""


FAULTS: dict[str, Fault] = {}


def fault(promise: int, what: str, test: str, **more: object) -> Callable[[Harm], Harm]:
    """A fault of the suite, named like its function."""

    def add(harm: Harm) -> Harm:
        name = harm.__name__.replace("_", "-")
        FAULTS[name] = Fault(promise, what, f"tests/{test}", harm, **more)  # type: ignore[arg-type]
        return harm

    return add
