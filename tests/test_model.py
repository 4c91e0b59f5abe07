"""Names, durations and texts: what is allowed, and what the refusal says."""

from __future__ import annotations

import signal
from decimal import Decimal

import pytest

from banken.errors import DurationRefused, NameRefused, Refused, TextRefused
from banken.protocol.limits import (
    NAME_MAX,
    SECONDS_MAX,
    SECONDS_MIN,
    check_name,
    check_progress,
    check_seconds,
    check_text,
)
from banken.protocol.messages import CLEAN, declare


@pytest.mark.parametrize("name", ["a", "worker-3", "9", "_x", "host:7/gpu.0@node+1", "x" * NAME_MAX])
def test_good_names_pass(name: str) -> None:
    """Letters, digits and _ . : @ / + - make a name, up to 128 of them."""
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "-a", ".a", "a\n", "\na", "ü", "a*", "x" * (NAME_MAX + 1), None, 3, b"a"]
)
def test_bad_names_are_refused_with_what_is_allowed(name: object) -> None:
    """A refusal is a ValueError that names the rule."""
    with pytest.raises(NameRefused, match="allowed|is a str") as fault:
        check_name(name)
    assert isinstance(fault.value, ValueError)


@pytest.mark.parametrize("value", [SECONDS_MIN, 1, 0.5, 60, SECONDS_MAX, Decimal("2.5")])
def test_good_durations_pass(value: float) -> None:
    """From a millisecond to ten years, whatever kind of number."""
    assert check_seconds(value, "timeout") == float(value)


@pytest.mark.parametrize(
    "value",
    [0, -1, 0.0009, SECONDS_MAX * 1.001, float("nan"), float("inf"), 10**400, "60", None, True, [], 1j],
)
def test_bad_durations_are_refused_with_what_is_allowed(value: object) -> None:
    """A refusal is a ValueError that names the argument."""
    with pytest.raises(DurationRefused, match="timeout") as fault:
        check_seconds(value, "timeout")
    assert isinstance(fault.value, ValueError)


def test_zero_is_allowed_only_where_it_means_something() -> None:
    """``zero=True`` allows 0 and still no other number below the least."""
    assert check_seconds(0, "resolution", zero=True) == 0.0
    with pytest.raises(DurationRefused):
        check_seconds(0.0001, "resolution", zero=True)


def test_long_texts_are_cut_and_other_things_refused() -> None:
    """A status grows as it likes; a worker must not fall over it."""
    assert len(check_text("x" * 5000, "status", 1024)) == 1024
    with pytest.raises(TextRefused, match="status"):
        check_text(7, "status", 1024)


class Numeric:
    """Converts to a number as numpy's and torch's values do: what is None raises TypeError."""

    def __init__(self, index: int | None = None, real: float | None = None) -> None:
        self._index, self._real = index, real

    def __index__(self) -> int:
        if self._index is None:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return self._index

    def __float__(self) -> float:
        if self._real is None:
            raise TypeError("only length-1 arrays can be converted")
        return self._real


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (True, 1),
        (Numeric(index=7), 7),
        (Numeric(real=0.25), 0.25),
        (Decimal("0.5"), 0.5),
        (float("nan"), None),
        (Numeric(real=float("nan")), None),
    ],
)
def test_what_converts_to_a_number_is_progress(value: object, sent: object) -> None:
    """A training loop gives whatever its loss is; nan says nothing."""
    taken = check_progress(value)
    assert taken == sent
    assert type(taken) is type(sent)


@pytest.mark.parametrize("value", [None, [], 1j, "x" * 257, 2**63, Numeric(index=2**63), Numeric()])
def test_progress_is_a_number_or_a_short_text(value: object) -> None:
    """What cannot travel as progress is refused."""
    with pytest.raises(TextRefused):
        check_progress(value)


def test_a_declaration_is_checked_whole() -> None:
    """Every part of a declaration is checked, and grace defaults to the timeout."""
    assert declare(60, 20).grace == 60
    for bad in (
        {"timeout": 0, "interval": 1},
        {"timeout": 1, "interval": -1},
        {"timeout": 1, "interval": 1, "grace": float("nan")},
        {"timeout": 1, "interval": 1, "feeders": "some"},
        {"timeout": 1, "interval": 1, "callback": "no name"},
        {"timeout": 1, "interval": 1, "progress_timeout": 0},
        {"timeout": 1, "interval": 1, "exit": "always"},
        {"timeout": 1, "interval": 1, "clean": [256]},
        {"timeout": 1, "interval": 1, "clean": ["SIGBARK"]},
        {"timeout": 1, "interval": 1, "clean": "SIGUSR1"},
        {"timeout": 1, "interval": 1, "clean": [True]},
        {"timeout": 1, "interval": 1, "clean": range(100)},
        {"timeout": 1, "interval": 1, "clean": 3},
    ):
        with pytest.raises(Refused):
            declare(**bad)  # type: ignore[arg-type]


def test_clean_ends_are_statuses_and_signals() -> None:
    """In any order, by name or by number of the signal module, twice or once."""
    given = [155, "sigusr1", 0, "USR1", signal.SIGHUP, -15]
    assert declare(1, 1, clean=given).clean == (-15, -signal.SIGUSR1, -1, 0, 155)
    assert declare(1, 1, clean=()).clean == ()
    assert declare(1, 1).clean == CLEAN == declare(1, 1, clean=[0, "HUP", "INT", "TERM", "PIPE"]).clean
