"""What answers a command may be broken, of another version, or no supervisor: no command falls over it, none runs
for ever, and no terminal obeys what it says."""

from __future__ import annotations

import copy
import os
import random
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import msgpack
import pytest
import zmq

from banken.control import ANSWER_MAX, Control, Events, read_reply
from banken.errors import RequestFailed, Unreachable
from banken.protocol.answers import TEXT_MAX, AnswerNotUnderstood, checked
from banken.protocol.codec import VERSION, pack
from banken_supervisor import cli
from banken_supervisor.cli import exit_codes
from banken_supervisor.operator_client.pager import PAGES_MAX, Pager
from banken_supervisor.operator_client.supervisor_client import lock_holder

ESCAPES = "\x1b[2J\x1b]0;title\x07\u202e\x9b31m\nFORGED\r\x00"

ROW = {
    "name": "w", "state": "alive", "silence": 1.0, "left": 2.0, "timeout": 3.0, "interval": 1.0, "grace": 3.0,
    "resolution": 0.1, "by": "worker", "awaited": True, "pid": 5, "incidents": 1, "status": "busy",
    "incident": {"id": "i", "cause": "timeout", "age": 1.0, "runs": 1, "reason": "hung", "blamed": None, "steps": 0,
                 "next": None},
    "feeds": [[1.0, 1.0], [0.5, 0.5]],
}  # fmt: skip
PROGRAM = {
    "name": "p", "state": "running", "since": 1.0, "pid": 4, "adopted": False, "failures": 0, "log": "/x",
    "due": None, "killed": False,
}  # fmt: skip
HISTOGRAM = {"bounds": [1.0], "counts": [1, 1], "sum": 1.0}
SUMMARY = {
    "pid": 1, "version": "1", "started": 1.0, "uptime": 1.0, "watchdogs": 1, "states": {"alive": 1}, "messages": 1,
    "turns": 1, "slowest_turn": 0.1, "stalls": 0, "lost": 0.0, "overloads": 0, "probes_lost": 0, "events": {},
    "refused": {}, "programs": 0, "journal": None, "callbacks": {"stuck": 0}, "actions": {"stuck": 0},
    "log_lines_dropped": 0, "internal_errors": {},
}  # fmt: skip
ANSWERS: dict[str, Any] = {
    "ping": {"pid": 1, "version": "1", "time": 1.0},
    "tell": {"taken": True},
    "summary": SUMMARY,
    "status": {"rows": [ROW], "next": None, "total": 1},
    "look": {"rows": [ROW], "gone": []},
    "suggest": {
        "rows": [{"name": "w", "timeout": 3.0, "auto": [1.0, 2.0], "gaps": 5, "needed": 20, "longest": 1.0,
                  "proposed": None}],
        "next": None, "total": 1,
    },
    "programs": {"rows": [PROGRAM]},
    "program": {"rows": [PROGRAM]},
    "reload": {"number": 1},
    "reloaded": {"number": 1, "ok": True, "text": "banken.toml"},
    "stop": {"within": 0.1, "programs": False},
    "metrics": {
        **SUMMARY, "incidents": {}, "acted": [["kill", "done", 1]], "turn_seconds": HISTOGRAM,
        "lateness": HISTOGRAM, "gaps": HISTOGRAM, "program_states": {}, "cpu": 1.0, "memory": 1,
        "rows": [["w", "alive", 1.0, None, 3.0, 0]],
    },
}  # fmt: skip
"""As a supervisor answers."""

COMMANDS = (
    "status", "status w", "status --json", "history w", "check", "check w", "suggest", "metrics", "feed w",
    "fail w hung", "pause w", "resume w", "extend w 3s", "release w", "start p", "reload", "events -n 3",
    "incidents", "incident i",
)  # fmt: skip

CODES = {exit_codes.OK, exit_codes.NOT_SO, exit_codes.NO_SUPERVISOR, exit_codes.REFUSED}

WRONG: tuple[Any, ...] = (
    None, [], {}, -1, 2**62, 1e300, float("nan"), True, "", ESCAPES, b"x", [None], {"a": [ESCAPES]}, "x" * 100_000,
)  # fmt: skip


