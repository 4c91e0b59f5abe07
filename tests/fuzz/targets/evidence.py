"""What a worker, faulthandler or py-spy says becomes evidence of a bounded size that all tools can show."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

from banken.protocol.codec import pack
from banken_supervisor.evidence import announced_dumps, evidence_text, size_limits, stacks, text
from banken_supervisor.evidence.announced_dumps import NotAnnounced
from banken_supervisor.evidence.headline import HEADLINE_MAX, headline
from banken_supervisor.evidence.stacks import StackFault
from banken_supervisor.journal.values import squeeze, unsqueeze
from fuzz.mutation import changed, damaged
from fuzz.targets import Own, check_refused

PID = 4711
PY_SPY = [
    {
        "pid": PID, "thread_id": 140_000, "thread_name": "MainThread", "os_thread_id": PID, "active": True,
        "owns_gil": False, "frames": [
            {"name": "wait", "filename": "/usr/lib/python3.11/threading.py", "line": 320},
            {"name": "run", "filename": "/srv/app/job.py", "line": 5},
        ],
    }
]  # fmt: skip
TASKS = [
    {"name": "Task-1", "running": False, "cancelling": 0, "awaits": "Future", "awaits_tasks": [1], "frames": []},
    {"name": "load", "running": True, "cancelling": 1, "awaits": None, "awaits_tasks": [0], "frames": []},
]
FRAMES = [
    {"function": "Client.<locals>.fetch", "file": "/srv/app/site-packages/http/client.py", "line": 7},
    {"function": "select", "file": "/usr/lib/python3.11/selectors.py", "line": 468},
    {"function": "_run_once", "file": "/usr/lib/python3.11/asyncio/base_events.py", "line": 1884},
]
ANSWER = {
    "threads": [
        {"thread": 140_000, "tid": PID, "name": "MainThread", "frames": FRAMES[1:]},
        {"thread": 140_001, "tid": PID + 1, "name": "worker", "frames": FRAMES},
    ],
    "threads_left_out": 0, "tasks": TASKS, "tasks_left_out": 3,
}  # fmt: skip
DUMP = (
    "Thread 0x00007f1 [worker] (most recent call first):\n"
    '  File "/srv/app/job.py", line 5 in run\n  File "<string>", line ??? in <module>\n  ...\n'
    "\nCurrent thread 0x00007f2 (most recent call first):\n"
    '  File "/usr/lib/python3.11/asyncio/base_events.py", line 640 in run_forever\n'
    "\nExtension modules: _x (total: 1)\nCurrent thread's C stack trace (most recent call first):\n"
)
WAIT = {"state": "S", "wchan": "futex_wait_queue", "syscall": "futex", "fd": None, "target": None}
SCOPE = {"name": "load", "age": 1.5, "limit": 1.0, "tid": PID, "thread": "MainThread", "task": ""}


class Evidence(Own):
    """The first byte says who speaks; its upper bits, how large the evidence may be, and what else is known."""

    QUICK = 1_500

    def fresh(self, chance: Random) -> bytes:
        who = chance.randrange(3)
        start = bytes((who + 3 * chance.randrange(80),))
        if who == 2:
            return start + damaged(chance, DUMP.encode())
        value: Any = ANSWER if who == 0 else PY_SPY
        for _ in range(chance.choice((0, 1, 1, 2, 4))):
            value = changed(chance, value)
        made = json.dumps(value, default=repr).encode()
        return start + (damaged(chance, made) if chance.random() < 0.2 else made)

    def check(self, data: bytes) -> None:
        who, more = (data[0] % 3, data[0] // 3) if data else (0, 0)
        found = deepcopy(text.BLANK)
        found.update(pid=PID, scope=SCOPE if more & 1 else None, main_wait=WAIT if more & 2 else None)
        try:
            if who == 0:
                answer = announced_dumps.answer_of(data[1:])
                found["threads"] = size_limits.answered_threads(answer, PID)
                found["tasks"] = size_limits.answered_tasks(answer)
                found["tasks_left_out"] = size_limits.whole(answer.get("tasks_left_out"), 2**31)
            elif who == 1:
                found["threads"] = stacks.threads_of(data[1:])
            else:
                found["threads"], _ = announced_dumps.parse(data[1:].decode("utf-8", "replace"), PID)
        except (NotAnnounced, StackFault) as fault:
            check_refused(fault)
            return
        for thread in found["threads"]:
            thread["wait"] = WAIT if thread["tid"] == PID else None
        found["threads"] = size_limits.ordered(found["threads"])
        found["headline"] = headline(found, 1.0)
        _check_shown(found)
        bytes_max = size_limits.BYTES_MIN * (1 + more // 4)
        fitted = size_limits.fit(found, bytes_max)
        assert len(json.dumps(fitted, separators=(",", ":"))) <= bytes_max
        assert len(pack(fitted)) <= bytes_max
        assert unsqueeze(squeeze(fitted)) == fitted, "the journal gives back what it got"
        _check_shown(fitted)


def _check_shown(evidence: dict[str, Any]) -> None:
    """It is understood, and no terminal obeys it."""
    assert evidence["headline"].isprintable()
    assert len(evidence["headline"]) <= HEADLINE_MAX
    for lines in (evidence_text.render(evidence), evidence_text.summary_lines(evidence, 12)):
        assert lines != [evidence_text._UNKNOWN], "our own evidence is understood"
        assert all(each.isprintable() for each in lines), lines
