"""What happens to names that several processes feed: a list of deeds that follows from a seed, and nothing else.

A deed that makes no sense when its time comes (a word of a process that has ended) is left out by the play, so that
a list from which some were taken is a list, too.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from banken.protocol.messages import Declaration, Feeders

SECONDS = 600.0
NAMES = ("w", "v")


class Deed(NamedTuple):
    """One thing that is done."""

    at: float
    """seconds since the beginning"""
    what: str
    who: int = 0
    """the number of a process; 0: an operator, or the host"""
    name: str = ""
    value: float = 0.0
    """seconds, an exit status or a progress value"""


class Plan(NamedTuple):
    """A round."""

    seed: int
    said: dict[str, Declaration]
    """by name"""
    is_operators: bool
    """the config says it, not the workers"""
    has_ladder: bool
    tells_end: bool
    """the ends of processes are noticed with their status"""
    deeds: list[Deed]


def plan(seed: int, seconds: float = SECONDS) -> Plan:
    """The round of this seed."""
    r = Random(seed)
    names = NAMES[: r.choice((1, 1, 2))]
    timeout = r.choice((5.0, 10.0, 10.0, 20.0, 100.0))
    said = {
        name: Declaration(
            timeout,
            r.choice((7.0, 1e6)),
            r.choice((5.0, timeout, 20.0, 45.0)),
            r.choice((Feeders.EACH, Feeders.EACH, Feeders.ANY)),
            None,
            r.choice((None, None, 3 * timeout)),
        )
        for name in names
    }
    is_operators = r.random() < 0.5
    deeds: list[Deed] = []
    for number in range(1, r.randint(3, 7)):
        begins = 0.0 if r.random() < 0.4 else r.uniform(0.0, 0.7 * seconds)
        deeds += _process(r, number, said, begins, seconds)
    for name in names:
        deeds += _operator(r, name, timeout, seconds, is_operators=is_operators)
    deeds += _host(r, timeout, seconds)
    grid = r.choice((0.001, 0.25, 1.0))  # on a coarse one much happens at the same moment
    deeds = [each._replace(at=round(round(each.at / grid) * grid, 3)) for each in deeds]
    deeds.sort(key=lambda each: each.at)
    return Plan(seed, said, is_operators, r.random() < 0.6, r.random() < 0.7, deeds)


def _process(r: Random, number: int, said: dict[str, Declaration], begins: float, seconds: float) -> list[Deed]:
    """What one process does with each of its names, until it ends."""
    ends = seconds if r.random() < 0.4 else begins + r.uniform(1.0, seconds)
    if r.random() < 0.1:
        name = r.choice([*said])
        return [
            Deed(begins, "start", number),
            *[Deed(begins, "feed", number, name)] * 3,
            Deed(begins, "unseen", number),
        ]
    deeds = [Deed(begins, "start", number)]
    for name, declared in said.items():
        if len(said) == 1 or r.random() < 0.7:
            deeds += _feeds(r, number, name, declared.timeout, begins, min(ends, seconds))
    if ends >= seconds:
        return deeds
    if r.random() < 0.5:
        says = ends - r.choice((0.0, r.uniform(0.0, 15.0)))
        deeds = [each for each in deeds if each.at < says]
        what = r.choice(("leave", "leave", "release", "die"))
        deeds += [Deed(max(says, begins), what, number, name) for name in said]
    return [*deeds, Deed(ends, "end", number, "", r.choice((0, 0, 1, -9, -15)))]


def _feeds(r: Random, number: int, name: str, timeout: float, at: float, until: float) -> list[Deed]:
    deeds = []
    often = r.choice((0.3, 0.6, 0.97))
    is_steady = r.random() < 0.3
    if r.random() < 0.4:
        deeds.append(Deed(at, "declare", number, name))
        at += r.uniform(0.0, 0.5 * timeout)
    while at < until:
        x = 0.0 if is_steady else r.random()
        what, value, wait = "feed", 0.0, timeout * r.uniform(0.1, often)
        if x > 0.97:
            wait = timeout * r.uniform(1.0, 3.0)
        elif x > 0.94:
            what, wait = "idle", timeout * r.uniform(0.2, 5.0)
        elif x > 0.88:
            what, value = "work", round(timeout * r.uniform(0.2, 2.0), 1)
            wait = value * r.choice((0.3, 0.9, 0.97, 1.2))
        elif x > 0.83:
            what, value = "extend", round(timeout * r.uniform(0.2, 4.0), 1)
            wait = value * r.choice((0.1, 0.5, 0.97, 1.3))
        elif x > 0.73:
            what, value = "note", float(r.randint(0, 3))
        elif x > 0.72:
            what, wait = "fail", timeout * r.uniform(0.0, 0.9)
        elif x > 0.71:
            what, wait = "release", timeout * r.uniform(0.0, 2.0)
        elif x > 0.70:
            what = "declare"
        elif x > 0.695:
            what, value = "pause", round(r.uniform(1.0, 40.0), 1)
        deeds.append(Deed(at, what, number, name, value))
        at += wait
    return deeds


def _operator(r: Random, name: str, timeout: float, seconds: float, *, is_operators: bool) -> list[Deed]:
    deeds, at = [], 0.0
    often = r.choice((30.0, 120.0, 1000.0))
    kinds = ("pause", "pause", "resume", "resume", "extend", "feed", "fail", "release", "reload")
    while (at := at + r.expovariate(1 / often)) < seconds:
        what, value = r.choice(kinds), 0.0
        if what == "pause":
            value = r.choice((0.0, round(r.uniform(1.0, 60.0), 1)))
        elif what == "extend":
            value = round(timeout * r.uniform(0.2, 4.0), 1)
        elif what == "reload":
            if not is_operators:
                continue
            value = r.choice((timeout, 2 * timeout, 0.0))  # 0: other feeders
        deeds.append(Deed(at, what, 0, name, value))
    return deeds


def _host(r: Random, timeout: float, seconds: float) -> list[Deed]:
    """Restarts of the supervisor, and times in which it stands still."""
    deeds, at = [], 0.0
    often = r.choice((60.0, 200.0, 10_000.0))
    while (at := at + r.expovariate(1 / often)) < seconds:
        if r.random() < 0.5:
            deeds.append(Deed(at, "restart", 0, r.choice(("lost", "kept")), r.choice((0.5, 5.0, 60.0))))
        else:
            deeds.append(Deed(at, "stall", 0, "", r.uniform(0.1, 1.5 * timeout)))
    return deeds