class Peer(threading.Thread):
    """Answers at an address. ``reply``: the bytes that answer a request, of its number and name; None: nothing."""

    def __init__(self, address: str, reply: Callable[[int, str], bytes | None]) -> None:
        super().__init__(daemon=True)
        self.reply = reply
        self._context = zmq.Context()
        self._control = self._context.socket(zmq.ROUTER)
        self._end, self._ended = self._context.socket(zmq.PAIR), self._context.socket(zmq.PAIR)
        self._control.bind(f"ipc://{address}/control")
        self._end.bind("inproc://end")
        self._ended.connect("inproc://end")

    def run(self) -> None:
        poller = zmq.Poller()
        for each in (self._control, self._end):
            poller.register(each, zmq.POLLIN)
        while self._end not in dict(poller.poll()):
            sender, request = self._control.recv_multipart()
            _, number, op, _ = msgpack.unpackb(request)
            if (reply := self.reply(number, op)) is not None:
                self._control.send_multipart([sender, reply])

    def close(self) -> None:
        self._ended.send(b"")
        self.join(10)
        self._context.destroy(0)


@pytest.fixture
def peer(address: str) -> Iterator[Peer]:
    """With the lock of a living process, as a supervisor has it."""
    os.mkdir(address, 0o700)
    Path(address, "lock").write_text(f'{{"pid": {os.getpid()}, "since": "x"}}')
    one = Peer(address, said(ANSWERS.get))
    one.start()
    yield one
    one.close()


def said(answer: Callable[[str], Any]) -> Callable[[int, str], bytes]:
    """The reply with this answer."""
    return lambda number, op: msgpack.packb([1, number, True, answer(op)])


