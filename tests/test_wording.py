"""Every event of a program, an action and the config is a sentence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from banken.protocol.messages import Declaration, Exit, Feeders
from banken_supervisor.cli.events import line
from banken_supervisor.cli.incident import in_words
from banken_supervisor.cli.suggest import _cells as suggested
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.programs.engine.effects import ProgramEventType
from banken_supervisor.text.event_text import log_line, sentence
from banken_supervisor.text.reasons import gist, unjudged


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"what": "program-started", "pid": 7}, "runs as pid 7"),
        ({"what": "program-adopted", "pid": 7}, "was adopted: it already ran as pid 7"),
        ({"what": "program-failed", "reason": "no such file"}, "cannot be started: no such file"),
        ({"what": "program-exited", "status": 3, "ran": 1.5}, "ended (exit status 3) after 1.5 s"),
        ({"what": "program-exited", "status": -9, "ran": 90}, "ended (by SIGKILL) after 1m30s"),
        ({"what": "program-exited", "status": -999, "ran": 90}, "ended (by signal 999) after 1m30s"),
        ({"what": "program-exited", "status": None, "ran": 1}, "ended (exit status unknown) after 1 s"),
        ({"what": "program-backoff", "seconds": 2.0, "attempt": 3}, "starts again in 2 s (attempt 3)"),
        (
            {"what": "program-gave-up", "of": "p", "count": 3, "period": 600},
            "is given up: the restart budget (3 restarts in 10m) is used up",
        ),
        (
            {"what": "program-gave-up", "of": "all", "count": 1, "period": 60.0},
            "is given up: the restart budget of its group all (1 restart in 1m) is used up",
        ),
        (
            {"what": "program-stopped", "status": 0, "why": "asked to", "again": False},
            "is down (exit status 0): asked to",
        ),
        (
            {"what": "program-stopped", "status": -15, "why": "its configuration changed", "again": True},
            "is down (by SIGTERM): its configuration changed; it starts again",
        ),
        ({"what": "record-damaged", "text": "p's record is no JSON"}, "record-damaged: p's record is no JSON"),
    ],
)
def test_a_programs_events_are_sentences(data: dict[str, Any], said: str) -> None:
    """In the log and on the terminal alike."""
    assert sentence({"type": "program", "name": "p", **data}) == said
    assert log_line(Event(EventType.PROGRAM, "p", data)) == f"p {said}"
    assert line({"type": "program", "name": "p", "time": 0.0, "seq": 1, **data}, False).endswith(f"  p  {said}")


def test_none_of_the_programs_events_is_without_words() -> None:
    """Whatever the core tells has a sentence of its own, not only its bare name."""
    for kind in ProgramEventType:
        said = sentence({"type": "program", "name": "p", "what": kind.value})
        assert said is not None
        assert said != kind.value.removeprefix("program-"), kind


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"type": "action", "step": 1, "run": 1, "do": "kill", "incident": "i-1"}, "step 2 runs 'kill'"),
        (
            {"type": "would-act", "step": 0, "run": 2, "do": "log", "level": "critical"},
            "step 1 would run 'log', critical, run 2",
        ),
        (
            {"type": "action-unknown", "step": 2, "run": 1, "do": "exec"},
            "step 3 'exec' was begun by a former leader, and it is not known whether it was done",
        ),
        (
            {"type": "action-unknown", "step": 1, "run": 3, "do": "exec"},
            "step 2 'exec', run 3, was begun by a former leader, and it is not known whether it was done",
        ),
        (
            {"type": "action-done", "do": "kill", "seconds": 0.5, "text": "pid 7 ended"},
            "'kill' done in 0.5 s: pid 7 ended",
        ),
        (
            {"type": "action-failed", "do": "x", "text": "Traceback …\n  File\nOSError: no"},
            "'x' failed: OSError: no",
        ),
        ({"type": "reloaded", "file": "/etc/b.toml"}, "the config file /etc/b.toml was loaded"),
        (
            {"type": "reload-failed", "text": "b.toml:3: bad\nb.toml:4: bad"},
            "the config file was refused, the old config stays in use: b.toml:3: bad",
        ),
        ({"type": "expired", "cause": "timeout"}, None),
    ],
)
def test_actions_and_reloads_are_sentences(event: dict[str, Any], said: str | None) -> None:
    """What has words already keeps them."""
    assert sentence(event) == said


def test_what_a_command_wrote_cannot_steer_the_terminal() -> None:
    """The sentence is cleaned where it is shown."""
    event = {"type": "program", "name": "p", "what": "program-failed", "reason": "\x1b[2Jboo\nforged", "time": 0.0}
    shown = line(event, False)
    assert "\x1b" not in shown
    assert "\n" not in shown


TRACEBACK = """Traceback (most recent call last):
  File "job.py", line 3, in step
    raise OSError(28, "No space left on device")
