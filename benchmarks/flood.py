"""One client at full speed beside honest ones, for each kind of message: is anybody else late?

    python benchmarks/flood.py --seconds 60 --honest 100
    python benchmarks/flood.py --seconds 5 --honest 10 --kinds extend,names

A real supervisor with a journal, ``--honest`` real processes that feed it twenty times a second, and one of them in
turn that stops for a moment. What is measured is how late its verdict is heard, and how late the first command of
its ladder begins, both after its deadline. First without a flood, then beside one flooder of each kind. Ends with 1
when there was a false verdict, a missed one, or when the flood made the 99th percentile of either more than
``--late`` seconds later, or memory did not come back.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
for home in ("client", "supervisor"):
    sys.path.append(str(ROOT / home))  # an installed banken comes first

import zmq  # noqa: E402
from common import Child, asked, percentile, resident_bytes, say, short_directory  # noqa: E402

from banken.address import resolve  # noqa: E402
from banken.client import Client  # noqa: E402
from banken.control import Control, Events  # noqa: E402
from banken.errors import Unreachable  # noqa: E402
from banken.process_identity import own_identity  # noqa: E402
from banken.protocol.codec import encode, pack  # noqa: E402
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity  # noqa: E402

TIMEOUT_S = 0.5
FEED_S = 0.05
STOP_S = 1.5
"""How long one stops feeding."""

EACH_S = 0.25
"""From one that stops to the next."""

MEMORY_MAX = 50 * 2**20
MEMORY_LEFT = 20 * 2**20
"""Bytes more than before: during the flood, and when it is over."""

CONFIG = """
[supervisor]
journal = "{place}/journal.db"
[[watchdog]]
name = "honest-*"
timeout = "{timeout}s"
interval = "1h"
ladder = [{{ do = "exec", command = ["/bin/sh", "-c", "echo $BANKEN_NAME $(date +%s.%N) >>{place}/deeds"] }}]
"""


# -- the flooder -----------------------------------------------------------------------------------------


def frames(kind: str) -> Iterator[bytes]:
    """What it sends, without end."""
    me = own_identity()
    declared = Declaration(3600.0, 3600.0, 3600.0)

    def message(kind: Kind, name: str, *args: Any, who: ProcessIdentity = me) -> bytes:
        return encode(Message(kind, name, who, 0.0, declared, args))

    feed = message(Kind.FEED, "hog")
    yield feed
    for number in count():
        match kind:
            case "feed":
                yield feed
            case "status":
                yield message(Kind.NOTE, "hog", number, f"step {number}")
            case "section":
                name = f"hog@{me.pid}.{number}"
                yield message(Kind.DECLARE, name)
                yield message(Kind.RELEASE, name)
            case "extend":
                yield message(Kind.EXTEND, "hog", 10.0)
            case "pause":
                yield message(Kind.PAUSE, "hog", 10.0)
                yield message(Kind.RESUME, "hog")
            case "fail":
                yield message(Kind.FAIL, "hog", f"attempt {number}")
                yield feed
            case "declare":
                yield encode(Message(Kind.DECLARE, "hog", me, 0.0, declared._replace(timeout=60.0 + number % 1000)))
            case "names":
                yield message(Kind.FEED, f"hog-{number}")
            case "processes":
                yield message(Kind.FEED, "hog", who=me._replace(nonce=number.to_bytes(4, "big")))
            case "garbage":
                yield os.urandom(60)
            case "bulk":
                yield pack([[number] * 1000] * 15)


def flood(directory: str, kind: str) -> None:
    """Send at full speed until it is ended."""
    context: zmq.Context[Any] = zmq.Context()
    address = resolve(directory)
    if kind == "requests":
        asker = context.socket(zmq.DEALER)
        asker.connect(address.control)
        say(ready=True)
        for number in count():
            asker.send(pack([1, number, "status", {"name": "*" + "[a-z]*" * 15}]))
    if kind == "connects":
        say(ready=True)
        while True:
            with context.socket(zmq.PUSH) as one:
                one.setsockopt(zmq.LINGER, 0)
                one.connect(address.feed)
                one.poll(10, zmq.POLLOUT)
    push = context.socket(zmq.PUSH)
    push.connect(address.feed)
    say(ready=True)
    for frame in frames(kind):
        push.send(frame)


KINDS = (
    "feed", "status", "section", "extend", "pause", "fail", "declare", "names", "processes", "garbage", "bulk",
    "requests", "connects",
)  # fmt: skip


# -- honest ones -----------------------------------------------------------------------------------------


def honest(directory: str, number: int, number_of_all: int) -> None:
    """Feed, and stop in turn: one line each time, with the time of the last feed before."""
    name = f"honest-{number}"
    with closing(Client(directory)) as client:
        client.feed(name)
        began, turn = time.monotonic(), number + 1
        while os.getppid() != 1:
            time.sleep(FEED_S)
            if time.monotonic() >= began + turn * EACH_S:
                turn += max(number_of_all, round(2 * STOP_S / EACH_S))
                # The pause begins with the next feed: what is written is never later than that.
                last = time.time()
                client.feed(name)
                os.write(1, f'{{"name": "{name}", "last": {last}}}\n'.encode())
                time.sleep(STOP_S)
            client.feed(name)


def crowd(directory: str, number: int) -> None:
    """Fork ``number`` honest processes, and wait until the parent hangs up."""
    pids = []
    for each in range(number):
        pid = os.fork()
        if not pid:
            try:
                honest(directory, each, number)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        pids.append(pid)
    for _ in asked():
        pass
    for pid in pids:
        os.kill(pid, 9)


# -- the measurement -------------------------------------------------------------------------------------


class Place:
    """A supervisor, and the honest ones beside it."""

    def __init__(self, stack: ExitStack, directory: str, number: int) -> None:
        self.directory = directory
        self.address = f"{directory}/a"
        config = Path(directory, "banken.toml")
        config.write_text(CONFIG.format(place=directory, timeout=TIMEOUT_S), encoding="utf-8")
        self.supervisor = stack.enter_context(
            Child("run", "-c", config, "--address", self.address, module="banken_supervisor")
        )
        self.wait()
        self.events = stack.enter_context(Events(self.address, [f"honest-{each}" for each in range(number)]))
        self.crowd = stack.enter_context(Child("crowd", self.address, number, file="flood"))
        os.set_blocking(self.crowd.process.stdout.fileno(), False)  # type: ignore[union-attr]
        self._rest = b""
        self.stops: dict[str, list[float]] = {}
        """by name: when each last feed before a stop was"""
        self.verdicts: list[tuple[str, float, float]] = []
        """name, when it was heard, and for how long it was silent"""
        self.most = 0

    def wait(self) -> None:
        """Until it answers."""
        until = time.monotonic() + 30
        while True:
            try:
                with Control(self.address) as control:
                    control.request("ping")
                return
            except Unreachable:
                if time.monotonic() > until or self.supervisor.process.poll() is not None:
                    raise RuntimeError(self.supervisor.errors()) from None
                time.sleep(0.1)

    def watch(self, seconds: float) -> None:
        """Listen for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            event = self.events.next(min(left, 0.05))
            if event is not None and event["type"] == "expired" and event["name"].startswith("honest-"):
                self.verdicts.append((event["name"], time.time(), event["silence"]))
            self._hear()

    def _hear(self) -> None:
        self.most = max(self.most, resident_bytes(self.supervisor.pid))
        try:
            self._rest += os.read(self.crowd.process.stdout.fileno(), 65536)  # type: ignore[union-attr]
        except BlockingIOError:
            return
        *lines, self._rest = self._rest.split(b"\n")
        for line in filter(None, lines):
            name, last = line.decode().removeprefix('{"name": "').removesuffix("}").split('", "last": ')
            self.stops.setdefault(name, []).append(float(last))

    def deeds(self) -> list[tuple[str, float]]:
        """The ladder's commands: name, and when."""
        path = Path(self.directory, "deeds")
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [(name, float(at)) for name, at in (line.split() for line in lines)]

    def take(self, since: float, until: float) -> tuple[list[float], list[float], int, int]:
        """Of the stops whose deadlines were between these times: how late verdicts and deeds were, how many had
        none; and false ones."""
        verdicts, deeds, missed, true = [], [], 0, 0
        made = self.deeds()
        for name, stops in self.stops.items():
            for last in stops:
                if not since <= last <= until - TIMEOUT_S:
                    continue
                heard = [at for who, at, _ in self.verdicts if who == name and last <= at]
                done = [at for who, at in made if who == name and last <= at]
                missed += not heard or not done
                verdicts += [at - last - TIMEOUT_S for at in heard[:1]]
                deeds += [at - last - TIMEOUT_S for at in done[:1]]
        for who, at, silence in self.verdicts:
            if since <= at <= until:
                true += any(-0.5 <= at - silence - last <= 120 for last in self.stops.get(who, ()))
        false = sum(since <= at <= until for _, at, _ in self.verdicts) - true
        return verdicts, deeds, missed, false


