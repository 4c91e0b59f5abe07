"""``banken check``: what is found, as a Nagios plugin says it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from banken_supervisor.cli.check import STATES, Finding, Thresholds, _trouble, figures, judge, line

ZERO = Thresholds(None, 0)

PLUGIN_LINE = re.compile(
    r"BANKEN (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+"
    r"( \| [\w-]+=[\d.]+s?;\d*;\d*;\d*( [\w-]+=[\d.]+s?;\d*;\d*;\d*)*)?"
)


def down(name: str, state: str = "expired", reason: str | None = None) -> dict[str, Any]:
    """One that is down."""
    return {
        "name": name, "state": state, "silence": 9.0, "incident": {"cause": "timeout", "age": 4.0, "reason": reason}
    }  # fmt: skip


def finding(down: list[dict[str, Any]] | None = None, **more: Any) -> Finding:
    """So many by state (``given_up`` for given-up), and the rest of a finding."""
    counts = {state: more.pop(state.replace("-", "_"), 0) for state in STATES}
    return Finding(counts, down or [], **more)


@pytest.mark.parametrize(
    ("found", "thresholds", "code", "text"),
    [
        (finding(alive=12), ZERO, 0, "12 alive"),
        (finding(), ZERO, 0, "nobody is watched"),
        (finding(alive=1, waiting=2, paused=3), ZERO, 0, "2 waiting, 1 alive, 3 paused"),
        (
            finding([down("a")], alive=1, expired=1),
            ZERO,
            2,
            "1 expired, 1 alive: a expired (timeout 4 s ago)",
        ),
        (
            finding([down("a", "given-up", "why")], given_up=1),
            ZERO,
            2,
            "1 given-up: a given-up (timeout 4 s ago, why)",
        ),
        (Finding({"idle": 2, "running": 1, "alive": 3}, []), ZERO, 0, "3 alive, 1 running, 2 idle"),
        (finding([down("a")], expired=1), Thresholds(0, 1), 1, None),
        (finding([down("a")], expired=1), Thresholds(1, 1), 0, None),
        (finding([down("a"), down("b")], expired=2), Thresholds(0, 1), 2, None),
        (finding([down("a"), down("b")], expired=2), Thresholds(1, None), 1, None),
        (
            finding([down(f"w{n}") for n in range(9)], expired=9),
            ZERO,
            2,
            "9 expired: " + "; ".join(f"w{n} expired (timeout 4 s ago)" for n in range(5)) + "; and 4 more",
        ),
        (finding(alive=2, past=1, past_names=("a",)), ZERO, 1, "2 alive: well again: a"),
        (finding(alive=2, past=0), ZERO, 0, "2 alive"),
        (finding(alive=2, trouble=("journal full",)), ZERO, 1, "2 alive: journal full"),
        (finding([down("a")], expired=1, trouble=("journal full",)), ZERO, 2, None),
        (
            finding(alive=1, only={"name": "a", "state": "alive", "silence": 0.5, "timeout": 9.0, "grace": 9.0}),
            ZERO,
            0,
            "a alive (silent for 0.5 s)",
        ),
        (
            finding(
                waiting=1, only={"name": "a", "state": "running", "silence": 9.0, "timeout": 1e9, "grace": 1e9}
            ),
            ZERO,
            0,
            "a running (only its end is watched)",
        ),
    ],
)
def test_the_judgement(found: Finding, thresholds: Thresholds, code: int, text: str | None) -> None:
    """The worst counts; paused and waiting are well."""
    judged, said = judge(found, thresholds)
    assert judged == code
    assert text in (None, said)
    assert PLUGIN_LINE.fullmatch(line(judged, said, figures(found, thresholds)))


def test_fewer_are_named_before_the_supervisors_trouble_is_cut_off() -> None:
    """The names are in ``status``; that the supervisor keeps no journal is told here alone."""
    rows = [down(f"a-worker-of-a-longer-name-{n}", reason="it waits for the others") for n in range(5)]
    found = finding(rows, expired=24, past=1, past_names=("w",), trouble=("journal full", "memory short"))
    code, said = judge(found, ZERO)
    told = line(code, said)
    assert told.endswith("; well again: w; journal full; memory short")
    assert 1 <= told.count("a-worker") < 5
    assert f"and {24 - told.count('a-worker')} more" in told


@pytest.mark.parametrize(
    "text", ["two\nlines", "a | b=1", "\x1b[31mred\x1b[0m", "long " * 500, "\u2028 \u202e", "a\tb"]
)
def test_whatever_the_text_is_it_is_one_line_with_one_bar(text: str) -> None:
    """A reason that a worker wrote must not forge figures."""
    said = line(2, "x " + text, ["down=1;;0;0"])
    assert PLUGIN_LINE.fullmatch(said), said
    assert said.isprintable()


def test_the_figures() -> None:
    """``label=value;warning;critical;least``, as the plugin guidelines have it."""
    found = finding(alive=3, expired=1, past=2, only={"silence": 1.5})
    found = found._replace(counts={**found.counts, "alive": 1, "idle": 2})
    assert figures(found, Thresholds(1, 2)) == [
        "down=1;1;2;0", "alive=3;;;0", "waiting=0;;;0", "paused=0;;;0", "expired=1;;;0", "given-up=0;;;0",
        "incidents=2;;;0", "silence=1.500s;;;0",
    ]  # fmt: skip


def test_a_supervisor_that_is_short_of_means_is_in_trouble() -> None:
    """Descriptors and memory, while they are."""
    summary = {"journal": None, "stalls": 0, "descriptors": 90, "descriptors_max": 100}
    assert _trouble({**summary, "descriptors_short": False, "memory_short": False}, 60.0) == ()
    short = _trouble({**summary, "descriptors_short": True, "memory_short": True}, 60.0)
    assert short == ("90 of 100 descriptors in use", "memory short: new names are refused")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, ()),
        ({"leader": None}, ("nobody is known to lead the cluster",)),
        ({"leader": None, "away": "no answer"}, ("the cluster's store does not answer: no answer",)),
        ({"members": {"b": False, "c": True}}, ("of the cluster's members b does not answer",)),
        ({"members": {"c": False, "b": False}}, ("of the cluster's members b, c do not answer",)),
    ],
)
def test_a_cluster_that_may_not_act_is_trouble(more: dict[str, Any], said: tuple[str, ...]) -> None:
    """No leader, no store, or a member that does not answer."""
    cluster = {"leader": "a", "away": None, "members": {"b": True, "c": True}, **more}
    assert _trouble({"journal": None, "stalls": 0, "cluster": cluster}, 60.0) == said
