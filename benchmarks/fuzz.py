"""Random requests and frames against a live ``banken run``: it lives, has no fault of its own, and does not grow.

    python benchmarks/fuzz.py --requests 100000 --frames 1000000 --seed 1

Structure-aware: what is sent is made by the real codec and then changed, in one place or several: a value of
another type or at an edge, a part left out, doubled or nested, bytes flipped, cut or joined. A part of it stays
sound, so that what it changes in the supervisor is under the fuzz too. Beside it some watchdogs are fed as they
should be: none of them may have an incident. The exit code is 1 if the supervisor counted an internal error, left a
request unanswered, or judged one that was fed; a supervisor that ended is a TimeoutError or Unreachable.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from collections import Counter
from typing import Any

import msgpack
import zmq
from common import Child, resident_bytes, short_directory, wait_for

from banken.address import resolve
from banken.control import Control
from banken.errors import RequestFailed
from banken.process_identity import boot_id
from banken.protocol.codec import VERSION, encode
from banken.protocol.limits import FRAME_MAX, REQUEST_MAX
from banken.protocol.messages import Declaration, Feeders, Kind, Message, ProcessIdentity

EDGES: list[Any] = [
    None, True, False, 0, 1, -1, 127, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 20_000,
    2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.0, -0.5, 1e308, float("inf"), float("nan"), "", "w-1", "w*", "[", "\0",
    "\x1b[2J", "n" * 128, "n" * 129, "é" * 1024, "*a" * 100, b"", b"\xff" * 8, b"x" * 300, [], {}, [[[[]]]],
    {"a": []},
]  # fmt: skip

NAMES = 300
"""Watchdogs that the frames are about."""

HONEST, HONEST_TIMEOUT = 3, 10.0
IN_FLIGHT = 32
"""Requests that are asked before the first of them is answered."""

BURST = 500
"""Frames between two looks at whether the supervisor still keeps up."""

BACKLOG_MAX = 50_000
ANSWER_S = 30.0
LONG = Declaration(3600.0, 3600.0, 3600.0)


class Fuzz:
    """Makes frames and requests; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def message(self) -> list[Any]:
        """One sound message, as the codec packs it."""
        chance = self._random
        kind = chance.choice(list(Kind))
        declared = None if chance.random() < 0.3 else LONG._replace(feeders=chance.choice(list(Feeders)))
        args: dict[Kind, tuple[Any, ...]] = {
            Kind.FAIL: ("why",),
            Kind.PAUSE: (chance.choice((0.0, 3600.0)),),
            Kind.EXTEND: (3600.0,),
            Kind.NOTE: (chance.choice((None, 1, 2.5, "half")), chance.choice((None, "at work"))),
            Kind.PROBE: (b"12345678", chance.randrange(2**32)),
        }
        name = f"w-{chance.randrange(NAMES)}"
        whole: list[Any] = msgpack.unpackb(
            encode(Message(kind, name, self._who(), 0.0, declared, args.get(kind, ())))
        )
        return whole

    def frame(self) -> bytes:
        """One message, sound or not."""
        return self._bytes(self.message(), FRAME_MAX)

    def request(self, number: int) -> bytes:
        """One request, whose number and shape are sound, so that its reply can be told from others'."""
        chance = self._random
        name = chance.choice(("w-1", "w-*", "*", "w-[0-9]?", chance.choice(EDGES)))
        args: dict[str, dict[str, Any]] = {
            "look": {"names": [name, "w-2"], "feeds": chance.random() < 0.5},
            "metrics": {"name": name, "limit": chance.randrange(1001)},
            "ping": {}, "programs": {}, "reloaded": {}, "summary": {},
            "program": {"what": chance.choice(("start", "stop", "restart")), "name": name},
            "status": {"name": name, "offset": chance.randrange(NAMES), "limit": chance.randint(1, 500)},
            "suggest": {"name": name, "offset": chance.randrange(NAMES), "limit": chance.randint(1, 500)},
            "tell": {"frame": self.frame()},
        }  # fmt: skip
        op = chance.choice(list(args))
        body = args[op]
        if chance.random() < 0.7:
            body = self._changed(body)
        if chance.random() < 0.05:
            op = self._changed(op)
        packed: bytes = msgpack.packb([VERSION, number, op, body])
        return packed if len(packed) <= REQUEST_MAX else msgpack.packb([VERSION, number, "ping", {}])

    def _who(self) -> ProcessIdentity | None:
        chance = self._random
        if chance.random() < 0.3:
            return None
        pid = chance.choice((1, os.getpid(), chance.randrange(1, 2**22), 2**31, 2**32 - 1))
        return ProcessIdentity(chance.choice((boot_id(), b"another!")), pid, chance.randrange(100), b"abcd")

    def _bytes(self, whole: Any, longest: int) -> bytes:
        chance = self._random
        kind = chance.random()
        if kind < 0.1:
            return chance.randbytes(chance.randrange(200))
        if kind < 0.7:
            for _ in range(chance.choice((0, 1, 1, 2, 5))):
                whole = self._changed(whole)
        packed = bytearray(msgpack.packb(whole))
        if kind > 0.9 and packed:
            for _ in range(chance.randint(1, 4)):
                packed[chance.randrange(len(packed))] = chance.randrange(256)
            if chance.random() < 0.3:
                del packed[chance.randrange(len(packed)) :]
            if chance.random() < 0.1:
                packed += bytes(packed)
        return bytes(packed[: longest + 1])

    def _changed(self, whole: Any) -> Any:
        """With one place of it changed."""
        chance = self._random
        if isinstance(whole, list) and whole and chance.random() < 0.9:
            place = chance.randrange(len(whole))
            how = chance.random()
            if how < 0.1:
                return whole[:place] + whole[place + 1 :]
            if how < 0.2:
                return [*whole, whole[place]]
            return [*whole[:place], self._changed(whole[place]), *whole[place + 1 :]]
        if isinstance(whole, dict) and whole and chance.random() < 0.9:
            key = chance.choice(list(whole))
            return {**whole, key: self._changed(whole[key])}
        return chance.choice(EDGES)


