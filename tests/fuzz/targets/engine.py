"""The engine: whatever is said, and however time goes by, it raises nothing; each event and row can be shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from random import Random

from banken.errors import WireError
from banken.protocol import answers
from banken.protocol.codec import decode, pack, unpack
from banken.protocol.limits import DROP_MAX
from banken.protocol.messages import Declaration, Feeders, Kind
from banken_supervisor.control.control_api import row
from banken_supervisor.engine.effects import Effect, Event, EventType, Fault
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.principal import OtherUser, Principal
from banken_supervisor.engine.record import deadline
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State
from banken_supervisor.text.event_text import log_line
from fuzz.targets import Own, frames

REASONS = frames.REASONS | {
    "check", "contest", "full", "group", "memory", "names", "not-owner", "undeclared", "unknown", "user",
}  # fmt: skip

ROUNDING = 1e-6
"""Seconds."""


class Messages(Own):
    """Several messages, each with a byte for who sends it, and one for how long after the former one."""

    QUICK = 800

    def fresh(self, chance: Random) -> bytes:
        made = b""
        for _ in range(chance.randint(1, 10)):
            frame = frames.frame(chance, 3)
            made += bytes((chance.choice((0, 0, 1, 2, 3)), chance.choice((0, 0, 1, 10, chance.randrange(256)))))
            made += len(frame).to_bytes(2, "big") + frame
        return made

    def check(self, data: bytes) -> None:
        engine, now = _engine(), 1_000.0
        out: list[Effect] = []
        working: set[str] = set()
        for who, wait, frame in _messages(frames.local(data)):
            with suppress(WireError):
                if (message := decode(frame)).kind is Kind.WORK:
                    working.add(message.name)
            now += wait
            _judge(engine, now, out)
            if who == 0:
                engine.waiting.at_once = 100
                engine.intake(iter((frame,)), now, out)
            else:
                refused = engine.take(frame, now, out, _PRINCIPALS[who])
                assert refused is None or refused.reason in REASONS, refused
        _judge(engine, now, out)
        _check_table(engine, now)
        _check_effects(out, working)
        # Nobody feeds any more: all that is judged by time is found.
        for _ in range(3):
            now += 315_360_000.0
            _judge(engine, now, out)
        for record in engine.table:
            due = deadline(record)
            judged = record.state in (State.ALIVE, State.WAITING)
            assert not judged or due is None or due > now - ROUNDING, f"{record.name} is due and is not judged"
        _check_effects(out, working)


_PRINCIPALS = (
    Principal.LOCAL,
    Principal.LOCAL,
    Principal.OPERATOR,
    OtherUser(1_000, lambda name: 1_000 if name == "w-1" else None, lambda process: process.pid != 1),
)


def _engine() -> Engine:
    """Three names with a policy of their own, and whatever is fed beside them."""
    rules = Rules(Declaration(10.0, 3.0, 20.0))
    ladder = Ladder((Step("log", repeat=1.0), Step("signal", 5.0, "critical")))
    rules.declare("w-0", Policy(Declaration(5.0, 2.0, 5.0, progress_timeout=8.0), ladder, min_interval=0.5))
    rules.declare("w-1", Policy(Declaration(5.0, 2.0, 5.0, Feeders.EACH), ladder, depends_on=("w-0",)))
    return Engine(rules, "run", b"token")


def _messages(data: bytes) -> Iterator[tuple[int, float, bytes]]:
    """(who, seconds since the former one, frame); the last may be cut."""
    while len(data) >= 4:
        size = int.from_bytes(data[2:4], "big")
        yield data[0] % len(_PRINCIPALS), (data[1] / 16) ** 2, data[4 : 4 + size]
        data = data[4 + size :]


def _judge(engine: Engine, now: float, out: list[Effect]) -> None:
    if engine.verdicts.sweep(now, out):
        engine.verdicts.judge(now, now, out)


def _check_table(engine: Engine, now: float) -> None:
    """The counts by state agree with the watchdogs, and each can be shown."""
    found = Counter(record.state for record in engine.table)
    assert found == {state: count for state, count in engine.table.states.items() if count}
    rows = [row(record, now) for record in engine.table]
    answers.checked("status", unpack(pack({"rows": rows, "next": None, "total": len(engine)}), DROP_MAX))


def _check_effects(out: list[Effect], working: set[str]) -> None:
    """Each event is one that clients understand and the log can tell; no verdict is early; no fault."""
    for effect in out:
        assert not isinstance(effect, Fault), repr(effect)
        if isinstance(effect, Event):
            body = {"seq": 1, "time": 1.0, "type": effect.type.value, "name": effect.name, **effect.data}
            assert answers.event(unpack(pack(body), DROP_MAX)) is not None, body
            assert isinstance(log_line(effect), str)
            if effect.type is EventType.EXPIRED and effect.data["cause"] == "timeout":
                assert effect.data["late"] >= -ROUNDING, effect
                # Work that is announced may be due earlier than the next feed.
                early = effect.data["timeout"] - effect.data["silence"]
                assert early <= ROUNDING or effect.name in working, f"a verdict {early} s early: {effect}"
    out.clear()