OSError: [Errno 28] No space left on device
and a second line of it"""

VERDICT = {"incident": "i-1", "run": 1, "silence": 5.001, "timeout": 5.0, "late": 0.0004, "age": 0.0, "pid": 7}


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("disk full", "disk full"),
        ("disk full\nsorry", "disk full"),
        (TRACEBACK, "OSError: [Errno 28] No space left on device"),
        (f"…{TRACEBACK[60:]}", "OSError: [Errno 28] No space left on device"),  # one that was too long
        (f"{TRACEBACK}\n\nDuring handling:\n\n{TRACEBACK}".replace("28]", "5]", 1), "OSError: [Errno 28]"),
        ("Traceback (most recent call last):\n  File", "  File"),
        ("\n\n", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_of_a_reason_the_line_that_tells_is_shown(reason: str, said: str) -> None:
    """The exception's type and message, not the first word of its traceback."""
    assert gist(reason).startswith(said) if said else gist(reason) == ""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"cause": "timeout"}, "w expired (timeout): silent for 5.001 s, 0.4 ms after its deadline [i-1]"),
        (
            {"cause": "exited", "silence": 0.0, "late": 0.0, "reason": "exit status 3"},
            "w expired (exited): exit status 3 [i-1]",
        ),
        ({"cause": "exited", "silence": 4.2, "late": 0.0}, "w expired (exited): silent for 4.200 s [i-1]"),
        ({"cause": "exited", "silence": 0.0, "late": 0.0}, "w expired (exited) [i-1]"),
        (
            {"cause": "exited", "silence": 110.6, "timeout": 1e9, "late": 0.0, "reason": "ended by SIGKILL"},
            "w expired (exited): ended by SIGKILL [i-1]",
        ),
        (
            {"cause": "failed", "late": 0.0, "reason": TRACEBACK},
            f"w expired (failed): OSError: [Errno 28] No space left on device [i-1]\n{TRACEBACK}",
        ),
        (
            {"cause": "too-few", "silence": 0.01, "reason": "1 alive, at least 2 wanted"},
            "w expired (too-few): 1 alive, at least 2 wanted, 0.4 ms after its deadline [i-1]",
        ),
        (
            {"cause": "timeout", "run": 2, "status": "a\nb"},
            "w expired (timeout, run 2): silent for 5.001 s, last status 'a\\nb' [i-1]",
        ),
    ],
)
def test_a_verdict_says_what_happened_and_nothing_that_did_not(data: dict[str, Any], said: str) -> None:
    """No deadline for one that ended, no silence of no seconds."""
    assert log_line(Event(EventType.EXPIRED, "w", {**VERDICT, **data})) == said


def test_a_verdict_on_the_terminal_leaves_out_what_misleads() -> None:
    """A program that ended, of which only the end is noticed."""
    data = {
        **VERDICT,
        "cause": "exited",
        "silence": 0.0,
        "late": 0.0,
        "timeout": 315_360_000.0,
        "reason": TRACEBACK,
    }
    shown = line({"type": "expired", "name": "w", "time": 0.0, "seq": 1, **data}, False)
    assert shown.endswith("w  pid 7, cause exited, reason “OSError: [Errno 28] No space left on device”  [i-1]")