def main() -> int:
    """Run it, and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with short_directory() as place:
        address = os.path.join(place, "a")
        journal = os.path.join(place, "journal.db")
        with Child("run", "--address", address, "--journal", journal, module="banken_supervisor") as child:
            wait_for("the supervisor", lambda: os.path.exists(os.path.join(address, "feed")), 30.0)
            return _fuzz(child.pid, address, given)


def _fuzz(pid: int, address: str, given: argparse.Namespace) -> int:
    context: zmq.Context[Any] = zmq.Context()
    ended = threading.Event()
    honest = threading.Thread(target=_feed, args=(address, ended), daemon=True)
    with Control(address, ANSWER_S) as control:
        control.request("ping")
        honest.start()
        _frames(context, control, address, Fuzz(given.seed), 20_000)  # so that what is made once has been made
        before, began = resident_bytes(pid), time.monotonic()
        memory = [before]
        for quarter in range(4):
            _frames(context, control, address, Fuzz(given.seed + 1 + quarter), given.frames // 4)
            memory.append(resident_bytes(pid))
        framed = time.monotonic()
        answers = _requests(context, address, Fuzz(given.seed + 5), given.requests)
        asked = time.monotonic()
        memory.append(resident_bytes(pid))
        summary = control.request("summary")
        incidents = [row["name"] for row in control.request("status", name="honest-*")["rows"] if row["incidents"]]
        ended.set()
        honest.join()
    context.term()
    errors = summary["internal_errors"]
    print(f"frames    {given.frames:>9,} in {framed - began:.1f} s; refused {sum(summary['refused'].values()):,}:")
    print(f"          {', '.join(f'{why} {count:,}' for why, count in sorted(summary['refused'].items()))}")
    print(f"requests  {given.requests:>9,} in {asked - framed:.1f} s; yes {answers[True]:,}, no {answers[False]:,}")
    print(f"internal errors {sum(errors.values())} {errors or ''}; honest with an incident: {len(incidents)}")
    megabytes = " -> ".join(f"{each / 1e6:.1f}" for each in memory)
    print(f"memory    {megabytes} MB: by quarters of the frames, then the requests")
    print(f"turns     slowest {summary['slowest_turn']:.3f} s")
    print(f"watchdogs {summary['watchdogs']:,}, processes watched {summary['processes_watched']:,}")
    unanswered = given.requests - answers.total()
    return 1 if errors or incidents or unanswered else 0


def _frames(context: zmq.Context[Any], control: Control, address: str, fuzz: Fuzz, count: int) -> None:
    """Send so many, never much more than the supervisor has read."""
    start = control.request("summary")["messages"]
    with context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.LINGER, 10_000)
        push.setsockopt(zmq.SNDHWM, 0)
        push.connect(resolve(address).feed)
        for sent in range(1, count + 1):
            push.send(fuzz.frame())
            if sent % (BURST * 20) == 0:
                wait_for(
                    "the supervisor keeps up",
                    lambda sent=sent: control.request("summary")["messages"] - start >= sent - BACKLOG_MAX,  # type: ignore[misc]
                    ANSWER_S,
                )
        wait_for("all are read", lambda: control.request("summary")["messages"] - start >= count, ANSWER_S)


def _requests(context: zmq.Context[Any], address: str, fuzz: Fuzz, count: int) -> Counter[bool]:
    """Ask so many, some at once; how many were granted and how many refused."""
    answers: Counter[bool] = Counter()
    with context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(resolve(address).control)
        for number in range(count + IN_FLIGHT):
            if number < count:
                dealer.send(fuzz.request(number))
            if number >= IN_FLIGHT and answers.total() < count:
                if not dealer.poll(int(ANSWER_S * 1000)):
                    print(f"no reply after {answers.total():,}", file=sys.stderr)
                    return answers
                answers[msgpack.unpackb(dealer.recv())[2]] += 1
    return answers


def _feed(address: str, ended: threading.Event) -> None:
    """The watchdogs that are fed as they should be."""
    declared = Declaration(HONEST_TIMEOUT, HONEST_TIMEOUT, HONEST_TIMEOUT)
    with Control(address, ANSWER_S) as control:
        while not ended.wait(0.2):
            for number in range(HONEST):
                frame = encode(Message(Kind.FEED, f"honest-{number}", None, 0.0, declared))
                try:
                    control.request("tell", frame=frame)
                except RequestFailed as fault:
                    print(fault, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
