"""Requests to a supervisor: each gets a reply that its own client understands, and none is an internal error."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any

import msgpack

from banken.control import ANSWER_MAX
from banken.errors import WireError
from banken.protocol import answers
from banken.protocol.codec import VERSION, encode, pack, unpack
from banken.protocol.limits import REQUEST_MAX
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor import Supervisor
from banken_supervisor.control.control_api import answer
from banken_supervisor.engine.principal import Principal
from fuzz.mutation import EDGES, changed, damaged
from fuzz.targets import Own, directory, frames

NAMES = 40
ANEW = 2_000
"""Requests after which the supervisor forgets what they brought."""


def request(chance: Random, number: int, names: int = NAMES) -> bytes:
    """One request, sound or not; most keep their shape and their number."""
    name = chance.choice(("w-1", "w-*", "*", "w-[0-9]?", f"w-{chance.randrange(names)}", chance.choice(EDGES)))
    what = chance.choice(("start", "stop", "restart"))
    page = {"offset": chance.randrange(names), "limit": chance.randint(1, 500)}
    args: dict[str, dict[str, Any]] = {
        "look": {"names": [name, "w-2"], "feeds": chance.random() < 0.5, "timers": True},
        "metrics": {"name": name, "limit": chance.randrange(1001)},
        "ping": {}, "programs": {}, "reload": {}, "reloaded": {}, "summary": {},
        "program": {"what": what, "name": name},
        "status": {"name": name, **page},
        "suggest": {"name": name, **page},
        "tell": {"frame": frames.frame(chance, names)},
    }  # fmt: skip
    op = chance.choice(list(args))
    body = args[op]
    if chance.random() < 0.6:
        body = changed(chance, body)
    whole: Any = [VERSION, number, changed(chance, op) if chance.random() < 0.05 else op, body]
    packed: bytes = msgpack.packb(whole)
    return packed if len(packed) <= REQUEST_MAX else msgpack.packb([VERSION, number, "ping", {}])


class Requests(Own):
    """A real supervisor, whose loop does not turn."""

    QUICK = 1_500

    def __init__(self) -> None:
        super().__init__()
        self._place = directory()
        supervisor = Supervisor(f"{self._place.name}/a")
        supervisor._open()
        assert supervisor._loop is not None
        self._supervisor, self._view = supervisor, supervisor._loop.view
        self._count = 0

    def fresh(self, chance: Random) -> bytes:
        made = request(chance, chance.randrange(2**31))
        if chance.random() < 0.1:
            made = pack(changed(chance, msgpack.unpackb(made)))
        return damaged(chance, made) if chance.random() < 0.15 else made

    def check(self, data: bytes) -> None:
        view = self._view
        if self._count % ANEW == 0:
            self._begin()
        self._count += 1
        data = frames.local(data)
        reply = answer(view, data)
        view.driver.out.clear()
        assert len(reply) <= ANSWER_MAX, len(reply)
        version, number, ok, body = msgpack.unpackb(reply, max_ext_len=0)
        with suppress(WireError):
            asked = unpack(data, REQUEST_MAX)
            if type(asked) is list and len(asked) == 4 and type(asked[1]) is int:
                assert number == asked[1], (number, asked[1])
        assert version == VERSION
        if ok is True:
            answers.checked(asked[2], body)
        else:
            assert ok is False
            frames.check_text(body)
        assert not view.guard.counts, dict(view.guard.counts)

    def close(self) -> None:
        self._supervisor._resources.close()
        self._supervisor._mailbox.close()
        self._place.cleanup()

    def _begin(self) -> None:
        driver = self._view.driver
        for name in list(driver.engine.table.by_name):
            driver.engine.forget(name, driver.now, driver.out)
        for number in range(NAMES):
            feed = Message(Kind.FEED, f"w-{number}", None, 0.0, Declaration(3600.0, 3600.0, 3600.0))
            driver.engine.take(encode(feed), driver.now, driver.out, Principal.OPERATOR)