def measure(kind: str | None, options: argparse.Namespace) -> dict[str, Any]:
    """One run, with a flooder of this kind, or without one."""
    with ExitStack() as stack:
        directory = stack.enter_context(short_directory())
        place = Place(stack, directory, options.honest)
        place.watch(3.0)
        before = place.most = resident_bytes(place.supervisor.pid)
        since = time.time()
        flooder = None if kind is None else stack.enter_context(Child("flood", place.address, kind, file="flood"))
        if flooder is not None:
            flooder.line()
        place.watch(options.seconds)
        until = time.time()
        if flooder is not None:
            flooder.process.kill()
            flooder.process.wait()
        place.most = max(place.most, resident_bytes(place.supervisor.pid))
        during, ended = place.most - before, time.monotonic()
        while time.monotonic() < ended + options.after:
            place.watch(0.5)
            heard = place.take(since, until)[2] == 0 and time.monotonic() > ended + 5
            if heard and resident_bytes(place.supervisor.pid) - before <= MEMORY_LEFT:
                break
        left = resident_bytes(place.supervisor.pid)
        verdicts, deeds, missed, false = place.take(since, until)
        with Control(place.address, timeout=30) as control:
            summary = control.request("summary")
        stopped = time.monotonic()
        place.supervisor.terminate()
        place.supervisor.process.wait(60)
        return {
            "verdicts": verdicts, "deeds": deeds, "missed": missed, "false": false,
            "during": during, "left": left - before, "stop": time.monotonic() - stopped,
            "summary": summary,
        }  # fmt: skip


