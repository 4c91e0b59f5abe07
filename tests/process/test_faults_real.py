"""Nothing that one message, one thread or one exception can end: a fault planted at each place of the loop.

The list of places is the code's own (``guard.Place``): a new one without a plant here fails.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from banken.address import resolve
from banken.control import Control, Events
from banken.process_identity import boot_id, process_start
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor import Supervisor
from banken_supervisor.control import control_api
from banken_supervisor.coordination.settings import UpwardSettings
from banken_supervisor.engine.policy import Window
from banken_supervisor.keys.directory import KeyDirectory
from banken_supervisor.observability.guard import REPORT_EVERY_S, REST_S, Guard, Place
from banken_supervisor.outbox.checkpoints import Checkpoints
from banken_supervisor.runtime import address_monitor, lock
from banken_supervisor.runtime.upward import Upward, counts_of
from process.kit import until

pytestmark = pytest.mark.process

TIMEOUT = 0.5
IN_TIME = 2.0
"""Seconds after its deadline by which another watchdog's verdict must be heard, on a busy machine."""

HOURS = Declaration(3600.0, 3600.0, 3600.0)


class Bench:
    """A real supervisor in this process, and somebody who listens."""

    def __init__(self, address: str, journal: Path, patch: pytest.MonkeyPatch, fault: type[Exception]) -> None:
        self.address = address
        self.directory = journal.parent
        self.patch = patch
        self.fault = fault
        self.supervisor = Supervisor(address, journal=journal)
        self.lines: list[str] = []
        self.closing: list[Callable[[], Any]] = []

    @property
    def loop(self) -> Any:
        assert self.supervisor._loop is not None
        return self.supervisor._loop

    def plant(self, owner: Any, name: str, times: int = 2, when: Callable[..., bool] = lambda *_: True) -> None:
        """Have ``owner.name`` raise so many times, where ``when`` says so of its arguments, and then work again."""
        whole, left = getattr(owner, name), [times]

        def raising(*args: Any, **kwargs: Any) -> Any:
            if left[0] and when(*args):
                left[0] -= 1
                raise self.fault("planted")
            return whole(*args, **kwargs)

        self.patch.setattr(owner, name, raising)

    def post(self, do: Callable[[], None]) -> None:
        """Have the loop do something."""
        self.supervisor._mailbox.post(do)

    def ask(self, op: str, **args: Any) -> Any:
        with Control(self.address, 10.0) as control:
            return control.request(op, **args)

    def push(self, *frames: bytes) -> None:
        """Send these in one burst to the feed socket."""
        context: zmq.Context[Any] = zmq.Context()
        self.closing.append(context.term)
        with context.socket(zmq.PUSH) as socket:
            socket.setsockopt(zmq.LINGER, 2000)
            socket.connect(resolve(self.address).feed)
            for frame in frames:
                socket.send(frame)

    def feed(self, name: str, timeout: float = TIMEOUT) -> None:
        """Declare and feed, anonymously."""
        frame = encode(Message(Kind.FEED, name, None, 0.0, Declaration(timeout, timeout, timeout)))
        self.ask("tell", frame=frame)


def _wait(bench: Bench) -> None:
    bench.plant(bench.loop._sockets, "wait")


def _start(bench: Bench) -> None:
    bench.plant(Checkpoints, "restore", times=1)


def _clock(bench: Bench) -> None:
    bench.plant(bench.loop.driver, "wake")


def _feed(bench: Bench) -> None:
    bench.plant(bench.loop.driver.engine, "take", when=lambda frame, *_: b"poison" in frame)
    poison, good = (encode(Message(Kind.FEED, name, None, 0.0, HOURS)) for name in ("poison", "behind-it"))
    bench.push(poison, poison, good)
    until(lambda: bench.ask("status", name="behind-it")["rows"], "what came behind it is taken")


def _subscription(bench: Bench) -> None:
    bench.plant(bench.loop.driver.engine.incidents, "replay")
    bench.closing.append(Events(bench.address, ["somebody", "else"]).close)


def _message(bench: Bench) -> None:
    def poison() -> None:
        raise bench.fault("planted")

    bench.post(poison)


def _exit(bench: Bench) -> None:
    bench.plant(bench.loop.driver.engine.processes, "exited")
    with subprocess.Popen(["sleep", "60"]) as child:
        who = ProcessIdentity(boot_id(), child.pid, process_start(child.pid), b"1234")
        bench.push(encode(Message(Kind.FEED, "worker", who, 0.0, HOURS)))
        until(lambda: bench.ask("summary")["processes_watched"] == 1, "it is watched")
        child.kill()


def _programs(bench: Bench) -> None:
    bench.plant(bench.loop.programs, "turn")


