"""What a piece of work costs: ``with dog.work("GET /x", limit=30):``, beside a feed and a section.

*The worker*: an empty block in a hot loop, connected to a real supervisor, nothing late; wall time, rounds
interleaved, medians. A section is a watchdog of its own and sends two messages; work mostly sends none.

*The supervisor*: one process that works a thousand times a second; the CPU time of the supervisor that is
spent on it, and how much longer the journal is afterwards. The same for sections, fewer of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median

from common import Child, Figure, cpu_seconds, interleaved, per_call_ns, short_directory, wait_for
from stage import Stage

from banken import client
from banken.control import Control

SCOPE_NS_MAX = 1_500
CPU_US_MAX = 150
JOURNAL_MAX = 0
PER_SECOND = 1_000


def run(quick: bool) -> list[Figure]:
    """All figures of this benchmark."""
    return [*_worker(quick), *_supervisor(quick)]


def _worker(quick: bool) -> list[Figure]:
    calls = 20_000 if quick else 50_000
    with Stage() as stage:
        client.connect(stage.directory)
        dog, fed = client.watchdog("work"), client.watchdog("fed")

        def work() -> None:
            with dog.work("GET /x", limit=30):
                pass

        def section() -> None:
            with client.section("load", timeout=30):
                pass

        results = interleaved(
            7 if quick else 15,
            {
                "work": lambda: per_call_ns(work, calls),
                "section": lambda: per_call_ns(section, calls // 100),
                "feed": lambda: per_call_ns(fed.feed, calls),
            },
        )
        client.close()

    def figure(what: str, name: str, limit: float | None = None) -> Figure:
        ns = results[name]
        note = f"from {min(ns):,.0f} to {max(ns):,.0f} in {len(ns)} rounds"
        return Figure("scopes", what, median(ns), "ns", at_most=limit, note=note, data={"ns": ns})

    return [
        figure("work, nothing late", "work", SCOPE_NS_MAX),
        figure("section", "section"),
        figure("Watchdog.feed(), coalesced", "feed"),
    ]


def _supervisor(quick: bool) -> list[Figure]:
    seconds = 5.0 if quick else 20.0
    with short_directory() as directory:
        address, journal = os.path.join(directory, "a"), os.path.join(directory, "journal.db")
        with Child("run", "--address", address, "--journal", journal, module="banken_supervisor") as child:
            wait_for("the supervisor answers", lambda: _answers(address), 20.0)
            client.connect(address)
            dog = client.watchdog("work")

            def work() -> None:
                with dog.work("GET /x", limit=30):
                    pass

            def section() -> None:
                with client.section("load", timeout=30):
                    pass

            work()
            measured = [_at_rate(each, PER_SECOND, seconds, child.pid, journal) for each in (work, section)]
            client.close()
    (us, more), (section_us, section_more) = measured
    count = f"{PER_SECOND:,} a second for {seconds:g} s"
    return [
        Figure("scopes", "the supervisor's CPU a piece of work", us, "µs", at_most=CPU_US_MAX, note=count),
        Figure("scopes", "the journal's growth a piece of work", more, "bytes", at_most=JOURNAL_MAX, note=count),
        Figure("scopes", "the supervisor's CPU a section", section_us, "µs", note=count),
        Figure("scopes", "the journal's growth a section", section_more, "bytes", note=count),
    ]


def _at_rate(call: Callable[[], None], rate: int, seconds: float, pid: int, journal: str) -> tuple[float, float]:
    """(the supervisor's CPU in µs, the journal's growth in bytes) a call, at this rate; idle time is taken off."""
    time.sleep(2.0)  # what is written or looked at now and then is over
    idle = _spent(pid, journal, seconds / 4, lambda: None, 0)
    spent = _spent(pid, journal, seconds, call, rate)
    calls = rate * seconds
    return max(0.0, spent[0] - 4 * idle[0]) / calls * 1e6, max(0.0, spent[1]) / calls


def _spent(pid: int, journal: str, seconds: float, call: Callable[[], None], rate: int) -> tuple[float, float]:
    cpu, size = cpu_seconds(pid), _size(journal)
    began, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        while done < rate * passed:
            call()
            done += 1
        time.sleep(0.001)
    time.sleep(1.0)  # what it still writes
    return cpu_seconds(pid) - cpu, _size(journal) - size


def _size(journal: str) -> float:
    """Bytes of the database and its log."""
    found = [path for path in (journal, f"{journal}-wal") if os.path.exists(path)]
    return float(sum(os.path.getsize(path) for path in found))


def _answers(address: str) -> bool:
    try:
        with Control(address, 0.5) as control:
            control.request("ping")
    except ConnectionError:
        return False
    return True