def main() -> int:
    """The command line."""
    if sys.argv[1:2] == ["flood"]:
        flood(*sys.argv[2:])
        return 0
    if sys.argv[1:2] == ["crowd"]:
        crowd(sys.argv[2], int(sys.argv[3]))
        return 0
    parser = argparse.ArgumentParser(description="One client at full speed beside honest ones.")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each flood (default: %(default)s)")
    parser.add_argument("--after", type=float, default=60.0, help="seconds for memory to come back")
    parser.add_argument("--honest", type=int, default=30, help="processes beside it (default: %(default)s)")
    parser.add_argument("--late", type=float, default=0.02, help="seconds that a flood may cost")
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of: %(default)s")
    options = parser.parse_args()
    kinds = [kind.strip() for kind in options.kinds.split(",")]
    if unknown := sorted(set(kinds) - set(KINDS)):
        parser.error(f"no such kind: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    print(
        f"{'flood':10} {'stops':>5} {'verdict p50':>11} {'p99':>7} {'deed p50':>9} {'p99':>7}  false missed "
        f"{'MB during':>9} {'after':>6} {'SIGTERM':>8}"
    )
    wrong = 0
    calm: dict[str, float] = {}
    for kind in (None, *kinds):
        found = measure(kind, options)
        late = {
            what: [percentile(found[what] or [inf], share) for share in (0.5, 0.99)]
            for what in ("verdicts", "deeds")
        }
        worse = any(late[what][1] > calm.get(what, late[what][1]) + options.late for what in late)
        if kind is None:
            calm = {what: late[what][1] for what in late}
        bad = worse or found["false"] or found["missed"] or found["left"] > MEMORY_LEFT
        bad = bad or found["during"] > MEMORY_MAX or found["stop"] > 5
        wrong += bool(bad)
        (v50, v99), (d50, d99) = late["verdicts"], late["deeds"]
        print(
            f"{kind or 'none':10} {len(found['verdicts']):5} {v50:11.3f} {v99:7.3f} {d50:9.3f} {d99:7.3f}  "
            f"{found['false']:5} {found['missed']:6} {found['during'] / 2**20:9.1f} {found['left'] / 2**20:6.1f} "
            f"{found['stop']:8.2f}{'   <--' if bad else ''}",
            flush=True,
        )
        if os.environ.get("FLOOD_SUMMARY"):
            print(found["summary"])
    return 1 if wrong else 0


if __name__ == "__main__":
    random.seed(1)
    sys.exit(main())
