"""What evidence says: the place, what is waited for, one headline, a summary; harmless to a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from banken_supervisor.evidence import render, summary_lines
from banken_supervisor.evidence.headline import headline, plumbing, short, stuck_task, waiting, where
from banken_supervisor.text import sanitize
from evidence_kit import FUTEX, evidence, frame, task, thread

LIB = "/usr/lib/python3.11"
SITE = "/srv/venv/lib/python3.11/site-packages"
LOOP = [
    frame("EpollSelector.select", f"{LIB}/selectors.py", 468),
    frame("BaseEventLoop._run_once", f"{LIB}/asyncio/base_events.py", 1884),
    frame("Runner.run", f"{LIB}/asyncio/runners.py", 118),
    frame("main", "/srv/app/job.py", 80),
]

PLACES = [
    ([frame("fetch")], "`fetch` (job.py:42)"),
    ([frame("Queue.get", f"{LIB}/queue.py", 171), frame("fetch")], "`fetch` (job.py:42), in queue.Queue.get"),
    (
        [frame("wait", f"{LIB}/threading.py"), frame("get", f"{LIB}/queue.py"), frame("fetch")],
        "`fetch` (job.py:42), in queue.get",
    ),
    ([frame("match", f"{LIB}/re/__init__.py"), frame("fetch")], "`fetch` (job.py:42), in re.match"),
    ([frame("run.<locals>.fetch")], "`fetch` (job.py:42)"),
    (
        [frame("readinto", f"{LIB}/socket.py"), frame("urlopen", f"{SITE}/urllib3/pool.py", 7), frame("fetch")],
        "`urlopen` (urllib3/pool.py:7) from `fetch` (job.py:42), in socket.readinto",
    ),
    ([frame("wait", f"{LIB}/threading.py", 3)], "`wait` (threading.py:3)"),
    ([], "a place without a Python frame"),
]


@pytest.mark.parametrize(("frames", "expected"), PLACES)
def test_the_place_is_the_innermost_frame_that_is_no_plumbing(frames: list[dict[str, Any]], expected: str) -> None:
    """And the outermost plumbing below it says what was called."""
    assert where(frames) == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (f"{LIB}/threading.py", True),
        ("/opt/python-3.13.0/lib/python3.13/asyncio/tasks.py", True),
        ("/opt/py/lib/python3.13t/queue.py", True),
        ("<frozen importlib._bootstrap>", True),
        ("C:\\Python\\python311.zip\\queue.py", True),
        (f"{SITE}/requests/api.py", False),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", False),
        ("/home/me/lib/python/mine.py", False),
        ("<string>", False),
    ],
)
def test_plumbing_is_the_standard_library(file: str, expected: bool) -> None:
    """Wherever it is installed; what pip installed is not it."""
    assert plumbing(frame("f", file)) is expected


def test_files_are_told_as_far_as_they_say_something() -> None:
    """A package's file with its package, others by name."""
    assert short(f"{SITE}/urllib3/pool.py") == "urllib3/pool.py"
    assert short(f"{LIB}/asyncio/tasks.py") == "asyncio/tasks.py"
    assert short("/srv/app/job.py") == "job.py"


WAITS = [
    (FUTEX, "waiting in futex_wait_queue (a lock or a condition)"),
    ({**FUTEX, "wchan": None}, "waiting in futex (a lock or a condition)"),
    ({**FUTEX, "wchan": "do_syscall_64"}, "waiting in futex (a lock or a condition)"),
    ({**FUTEX, "wchan": "strange_place", "syscall": None}, "waiting in strange_place"),
    ({**FUTEX, "syscall": "read", "fd": 5, "target": "pipe:[7]"}, "waiting in read of pipe:[7]"),
    ({**FUTEX, "syscall": "flock", "fd": 5}, "waiting in flock of descriptor 5"),
    ({**FUTEX, "wchan": "ep_poll", "syscall": None}, "waiting in ep_poll (input or output, or a timer)"),
    ({**FUTEX, "wchan": None, "syscall": None}, ""),
    ({**FUTEX, "state": "R"}, ""),
    (None, ""),
]


@pytest.mark.parametrize(("wait", "expected"), WAITS)
def test_what_is_waited_for_is_said_in_words(wait: dict[str, Any] | None, expected: str) -> None:
    """The kernel's place, else the system call; the file or connection where there is one."""
    assert waiting(wait) == expected


