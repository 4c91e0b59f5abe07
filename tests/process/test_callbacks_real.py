"""A bad callback hurts only itself."""

from __future__ import annotations

import signal
import time

import pytest

from banken.control import Events
from banken_supervisor.runtime.signals import ONE_CAUSE_S
from banken_supervisor.runtime.supervisor import CALLBACK_DRAIN, STOP_LIMIT
from process.kit import START_S, Child, Home, percentile, until

pytestmark = pytest.mark.process


def _lateness(supervisor: Child) -> list[float]:
    supervisor.tell("report")
    return supervisor.hear()


def test_stuck_and_raising_callbacks_delay_no_other(home: Home) -> None:
    """While callbacks sleep for 60 s, raise, exit and interrupt, none of the others waits for them. (How late they
    are is for benchmarks/callbacks.py to say; here it is only told.)"""
    supervisor = home.supervisor("callbacks", "stuck,raises,exits,interrupts", 20, 0.1)
    events = home.events()
    until(lambda: home.ask("summary")["callbacks"]["stuck"], "it is stuck", START_S)
    events.during(2.0)
    late = _lateness(supervisor)
    print(f"{len(late)} runs: p50 {percentile(late, 0.5) * 1e3:.1f} ms, p99 {percentile(late, 0.99) * 1e3:.1f} ms")
    assert len(late) >= 50
    assert percentile(late, 0.99) < 10.0
    assert len(events.all("callback-failed", "raises")) > 10
    assert "ValueError: on purpose" in events.all("callback-failed", "raises")[0]["text"]
    assert "SystemExit" in events.all("callback-failed", "exits")[0]["text"]
    assert "KeyboardInterrupt" in events.all("callback-failed", "interrupts")[0]["text"]
    assert events.all("callback-done", "other-7")
    # The stuck one runs once; its later runs are left out, and that is told. (It may be told before we listen.)
    summary = home.ask("summary")
    assert summary["events"]["callback-stuck"]
    assert len(events.all("callback-stuck", "stuck")) <= 1
    assert len(events.all("callback-skipped", "stuck")) > 1
    assert summary["callbacks"]["stuck"]


def test_a_callback_that_holds_the_interpreter_convicts_nobody(home: Home) -> None:
    """With a stuck, a raising and a lock-holding callback (a regular expression) together, no worker is convicted
    whose timeout is shorter than the lock is held; and a silent one is still found."""
    supervisor = home.supervisor("callbacks", "stuck,raises,holds", 5, 0.2)
    worker = home.worker("feeder", "silent", 1.0, 0.1)
    worker.hear()
    home.worker("herd", 8, 1.0, 0.2).hear()
    until(lambda: home.ask("summary")["states"]["alive"] >= 8, "all are fed", 15)
    events = home.events()
    held = supervisor.hear()["held"]
    # What it did before this test could listen is on record with the supervisor, too.
    stalled = home.ask("summary")
    events.during(1.2)
    print(f"held for {held:.2f} s; {stalled['lost']:.2f} s in {stalled['stalls']} stalls were not credited")
    assert held > 1.2  # longer than the timeout of all who were fed meanwhile
    workers = home.rows("w-*") | home.rows("silent")
    assert len(workers) == 9
    assert all(row["incidents"] == 0 and row["state"] == "alive" for row in workers.values())
    assert home.ask("summary")["stalls"] >= 1
    worker.kill()
    killed = time.time()
    assert events.until(START_S, "expired", "silent")["time"] - killed <= 1.5


def test_a_lock_holding_callback_while_others_feed_convicts_nobody(home: Home) -> None:
    """The same, set off by a worker's own word while eight others feed at a fifth of their timeout: no false
    verdict, and the supervisor says that it lost the time."""
    supervisor = home.supervisor("named", 30, "holds")
    events = home.events()
    home.worker("herd", 8, 1.0, 0.2).hear()
    until(lambda: home.ask("summary")["states"]["alive"] == 8, "all are fed")
    mine = home.client()
    mine.watchdog("regex", timeout=3600, callback="holds").feed()
    mine.fail("regex", "set off by the test")
    assert supervisor.hear()["held"] > 1.2
    events.until(START_S, "callback-done", "regex")
    events.during(1.3)
    assert events.convicted() == {"regex"}
    events.until(START_S, "stalled")
    # Of the time that it did not run, up to a second counts as the wait that it had asked for.
    assert home.ask("summary")["lost"] > 0.1


@pytest.mark.parametrize("kind", ["recurses", "unprintable", "surrogate", "verbose", "exits", "interrupts"])
def test_whatever_a_callback_raises_is_told_and_ends_nothing(home: Home, kind: str) -> None:
    """A recursion without end, an exception without a text, one whose text is not Unicode, one of 5 MB, SystemExit
    and KeyboardInterrupt are reported as failed callbacks, and the supervisor goes on."""
    supervisor = home.supervisor("named", 30)
    events = home.events()
    mine = home.client()
    mine.watchdog("bad", timeout=3600, callback=kind)
    mine.fail("bad", "set off by the test")
    failed = events.until(START_S, "callback-failed", "bad")
    assert 0 < len(failed["text"]) <= 8192
    mine.watchdog("next", timeout=3600, callback="good")
    mine.fail("next", "the next one")
    assert supervisor.hear()["ran"] == "next"
    assert supervisor.running()


