"""What a supervisor, or whatever stands in its place, answers: it is refused, or every tool can show it."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import msgpack

from banken.control import read_reply
from banken.errors import WireError
from banken.protocol import answers
from banken.protocol.codec import VERSION, unpack
from banken.protocol.limits import DROP_MAX
from banken_supervisor.cli.events import line
from banken_supervisor.cli.status_table import cells, program_cells, summary_line
from banken_supervisor.text.sanitize import to_json
from banken_supervisor.web.metrics import render
from fuzz.mutation import changed, damaged
from fuzz.targets import Own
from test_hostile_peers import ANSWERS

EVENT = {"seq": 1, "time": 1.7e9, "type": "expired", "name": "w", "cause": "timeout", "silence": 1.5, "run": 1}
KINDS = (
    "expired", "recovered", "action", "action-failed", "program", "conflict", "journal", "flood", "refused",
    "reload-failed", "stalled", "exited", "extended", "no-such-type",
)  # fmt: skip
MORE: dict[str, Any] = {
    "what": "exited", "status": -9, "ran": 1.5, "reason": "hung\nhere", "text": "one\ntwo", "how": "fed", "step": 1,
    "do": "exec", "operator": [1.0, 2.0, 3.0, "latest"], "worker": [2.0, 2.0, 3.0, "any"], "state": "failing",
    "waiting": 5, "dropped": 1, "pid": 7, "incident": "i-1", "lasted": 2.0, "late": 0.1, "seconds": 1.0,
    "progress": 5, "clean": [0, -15],
}  # fmt: skip
OPS = (*ANSWERS, "event")


class Answers(Own):
    """The first byte says what was asked; or it is an event."""

    def fresh(self, chance: Random) -> bytes:
        op = chance.randrange(len(OPS))
        if OPS[op] == "event":
            some = chance.sample(list(MORE), chance.randrange(6))
            body: Any = {**EVENT, "type": chance.choice(KINDS), **{key: MORE[key] for key in some}}
        else:
            body = ANSWERS[OPS[op]]
        for _ in range(chance.choice((0, 1, 1, 2, 4))):
            body = changed(chance, body)
        made: bytes = msgpack.packb(body if OPS[op] == "event" else [VERSION, 1, True, body])
        return bytes((op,)) + (damaged(chance, made) if chance.random() < 0.1 else made)

    def check(self, data: bytes) -> None:
        op = OPS[(data[0] if data else 0) % len(OPS)]
        if op == "event":
            try:
                found = answers.event(unpack(data[1:], DROP_MAX))
            except WireError:
                return
            if found is not None:
                json.loads(to_json(found), parse_constant=_refuse)
                _check_lines(line(found, False))
            return
        reply = read_reply(data[1:])
        if reply is None:
            return
        try:
            found = answers.checked(op, reply[3])
        except answers.AnswerNotUnderstood:
            return
        assert answers.checked(op, found) == found, "what is tidy stays as it is"
        json.loads(to_json(found), parse_constant=_refuse)
        self._shown(op, found)

    def _shown(self, op: str, found: Any) -> None:
        if op in ("status", "look"):
            for row in found["rows"]:
                _check_lines(*cells(row))
        elif op in ("programs", "program"):
            for row in found["rows"]:
                _check_lines(*program_cells(row))
        elif op == "summary":
            _check_lines(summary_line(found, "here", False))
        elif op == "metrics":
            body, _ = render(found)
            assert body.endswith(b"\n")
            body.decode()


def _check_lines(*texts: str) -> None:
    """Nothing that a terminal obeys."""
    for text in texts:
        assert all(c.isprintable() or c == "\n" for c in text), text


def _refuse(text: str) -> Any:
    raise AssertionError(f"{text} is no JSON")