HEADLINES = [
    (
        evidence(thread(frame("fetch")), main_wait=FUTEX),
        "MainThread in `fetch` (job.py:42), waiting in futex_wait_queue (a lock or a condition)",
    ),
    (
        evidence(thread(frame("spin"), gil=True), process={"cpu_now": 0.987}, main_wait={**FUTEX, "state": "R"}),
        "MainThread in `spin` (job.py:42), running (CPU 99%), holding the interpreter lock",
    ),
    (
        evidence(thread(frame("fetch")), process={"state": "T"}, main_wait={**FUTEX, "state": "T"}),
        "stopped by a signal (state T); MainThread in `fetch` (job.py:42)",
    ),
    (
        evidence(process={"state": "D"}, main_wait={**FUTEX, "state": "D", "wchan": "nfs_wait", "syscall": None}),
        "in an uninterruptible wait in the kernel (state D); the main thread's stack is not known, "
        "waiting in nfs_wait (a network file system)",
    ),
    (
        evidence(process={"state": "Z", "ended": True, "exit_status": "exit code 3", "parent": 7}),
        "has ended (exit code 3), a zombie: its parent, pid 7, has not collected it (state Z)",
    ),
    (
        evidence(thread(frame("serve"), main=False, name="w"), process={"state": "Z"}),
        "its main thread has ended, other threads run on (state Z); the main thread's stack is not known, "
        "one of its other threads in `serve` (job.py:42)",
    ),
    (
        evidence(thread(*LOOP), main_wait={**FUTEX, "wchan": "ep_poll"}),
        "MainThread in `main` (job.py:80), in asyncio.runners.Runner.run, waiting in ep_poll (input or output, "
        "or a timer); which task hangs is known only after client.enable_dumps()",
    ),
    (
        evidence(thread(*LOOP), tasks=[task("Task-1", frame("fetch"), awaits="Future")]),
        "MainThread runs an event loop; task Task-1 in `fetch` (job.py:42), awaiting a Future",
    ),
    (
        evidence(thread(frame("blocks"), *LOOP), tasks=[task("Task-1", frame("fetch"))]),
        "MainThread in `blocks` (job.py:42)",
    ),
    (evidence(thread(frame("f\x1b[2J"), name="\x07\u202e")), "\\x07\\u202e in `f\\x1b[2J` (job.py:42)"),
]


@pytest.mark.parametrize(("given", "expected"), HEADLINES)
def test_one_line_tells_where_it_hangs(given: dict[str, Any], expected: str) -> None:
    """State first where it matters, then thread or task, function, file and line, and what is waited for."""
    assert headline(given) == expected


def test_the_stuck_task_is_at_the_end_of_what_the_first_waits_for() -> None:
    """Positions that lead in a circle, or out of the list, are not followed for ever."""
    tasks = [
        task("a", awaits_tasks=[2]),
        task("b"),
        task("c", awaits_tasks=[0, 99, 3]),
        task("d", awaits_tasks=[0]),
    ]
    assert stuck_task(tasks) is tasks[3]
    assert stuck_task([]) is None


def test_text_is_cut_and_made_harmless() -> None:
    """Lone surrogates go; a terminal finds nothing to obey."""
    assert sanitize.text("abcdef", 4) == "abc…"
    assert sanitize.text("abcdef", 4, keep_end=True) == "…def"
    assert sanitize.text("a\ud800", 9) == "a\\ud800"
    assert sanitize.one_line("ok ä 番犬") == "ok ä 番犬"
    assert sanitize.one_line("a\x1b[31m\n\u202e\x9b\u2028") == "a\\x1b[31m\\n\\u202e\\x9b\\u2028"
    assert sanitize.line("\0" * 90, 20) == "\\x00" * 4 + "\\x0…"


def test_a_summary_has_so_many_lines() -> None:
    """The headline first; room for problems is kept."""
    given = evidence(thread(*(frame(f"f{n}") for n in range(30))), problems=["one thing"], headline="where")
    assert summary_lines(given, 1) == ["where"]
    lines = summary_lines(given, 6)
    assert lines[0] == "where"
    assert lines[2].strip() == "f0  job.py:42"
    assert lines[-1] == "! one thing"
    assert len(lines) == 6


def test_evidence_of_nobody_can_be_shown() -> None:
    """Where no process was known there is a headline and little else; whatever else is missing is not shown."""
    for given in (
        {"headline": "no process is known", "problems": [], "said": {}},
        {"headline": "no process is known"},
    ):
        assert render(given) == ["no process is known"]
        assert summary_lines(given, 5) == ["no process is known"]
    assert render({"data": "of another version"})[0]


def test_threads_with_one_stack_are_shown_once() -> None:
    """A pool of a hundred is one paragraph."""
    given = evidence(*(thread(frame("idle"), main=False, name=f"p{n}") for n in range(100)))
    assert sum("idle" in line for line in render(given)[1:]) == 1
    assert any("and 92 more" in line for line in render(given))