def _request(bench: Bench) -> None:
    bench.patch.setitem(control_api.OPS, "ping", _raiser(bench))
    with pytest.raises(Exception, match="internal error of the supervisor"):
        bench.ask("ping")


def _raiser(bench: Bench) -> Callable[..., Any]:
    def raising(*args: Any) -> Any:
        raise bench.fault("planted")

    return raising


def _verdict(bench: Bench) -> None:
    bench.plant(bench.loop.driver.engine.verdicts, "_judge_one", when=lambda record, *_: record.name == "poison")
    bench.feed("poison", 0.1)


def _judge(bench: Bench) -> None:
    bench.plant(bench.loop.driver, "decide")


def _probe(bench: Bench) -> None:
    bench.plant(bench.loop._sockets, "send_barrier")


def _effect(bench: Bench) -> None:
    bench.plant(bench.loop.callbacks, "has", when=lambda name, *_: name == "poison")
    bench.feed("poison", 0.1)


def _notifications(bench: Bench) -> None:
    bench.plant(bench.loop.dispatcher.notices, "turn")


def _actions(bench: Bench) -> None:
    bench.plant(bench.loop.dispatcher, "turn")


def _time_limits(bench: Bench) -> None:
    bench.plant(bench.loop.callbacks, "check")
    bench.patch.setattr(bench.loop.callbacks, "patience", lambda real: 0.05)


def _journal(bench: Bench) -> None:
    bench.plant(bench.loop.outbox, "record", when=lambda event, *_: event.name == "poison")
    bench.feed("poison", 3600.0)


def _announce(bench: Bench) -> None:
    bench.plant(bench.loop._sockets.events, "publish", times=1)
    bench.feed("somebody")


def _registry(bench: Bench) -> None:
    bench.plant(bench.loop.checkpoints, "turn")


def _maintenance(bench: Bench) -> None:
    bench.plant(bench.loop.maintenance, "_clock")
    bench.loop.maintenance.set([Window("0 3 * * *", 60.0)])


def _address(bench: Bench) -> None:
    bench.plant(lock.AddressLock, "lost")


def _log(bench: Bench) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "planted" not in record.getMessage():
                raise bench.fault("planted")

    broken = Broken()
    log = logging.getLogger("banken.supervisor")
    log.addHandler(broken)
    bench.closing.append(lambda: log.removeHandler(broken))
    bench.feed("somebody", 0.1)


def _resources(bench: Bench) -> None:
    bench.plant(bench.loop.resources, "_look_at_memory")


def _cluster(bench: Bench) -> None:
    """It is in none: this stands for one."""
    nobody = SimpleNamespace(takes=lambda what: False)
    cluster: Any = SimpleNamespace(
        turn=lambda: None,
        look=lambda: None,
        patience=lambda: 0.05,
        state=dict,
        members=SimpleNamespace(same_name=None),
        words=nobody,
        for_leader=nobody,
        end=SimpleNamespace(begin=lambda: None, is_awaited=lambda: False),
        close=lambda wait: True,
    )
    bench.loop.cluster = cluster
    bench.plant(cluster, "turn")


def _outer_watchdogs(bench: Bench) -> None:
    bench.plant(bench.loop.outer, "turn")


def _upward(bench: Bench) -> None:
    """The thread that feeds other supervisors goes on."""
    keys = KeyDirectory(bench.directory / "keys")
    keys.new("own")
    servers = '[servers]\n"tcp://127.0.0.1:1" = "' + "x" * 40 + '"\n'
    path = keys.path / "own.key"
    path.write_text(path.read_text() + servers)
    loop = bench.loop
    upward = Upward(
        UpwardSettings(("tcp://127.0.0.1:1",), str(path), "host/x", 1.0), lambda: counts_of(loop.driver, 1),
        bench.supervisor._mailbox.post, loop.publish, loop.fault_elsewhere(Place.UPWARD),
    )  # fmt: skip
    bench.plant(upward, "_look")
    upward.start()
    bench.closing.append(upward.close)


def _turn(bench: Bench) -> None:
    bench.plant(bench.loop.messages, "handle_some")


PLANTS: dict[Place, Callable[[Bench], None]] = {
    Place.START: _start, Place.WAIT: _wait, Place.CLOCK: _clock, Place.FEED: _feed,
    Place.SUBSCRIPTION: _subscription, Place.MESSAGE: _message, Place.EXIT: _exit, Place.PROGRAMS: _programs,
    Place.REQUEST: _request, Place.VERDICT: _verdict, Place.JUDGE: _judge, Place.PROBE: _probe,
    Place.EFFECT: _effect, Place.NOTIFICATIONS: _notifications, Place.ACTIONS: _actions,
    Place.TIME_LIMITS: _time_limits, Place.JOURNAL: _journal, Place.ANNOUNCE: _announce,
    Place.REGISTRY: _registry, Place.MAINTENANCE: _maintenance, Place.ADDRESS: _address, Place.LOG: _log,
    Place.RESOURCES: _resources, Place.TURN: _turn, Place.CLUSTER: _cluster,
    Place.OUTER_WATCHDOGS: _outer_watchdogs,
    Place.UPWARD: _upward,
}  # fmt: skip


