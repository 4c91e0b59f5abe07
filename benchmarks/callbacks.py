"""7. What a bad callback does to the others.

*Stuck and raising*: in a real supervisor one callback sleeps for a minute and another one raises 20 times a
second, while probes (stage.py) fall due: the p99 of deadline to first line of *their* callbacks.

*Holding the interpreter's lock*: a callback runs a regular expression that keeps the lock for some seconds,
so that no other thread of the supervisor runs, its loop included, while another process goes on feeding.
Counted are verdicts on watchdogs that were fed all the time, each with a timeout much shorter than that.
The figure counts only if the lock was really held for that long.

*In a process of their own*, as those of a config: the p99 of deadline to first line there, idle, and while another
callback crashes its process again and again.
"""

from __future__ import annotations

import time

import traffic
from common import Figure
from stage import Stage

P99_MS_MAX = 50
OWN_P99_MS_MAX = 5
FALSE_MAX = 0
HOLD_S = 3.0
FED = 50
TIMEOUT_S = 1.0


def run(quick: bool) -> list[Figure]:
    """All figures."""
    probes = 200 if quick else 600
    own = [_own_process(probes // 2, crashing) for crashing in (False, True)]
    return [_stuck_and_raising(probes), _holding(1 if quick else 3), *own]


def _stuck_and_raising(probes: int) -> Figure:
    with Stage() as stage:
        stage.declare(probes, 0.5)
        stage.expire("stuck", "stuck")
        stage.expire("raising", "raises", interval_s=0.05)
        time.sleep(0.5)
        stage.probe(probes * 0.015)
        running = stage.summary()["callbacks"]
        marks = stage.finish()
    if not running["running"] or marks.said["raised"] < 20:
        raise RuntimeError(f"the bad callbacks did not run: {running}, raised {marks.said['raised']}")
    return Figure(
        "callbacks",
        "others' deadline to callback beside a stuck and a raising one, p99",
        marks.ms(0.99),
        "ms",
        at_most=P99_MS_MAX,
        note=f"{len(marks.lateness_s)} verdicts, {marks.said['raised']} raised, {marks.told()}",
        data={"lateness_s": marks.lateness_s},
    )


def _holding(times: int) -> Figure:
    called = traffic.names("fed", FED)
    with Stage(hold_s=HOLD_S) as stage:
        stage.feed_all(called, TIMEOUT_S, 1.0, 0.1)
        for turn in range(times):
            stage.expire(f"holding-{turn}", "hold")
            stage.feed_all(called, TIMEOUT_S, 2 * HOLD_S + 2.0, 0.1)
        summary = stage.summary()
        marks = stage.finish()
    held = marks.said["held"]
    if len(held) != times or min(held) < 1.5 * TIMEOUT_S:
        raise RuntimeError(f"the lock was held {held} s: not long enough to prove anything")
    false = [name for name in marks.names if name in set(called)]
    return Figure(
        "callbacks",
        "false verdicts while a callback holds the interpreter's lock",
        len(false),
        "",
        at_most=FALSE_MAX,
        note=f"held for {', '.join(f'{each:.1f}' for each in held)} s, "
        f"{FED} fed watchdogs with a timeout of {TIMEOUT_S:g} s; {summary['lost']:.1f} s credited to nobody",
        data={"held_s": held},
    )


def _own_process(probes: int, crashing: bool) -> Figure:
    with Stage(own=True) as stage:
        stage.declare(probes, 0.5)
        if crashing:
            stage.expire("crashes", "crashes", interval_s=0.05)
            time.sleep(2.0)  # by now it has a process of its own
        stage.probe(probes * 0.025)
        crashed = stage.summary()["events"].get("callback-failed", 0)
        marks = stage.finish()
    if crashing and not crashed:
        raise RuntimeError("nothing crashed")
    return Figure(
        "callbacks",
        f"deadline to callback in another process, {'beside one that crashes' if crashing else 'idle'}, p99",
        marks.ms(0.99),
        "ms",
        at_most=P99_MS_MAX if crashing else OWN_P99_MS_MAX,
        note=f"{len(marks.lateness_s)} verdicts, {marks.told()}" + (f", {crashed} crashes" if crashing else ""),
        data={"lateness_s": marks.lateness_s},
    )
