"""The fault suite itself: a short round in it, what it calls wrong, and its table."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from random import Random

import pytest

from faults import run, table
from faults.catalogue import FAULTS, Fault
from faults.fault import Seconds
from faults.place import Place
from faults.rounds import end_in, suffer
from faults.seen import NotHere, Seen, false_verdicts
from faults.table import Row

PAGE = f"# Figures\n\n{table.BEGIN}{table.END}\nMore.\n"


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="/proc, prlimit and pipes of a chosen size")
def test_a_short_round_breaks_no_promise() -> None:
    """A blocked log, and SIGTERM in the middle of it; then one that ends the supervisor, which is seen."""
    fault = replace(FAULTS["blocked-stderr"], lasting=8.0)  # other tests run beside it
    chance = Random(1)
    with Place(4) as place:
        seen = suffer(place, fault, chance, 0.1)
        assert seen.wrong == []
        assert seen.announced
        assert seen.late
        assert seen.deeds
        ended = end_in(place, fault, chance, 0.1)
        assert ended.wrong == []
        assert ended.stops

        def kill(place: Place, chance: Random, seconds: float) -> Seconds:
            place.kill()
            yield 0.05

        seen = suffer(place, Fault(1, "", "", kill, lasting=8.0), chance, 0.1)
        assert [each for each in seen.wrong if each.startswith("the supervisor ended")]


def test_a_verdict_is_false_where_the_process_had_no_part_in_it() -> None:
    verdicts = [("honest-0", 100.0, "timeout"), ("honest-1", 100.0, "timeout"), ("honest-2", 100.0, "exited")]
    late = [
        {"name": "honest-0", "from": 98.8, "to": 99.9},
        {"name": "honest-1", "from": 90.0, "to": 91.0},  # long ago
        {"name": "honest-3", "from": 98.8, "to": 99.9},
    ]
    wrong = false_verdicts(verdicts, late)
    assert wrong == ["a false verdict on honest-1: timeout", "a false verdict on honest-2: exited"]


def test_the_worst_of_all_rounds_is_shown() -> None:
    seen = Seen(rounds=1, announced=10, late=[0.002, 0.03], stops=[0.1], more=3 * 2**20)
    seen.add(Seen(rounds=2, announced=5, late=[0.001], stops=[2.0], more=2**20))
    row = Row("stop", seen)
    assert row.cells()[3:] == ("3", "0 wrong of 15 verdicts; verdict 30 ms late; +3 MB; SIGTERM 2.0 s", "kept")
    seen.add(Seen(wrong=["honest-1 was lost"]))
    assert row.verdict == "broken"
    assert "stop: honest-1 was lost" in table.shown([row])
    assert Row("stop", Seen(), not_tried="only root can").cells()[4:] == ("only root can", "not tried")


def test_a_page_keeps_the_rows_of_faults_that_were_not_tried_again() -> None:
    page = table.written(PAGE, [Row("stop", Seen(rounds=3)), Row("kill-9", Seen(rounds=5))], "First.")
    page = table.written(page, [Row("kill-9", Seen(rounds=1_000)), Row("feed", Seen(rounds=2))], "Second.")
    assert [table.name_of(line) for line in page.splitlines() if table.name_of(line)] == ["stop", "feed", "kill-9"]
    assert "First." not in page
    assert "Second." in page
    assert "| 1000 |" in page
    assert page.endswith(f"{table.END}\nMore.\n")
    with pytest.raises(ValueError, match="has no lines"):
        table.written("# Another page\n", [], "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "stop,stpo"], "no such fault: stpo; there are stop, "),
        (["--minutes", "-1"], "--minutes must not be negative"),
        (["--jobs", "0"], "--jobs must be 1 or more"),
        (["--hours", "1", "--rounds", "3"], "--hours is the soak: it goes without"),
    ],
)
def test_a_wrong_option_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.parsed(arguments)
    assert said in capsys.readouterr().err


def test_each_fault_is_tried_once_in_the_short_setting_and_where_it_belongs() -> None:
    options = run.parsed([])
    groups = [task.args[1] for task in run.tasks(run.Plan(options, threading.Event()), options.names)[:-1]]  # type: ignore[attr-defined]
    assert sorted(name for group in groups for name in group) == sorted(FAULTS)
    for group in groups:
        assert len({(FAULTS[name].config, FAULTS[name].own_disk, FAULTS[name].leaves) for name in group}) == 1


def test_many_jobs_share_the_rounds_of_one_fault() -> None:
    options = run.parsed(["--only", "stop", "--rounds", "100", "--jobs", "8"])
    plan = run.Plan(options, threading.Event())
    assert len(run.tasks(plan, options.names)) == 8
    assert len(list(plan.turns())) == 13
    plan.over.set()
    assert list(plan.turns()) == []


def test_what_cannot_be_made_here_is_said_and_the_others_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nowhere:
        def __init__(self, *args: object, **kwargs: object) -> None:
            raise NotHere("only root can mount")

    monkeypatch.setattr(run, "Place", Nowhere)
    rows = run.at_one_place(run.Plan(run.parsed([]), threading.Event()), ["disk-full", "read-only"])
    assert [(row.name, row.verdict, row.not_tried) for row in rows] == [
        ("disk-full", "not tried", "only root can mount"), ("read-only", "not tried", "only root can mount"),
    ]  # fmt: skip