def banken(words: str, address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What the command prints; it must end as documented, and its terminal must obey nothing of it."""
    monkeypatch.setenv("BANKEN_ADDRESS", address)
    monkeypatch.setattr(sys, "argv", ["banken", *words.split()])
    code = cli._run()
    printed = "".join(capsys.readouterr())
    assert code in CODES, (words, code, printed[:500])
    assert "fault of banken" not in printed, (words, printed[-500:])
    assert "this plugin failed" not in printed, (words, printed[-500:])
    assert all(c.isprintable() or c == "\n" for c in printed), (words, printed[:500])
    assert "\nFORGED" not in printed
    assert len(printed) <= 8 * TEXT_MAX
    return printed


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from _places(inner, (*path, key))


def _spoilt(answer: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    if not path:
        return wrong
    made = copy.copy(answer)
    made[path[0]] = _spoilt(answer[path[0]], path[1:], wrong)
    return made


def test_whatever_is_wrong_in_an_answer_no_command_falls_over_it(
    peer: Peer, address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One field of one answer is spoilt, or missing; and the whole answer."""
    for words in COMMANDS:
        banken(words, address, capsys, monkeypatch)  # nothing is
    source = random.Random(4)
    places = [(op, path) for op in ANSWERS for path in _places(ANSWERS[op])]
    for op, path in places:
        spoilt = _spoilt(ANSWERS[op], path, source.choice(WRONG))
        peer.reply = said(lambda asked, op=op, spoilt=spoilt: spoilt if asked == op else ANSWERS[asked])
        with Control(address) as control:
            try:
                control.request(op)
            except AnswerNotUnderstood:
                continue  # so would each command say
        banken(source.choice(COMMANDS), address, capsys, monkeypatch)


@pytest.mark.parametrize("text", [ESCAPES, ESCAPES * 5_000, None, {"a": 1}], ids=["short", "long", "none", "map"])
def test_a_refusal_is_shown_in_one_bounded_line(
    peer: Peer, address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: Any
) -> None:
    peer.reply = lambda number, op: msgpack.packb([1, number, False, text])
    for words in COMMANDS:
        assert len(banken(words, address, capsys, monkeypatch)) < 10_000


def test_a_list_without_an_end_ends(
    peer: Peer, address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that begins again and again, and one that always has a next page."""
    for following in (0, 1):
        page = {**ANSWERS["status"], "next": following, "total": 10}
        peer.reply = said(lambda op, page=page: page if op == "status" else ANSWERS[op])
        assert "has no end" in banken("status", address, capsys, monkeypatch)
    pager = Pager()
    for place in range(1, PAGES_MAX):
        pager.turn(place, 2**40)
    with pytest.raises(AnswerNotUnderstood):
        pager.turn(PAGES_MAX, 2**40)


def test_what_is_no_reply_is_waited_for_no_longer_than_one(peer: Peer, address: str) -> None:
    """Noise, replies to other requests, nothing, and one that is too long."""
    replies = (
        lambda number: b"\xc1\xff",
        lambda number: msgpack.packb([1, number + 1, True, {}]),
        lambda number: b"\x81" * 5_000,  # maps within each other
        lambda number: None,
        lambda number: msgpack.packb([1, number, True, "x" * ANSWER_MAX]),
    )
    for reply in replies:
        peer.reply = lambda number, op, reply=reply: reply(number)
        began = monotonic()
        with Control(address, 0.2) as control, pytest.raises(Unreachable):
            control.request("ping")
        assert monotonic() - began < 5


def test_a_flood_of_noise_is_not_waited_for(address: str) -> None:
    """Neither in the place of an answer, nor of an event: each wait ends with its time."""
    os.mkdir(address, 0o700)
    ended = threading.Event()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as control, context.socket(zmq.PUB) as events:
        control.bind(f"ipc://{address}/control")
        events.bind(f"ipc://{address}/events")
        control.rcvtimeo = 10_000

        def flood() -> None:
            sender, _ = control.recv_multipart()
            while not ended.is_set():
                control.send_multipart([sender, b"noise"])
                for event in (b"noise", msgpack.packb({"seq": "x"}), msgpack.packb([1])):
                    events.send_multipart([b"w\0", event])

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        try:
            with Control(address, 0.3) as asking, Events(address) as listening:
                with pytest.raises(Unreachable):
                    asking.request("ping")
                assert listening.next(0.2) is None
        finally:
            ended.set()
            thread.join(10)


def test_texts_arrive_whole_and_are_cut_where_they_have_no_end(peer: Peer, address: str) -> None:
    """What tools and programs get is what was said; JSON has no number that is not finite."""
    row = {**ROW, "status": ESCAPES, "progress": float("inf"), "more": {"x": "y" * 2 * TEXT_MAX}}
    peer.reply = said(lambda op: {"rows": [row], "next": None, "total": 1})
    with Control(address) as control:
        (found,) = control.request("status")["rows"]
    assert (found["status"], found["progress"]) == (ESCAPES, "inf")
    assert len(found["more"]["x"]) <= TEXT_MAX
    with (
        Control(address) as control,
        pytest.raises(RequestFailed, match="understood: it has no 'pid'"),
    ):
        control.request("ping")


@pytest.mark.timeout(10)
def test_a_lock_file_that_is_none_names_nobody(tmp_path: Path) -> None:
    """A pipe that nobody writes to, and what is no number, or no JSON that ends."""
    lock = tmp_path / "lock"
    for text in (
        "[" * 4000,
        '{"pid": 1e999}',
        '{"pid": -1}',
        '{"pid": [1]}',
        "\xff",
        '{"pid": ' + "9" * 3000 + "}",
    ):
        lock.write_text(text)
        assert lock_holder(str(tmp_path)) is None, text[:20]
    lock.unlink()
    os.mkfifo(lock)
    assert lock_holder(str(tmp_path)) is None


def test_lists_without_an_end_take_no_memory() -> None:
    """Each of a thousand lists within each other says that it has as many elements as the reply has bytes."""
    size = 200_000
    deep = b"".join(b"\xdd" + size.to_bytes(4, "big") for _ in range(1_000))
    tracemalloc.start()
    try:
        assert read_reply(deep + bytes(size)) is None
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_an_answer_may_have_as_many_rows_as_there_are_programs() -> None:
    rows = [{**PROGRAM, "name": f"p-{number}"} for number in range(10_000)]
    reply = read_reply(pack([VERSION, 1, True, {"rows": rows}]))
    assert reply is not None
    assert checked("programs", reply[3]) == {"rows": rows}