def test_an_incident_shows_the_exception_first_and_no_timeout_of_ten_years() -> None:
    """What `banken incident` prints; the whole traceback stands below."""
    record = SimpleNamespace(
        name="w", cause="failed", id="i-1", opened=0.0, closed=None, silence=0.0, timeout=315_360_000.0, pid=7,
        status=None, progress=None, reason=TRACEBACK, how=None,
    )  # fmt: skip
    events = [
        SimpleNamespace(
            type="expired", name="w", time=0.0, data={**VERDICT, "cause": "failed", "reason": TRACEBACK}
        ),
        SimpleNamespace(type="action", name="w", time=1.0, data={"incident": "i-1", "step": 0, "do": "dump"}),
        SimpleNamespace(type="recovered", name="w", time=2.0, data={"incident": "i-1", "lasted": 2.0187500123}),
    ]
    story = SimpleNamespace(incident=record, events=events, steps=[], evidence=[], problems=[])
    shown = in_words(story)
    assert "  silence   no timeout" in shown
    assert "  reason    OSError: [Errno 28] No space left on device" in shown
    assert "    and a second line of it" in shown
    timeline = ["  " + each.split(maxsplit=2)[2] for each in shown[shown.index("Timeline") + 1 :]]
    assert timeline == [
        "  expired          run 1, cause failed, reason “OSError: [Errno 28] No space left on device”",
        "  action           step 1 runs 'dump'",
        "  recovered        lasted 2.02 s",
    ]


def test_what_never_expires_has_no_timeout_in_suggest() -> None:
    """Not one of 3650 days."""
    row = {"name": "w", "timeout": 315_360_000.0, "auto": None, "gaps": 0, "needed": 20, "longest": None}
    assert suggested({**row, "proposed": None}) == ("w", "-", "0", "-", "after 20 more gaps")


def test_a_conflict_says_what_differs() -> None:
    """In words, and nothing else."""
    operator = list(Declaration(1.0, 20.0, 60.0, Feeders.LATEST, None, None))
    worker = list(Declaration(2.5, 20.0, 60.0, Feeders.ANY, "page", 30.0))
    said = (
        "the worker declares timeout 2.5 s, feeders any, callback page, progress timeout 30 s; "
        "the operator's declaration is used: timeout 1 s, feeders latest, no callback, no progress timeout"
    )
    data = {"operator": operator, "worker": worker}
    assert log_line(Event(EventType.CONFLICT, "w", data)) == f"w {said}"
    assert sentence({"type": "conflict", **data}) == said
    strict = list(Declaration(1.0, 20.0, 60.0, exit=Exit.INCIDENT, clean=()))
    assert sentence({"type": "conflict", "operator": operator, "worker": strict}) == (
        "the worker declares exit incident, clean ends none; "
        "the operator's declaration is used: exit unclean, clean ends 0, SIGTERM, SIGPIPE, SIGINT, SIGHUP"
    )
    assert sentence({"type": "conflict", "operator": [315_360_000.0, *operator[1:]], "worker": operator}) == (
        "the worker declares timeout 1 s; the operator's declaration is used: no timeout"
    )
    assert sentence({"type": "conflict", "operator": 3, "worker": [1]}) is None


def test_a_check_has_no_process_whose_end_is_watched() -> None:
    """One that says whether its owner is ready has no timeout, and is no program."""
    check = {"state": "running", "timeout": 1e9, "grace": 1e9, "left": None, "pid": None, "check_of": "db"}
    assert unjudged({**check, "awaited": True}) == "looked at until db is ready"
    assert unjudged({**check, "awaited": False}) == "db is not running"
    assert unjudged({**check, "awaited": True, "timeout": 3.0}) is None


def test_what_has_no_sentence_has_durations_that_people_read() -> None:
    """Not as many digits as a float has."""
    data = {"incident": "i-1", "lasted": 1.01187500123, "runs": 3, "pid": 7}
    assert log_line(Event(EventType.GIVEN_UP, "w", data)) == "w given-up: lasted 1.01 s, runs 3, pid 7 [i-1]"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("ready", "it is ready"),
        ("passed", "the check passed"),
        ("enough alive", "enough members are alive"),
        ("reborn", "a new process has taken over"),
        ("stopped", "its program was stopped"),
        ("paused", "paused"),
    ],
)
def test_the_end_of_an_incident_is_said_in_plain_words(how: str, said: str) -> None:
    """Not with the word that the data has for it."""
    data = {"incident": "i-1", "lasted": 3.0, "runs": 1, "how": how}
    assert log_line(Event(EventType.CLOSED, "w", data)) == f"w closed: {said}, after 3.000 s [i-1]"
