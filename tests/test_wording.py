"""Every event of a program, an action and the config is a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from banken_supervisor.cli.events import line
from banken_supervisor.core.effects import Event, EventType
from banken_supervisor.core.program_effects import ProgramEventType
from banken_supervisor.wording import log_line, sentence


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"what": "program-started", "pid": 7}, "runs as pid 7"),
        ({"what": "program-adopted", "pid": 7}, "was running already as pid 7, and is adopted"),
        ({"what": "program-failed", "reason": "no such file"}, "cannot be started: no such file"),
        ({"what": "program-exited", "status": 3, "ran": 1.5}, "ended (exit status 3) after 1.5 s"),
        ({"what": "program-exited", "status": -9, "ran": 90}, "ended (by SIGKILL) after 1m30s"),
        ({"what": "program-exited", "status": -999, "ran": 90}, "ended (by signal 999) after 1m30s"),
        ({"what": "program-exited", "status": None, "ran": 1}, "ended (nobody knows how) after 1 s"),
        ({"what": "program-backoff", "seconds": 2.0, "attempt": 3}, "starts again in 2 s (attempt 3)"),
        (
            {"what": "program-gave-up", "of": "p", "count": 3, "period": 600},
            "is given up: the budget of 3 restarts in 10m is spent",
        ),
        (
            {"what": "program-gave-up", "of": "all", "count": 1, "period": 60.0},
            "is given up: the budget of its group all of 1 restart in 1m is spent",
        ),
        (
            {"what": "program-stopped", "status": 0, "why": "asked to", "again": False},
            "is down (exit status 0): asked to",
        ),
        (
            {"what": "program-stopped", "status": -15, "why": "its configuration changed", "again": True},
            "is down (by SIGTERM): its configuration changed, and starts again",
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
        ({"type": "action", "rung": 1, "run": 1, "do": "kill", "incident": "i-1"}, "rung 1 begins 'kill'"),
        (
            {"type": "would-act", "rung": 0, "run": 2, "do": "log", "level": "critical"},
            "rung 0 would begin 'log', critical, run 2",
        ),
        (
            {"type": "action-done", "do": "kill", "seconds": 0.5, "text": "pid 7 ended"},
            "'kill' done in 0.5 s: pid 7 ended",
        ),
        (
            {"type": "action-failed", "do": "x", "text": "Traceback …\n  File\nOSError: no"},
            "'x' failed: OSError: no",
        ),
        ({"type": "reloaded", "file": "/etc/b.toml"}, "the config /etc/b.toml is in force"),
        (
            {"type": "reload-failed", "text": "b.toml:3: bad\nb.toml:4: bad"},
            "the config was not taken, and the old one stays in force: b.toml:3: bad",
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