def test_a_callback_runs_at_most_once_at_a_time(home: Home) -> None:
    """A callback that takes 0.3 s, due every 0.05 s, never overlaps itself; runs left out are told."""
    supervisor = home.supervisor("callbacks", "overlapping", 0, 1)
    events = home.events()
    assert [supervisor.hear()["running"] for _ in range(5)] == [1] * 5
    assert events.until(2, "callback-skipped", "overlapping")


def test_a_stuck_callback_is_told_and_not_waited_for(home: Home) -> None:
    """A callback that outlives its limit is told as stuck within a second of it, and a name that is unknown is
    told as failed."""
    home.supervisor("named", 0.5)
    events = home.events()
    mine = home.client()
    mine.watchdog("slow", timeout=3600, callback="stuck")
    mine.watchdog("lost", timeout=3600, callback="nobody-bound-this")
    mine.fail("slow", "set off by the test")
    verdict = events.until(START_S, "expired", "slow")
    stuck = events.until(START_S, "callback-stuck", "slow")
    assert 0.5 - 0.1 <= stuck["time"] - verdict["time"] <= 0.5 + 1.5
    assert stuck["incident"] == verdict["incident"]
    mine.fail("lost", "set off by the test")
    assert "nobody-bound-this" in events.until(START_S, "callback-failed", "lost")["text"]


@pytest.mark.parametrize("kinds", ["stuck,raises", "stuck,holds"])
def test_sigterm_stops_in_order_even_while_callbacks_hang(home: Home, kinds: str) -> None:
    """SIGTERM ends the supervisor with code 0 within STOP_LIMIT while callbacks sleep or hold the interpreter."""
    supervisor = home.supervisor("callbacks", kinds, 3, 0.1)
    events = home.events()
    verdicts = {each["name"] for each in events.all("expired")}
    for kind in kinds.split(","):
        if kind not in verdicts:
            until(lambda kind=kind: home.row(kind).get("incidents"), f"{kind} has been called")
    supervisor.signal(signal.SIGTERM)
    code, seconds = supervisor.ended(STOP_LIMIT + START_S)
    ended = time.time()
    print(f"{kinds}: stopped {seconds:.2f} s after SIGTERM")
    assert code == 0
    # While the interpreter is held, a signal waits; how long that is in all is the machine's doing.
    assert ended - events.until(START_S, "stopping")["time"] <= STOP_LIMIT
    assert seconds <= STOP_LIMIT or "holds" in kinds


def test_a_second_signal_ends_it_at_once(home: Home) -> None:
    """A second SIGTERM does not wait for the callbacks."""
    supervisor = home.supervisor("callbacks", "stuck", 0, 1)
    events = home.events()
    until(
        lambda: home.ask("summary")["callbacks"]["running"] or home.ask("summary")["callbacks"]["stuck"], "it runs"
    )
    supervisor.signal(signal.SIGTERM)
    events.until(10, "stopping")
    time.sleep(2 * ONE_CAUSE_S)  # else it would count as the same wish
    supervisor.signal(signal.SIGTERM)
    code, seconds = supervisor.ended(10)
    assert code == 128 + signal.SIGTERM  # not 0, as after a wait for the callbacks
    assert seconds < CALLBACK_DRAIN


@pytest.mark.parametrize("when", ["first", "closed"])
def test_a_remote_callback_runs_in_the_workers_process_while_its_main_thread_hangs(home: Home, when: str) -> None:
    """client.watchdog(…, callback=f): f runs in the worker, at the verdict and every interval, while the worker's
    main thread is deadlocked; also when the client was closed and has fed again since."""
    home.supervisor()
    events = home.events()
    worker = home.worker("calls_back", "dead", 1.5, 0.7, when)  # it listens before it falls due
    worker.hear()
    verdict = events.until(10, "expired", "dead")
    for run in (1, 2, 3):
        ran = worker.hear(10)
        assert (ran["pid"], ran["run"], ran["incident"]) == (worker.pid, run, verdict["incident"])
        assert ran["cause"] == "timeout"


def test_a_listener_that_comes_late_is_told_the_open_incident_once(home: Home) -> None:
    """A callback that is set while an incident is open runs for it, once."""
    home.supervisor()
    events = home.events()
    worker = home.worker("calls_back", "dead", 0.4, 3600, "late")
    worker.hear()
    verdict = events.until(10, "expired", "dead")
    worker.tell()
    ran = worker.hear(10)
    assert (ran["pid"], ran["run"], ran["incident"]) == (worker.pid, 1, verdict["incident"])
    # Another listener's arrival repeats it to all; whoever has run it does not run it again.
    until(lambda: len(events.all("expired", "dead")) == 2, "its own arrival has repeated it, too")
    with Events(home.address, names=["dead"]) as other:
        assert other.next(10)["incident"] == verdict["incident"]
    until(lambda: len(events.all("expired", "dead")) == 3, "and the other one's")
    assert worker.silent(0.5)
