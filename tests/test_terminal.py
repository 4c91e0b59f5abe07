"""What the terminal shows, without a terminal: sparklines, rates, uptime."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from banken_supervisor.cli.group import banken
from banken_supervisor.cli.sparkline import PLAIN_TICKS, rate, rate_text, sparkline, supports
from banken_supervisor.journal.uptime import percent, uptime


@pytest.mark.parametrize(
    ("values", "top", "width", "drawn"),
    [
        ([], 10, 5, ""),
        ([0, 10], 10, 5, "▁█"),
        ([1, 2, 3, 4, 5, 6, 7, 8], 8, 8, "▂▃▄▅▆▇██"),
        ([1, 2, 3], 8, 2, "▃▄"),
        ([99, -1], 10, 5, "█▁"),
        ([5], 0, 5, "█"),
        ([5], 10, 0, ""),
    ],
)
def test_a_sparkline(values: list[float], top: float, width: int, drawn: str) -> None:
    """The newest values, each as high as its share of the top."""
    assert sparkline(values, top, width) == drawn


def test_without_block_characters_there_are_others() -> None:
    """A terminal of the C locale."""
    assert not supports("ascii")
    assert not supports(None)
    assert supports("utf-8")
    assert sparkline([0, 10], 10, 2, PLAIN_TICKS) == "_#"


@pytest.mark.parametrize(
    ("feeds", "expected"),
    [([], None), ([[2, 2]], 0.25), ([[3, 1], [2, 1], [1, 1], [0, 1]], 1.0), ([[0, 0]], None)],
)
def test_the_rate_sinks_while_nothing_comes(feeds: list[list[float]], expected: float | None) -> None:
    """Feeds in the time from the one before the oldest until now."""
    assert rate(feeds) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (4.71, "4.7/s"), (120, "120/s"), (0.5, "30/min"), (1 / 60, "1.0/min"), (1 / 7200, "0.5/h")],
)
def test_a_rate_in_words(value: float | None, text: str) -> None:
    """The unit that makes it at least one; seven characters at the most."""
    assert rate_text(value) == text
    assert len(text) <= 7


@pytest.mark.parametrize(
    ("spells", "down", "failures", "mtbf", "mttr"),
    [
        ([], 0, 0, None, None),
        ([(110, 120)], 10, 1, 90, 10),
        ([(110, 120), (150, 180)], 40, 2, 30, 20),
        ([(150, 180), (110, 120)], 40, 2, 30, 20),  # in any order
        ([(90, 110)], 10, 0, None, 20),  # began before the period: its end counts, its beginning does not
        ([(190, None)], 10, 1, 90, None),  # still open
        ([(50, None)], 100, 0, None, None),  # down all the time
        ([(110, 130), (120, 140)], 30, 2, 35, 20),  # two at once: time counts once
        ([(110, 140), (120, 130)], 30, 2, 35, 20),  # one within the other
        ([(10, 20)], 0, 0, None, None),  # over before the period
        ([(250, 260)], 0, 0, None, None),  # after it: another clock
        ([(120, 110)], 0, 1, 100, 0),  # ended before it began: a clock that was set back
    ],
)
def test_uptime(
    spells: list[tuple[float, float | None]], down: float, failures: int, mtbf: float | None, mttr: float | None
) -> None:
    """A period from 100 to 200."""
    result = uptime(spells, 100, 200)
    assert (result.period, result.down, result.failures, result.mtbf, result.mttr) == (
        100, down, failures, mtbf, mttr,
    )  # fmt: skip
    assert result.share == pytest.approx((100 - down) / 100)


def test_no_period_has_no_uptime() -> None:
    """Nothing is divided by nothing."""
    assert uptime([(1, 2)], 5, 5).share is None


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "-"),
        (1, "100 %"),
        (0.9995, "99.95 %"),
        (0.99999, "99.999 %"),
        (0.9999999999, "99.999999 %"),
        (0, "0.00 %"),
    ],
)
def test_what_was_missing_is_never_rounded_away(share: float | None, text: str) -> None:
    """100 % is said of nothing else."""
    assert percent(share) == text


@pytest.mark.parametrize(
    ("typed", "meant"), [("programs", "status"), ("ls", "status"), ("stauts", "status"), ("logs", "top")]
)
def test_what_people_type_leads_to_the_command(typed: str, meant: str) -> None:
    """Other names for what there is, and misspelt ones."""
    done = CliRunner().invoke(banken, [typed])
    assert done.exit_code == 2
    assert f"no such command: {typed!r}; did you mean {meant!r}?" in done.output