@contextmanager
def _running(bench: Bench) -> Iterator[None]:
    """The supervisor's lines are kept while it runs."""

    class HeadAndTail(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            bench.lines.append(record.getMessage())

    kept, log = HeadAndTail(), logging.getLogger("banken.supervisor")
    log.addHandler(kept)
    try:
        with bench.supervisor:
            yield
    finally:
        log.removeHandler(kept)
        bench.supervisor._mailbox.close()
        for close in bench.closing:
            close()


@pytest.mark.parametrize("fault", [ZeroDivisionError, MemoryError])
@pytest.mark.parametrize("place", Place)
def test_a_fault_anywhere_changes_nothing_for_another_watchdog(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Place, fault: type[Exception]
) -> None:
    """It is counted, told and logged with its traceback; another watchdog's verdict comes in time."""
    monkeypatch.setattr(address_monitor, "CHECK_EVERY_S", 0.05)
    bench = Bench(address, tmp_path / "journal", monkeypatch, fault)
    if place is Place.START:
        PLANTS[place](bench)
    with _running(bench):
        with Events(address) as events:
            bench.feed("first", 3600.0)
            until(lambda: events.next(0.05) or bench.feed(f"f-{time.monotonic()}", 3600.0), "events are heard")
            if place is not Place.START:
                PLANTS[place](bench)
            bench.feed("other")
            fed = time.monotonic()
            heard: list[dict[str, Any]] = []
            wanted = {("expired", "other")} | (set() if place is Place.START else {("internal-error", None)})
            while wanted and time.monotonic() - fed < TIMEOUT + IN_TIME + 5.0:
                event = events.next(0.2)
                if event is not None:
                    heard.append({**event, "heard": time.monotonic()})
                    wanted.discard((event["type"], event.get("name")))
        assert not wanted, [(each["type"], each.get("name")) for each in heard]
        verdict = next(each for each in heard if each["type"] == "expired" and each["name"] == "other")
        assert verdict["heard"] - fed < TIMEOUT + IN_TIME
        told = [each for each in heard if each["type"] == "internal-error"]
        assert all(each["place"] == place and fault.__name__ in each["text"] for each in told)
        summary = bench.ask("summary")
        assert summary["internal_errors"].keys() == {place.value}
        assert summary["events"]["internal-error"] == 1, "told once in the interval, however often it struck"
        until(lambda: [line for line in bench.lines if f"internal error at {place}" in line], "it is logged")
        (line,) = (line for line in bench.lines if f"internal error at {place}" in line)
        assert "Traceback" in line
        assert "planted" in line
        if place in (Place.VERDICT, Place.EFFECT):
            until(lambda: bench.ask("status", name="poison")["rows"][0]["incidents"] == 1, "it is judged, too")


def test_every_place_has_a_plant() -> None:
    """Else a new one could be without a guard, and nobody would see it."""
    assert set(PLANTS) == set(Place)


@pytest.mark.parametrize("op", control_api.OPS)
def test_a_fault_in_any_request_is_answered(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, op: str
) -> None:
    """Whatever was asked: the asker gets an error in plain words, and the next one an answer."""
    bench = Bench(address, tmp_path / "journal", monkeypatch, RecursionError)
    monkeypatch.setitem(control_api.OPS, op, _raiser(bench))
    with _running(bench):
        with pytest.raises(Exception, match="internal error of the supervisor"):
            bench.ask(op)
        assert bench.ask("programs" if op != "programs" else "ping") is not None
        assert bench.loop.guard.counts == {"request": 1}


def test_a_fault_that_comes_in_every_turn_is_told_once_and_takes_no_core() -> None:
    """A thousand faults: one line and one event, all counted; after the interval one more, with their number."""
    now = [100.0]
    events: list[Any] = []
    lines: list[Any] = []
    guard = Guard(events.append, lambda level, text, fields: lines.append(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("banken_supervisor.observability.guard.monotonic", lambda: now[0])
        for _ in range(1000):
            assert guard.run(Place.TURN, divmod, 1, 0) is None
        assert (len(events), len(lines), guard.counts["turn"]) == (1, 1, 1000)
        now[0] += REPORT_EVERY_S
        guard.run(Place.TURN, divmod, 1, 0)
    assert events[-1].data["count"] == 1000
    began = time.monotonic()
    guard.rest()
    assert time.monotonic() - began >= REST_S
