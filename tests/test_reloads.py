"""A reload: what is watched by the new file is what a supervisor that starts with it would watch."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine_kit import ALICE, ends
from reload_kit import Reloads

CHECK = 'check = { exec = ["true"], every = "1s", fails = 2 }'
ALWAYS = """
[[watchdog]]
name = "m"
expect = true
timeout = "4s"
grace = "4s"
[[program]]
name = "other"
command = ["sleep", "1000"]
check = { exec = ["true"], every = "1s", fails = 2 }
"""
KINDS = {
    "program": f'[[program]]\nname = "x"\ncommand = ["sleep", "1000"]\n{CHECK}\n',
    "watchdog": f'[[watchdog]]\nname = "x"\nexpect = true\ntimeout = "5s"\ngrace = "5s"\n{CHECK}\n',
    "group": '[[group]]\nname = "x"\nmembers = ["m"]\nat_least = 1\n',
    "nothing": "",
}
FAILS = {"x/check": False, "other/check": True}


def after_a_start(tmp_path: Path, text: str) -> Reloads:
    bench = Reloads(tmp_path, text)
    bench.live(100, FAILS)
    return bench


HOW = ["at once", "slowly", "slowly, and its process is heard of last"]
CHANGES = [(before, after, "unfed", "at once") for before in KINDS for after in KINDS]
CHANGES += [("program", after, is_fed, ends) for after in KINDS for is_fed in ("fed", "unfed") for ends in HOW]


@pytest.mark.parametrize(("before", "after", "is_fed", "ends"), dict.fromkeys(CHANGES))
def test_a_name_of_another_kind_is_watched_as_after_a_start(
    tmp_path: Path, before: str, after: str, is_fed: str, ends: str
) -> None:
    """However long the program takes to end that had the name."""
    bench = Reloads(tmp_path, ALWAYS + KINDS[before])
    bench.live(3, {"x/check": True, "other/check": True})
    if is_fed == "fed":
        bench.feed_from("x", "x")
    if ends != "at once":
        bench.manager.slow.add("x")
    bench.reload(ALWAYS + KINDS[after])
    bench.live(8, FAILS)
    if after != "program" and ends != "at once":
        if after != "group":
            assert bench.verdicts().get("x", (None, None))[1] is None, "it is being stopped"
        bench.end("x", heard_first=ends == "slowly")
    bench.live(100, FAILS)
    if after == "program" and is_fed == "fed":
        return  # it was not started anew, and has fallen silent
    assert bench.verdicts() == after_a_start(tmp_path, ALWAYS + KINDS[after]).verdicts()


@pytest.mark.parametrize("after", ["watchdog", "group", "nothing"])
def test_a_program_that_was_down_leaves_nothing_behind(tmp_path: Path, after: str) -> None:
    """It had failed, and was not to be started again: its incident ends with its place in the config."""
    once = KINDS["program"] + 'restart = "never"\n'
    bench = Reloads(tmp_path, ALWAYS + once)
    bench.end("x", 1)
    bench.live(3, FAILS)
    assert bench.verdicts()["x"] == ("expired", "exited")
    bench.reload(ALWAYS + KINDS[after])
    bench.live(100, FAILS)
    assert bench.verdicts() == after_a_start(tmp_path, ALWAYS + KINDS[after]).verdicts()


def test_a_worker_that_took_the_name_meanwhile_keeps_it(tmp_path: Path) -> None:
    """The program is slow to end, and what is to follow it feeds already."""
    watchdog = KINDS["watchdog"].replace("expect = true\n", "")
    bench = Reloads(tmp_path, ALWAYS + KINDS["program"])
    bench.manager.slow.add("x")
    bench.reload(ALWAYS + watchdog)
    bench.feed("x")
    bench.end("x")
    assert bench.verdicts()["x"] == ("alive", None)
    bench.live(7, {"x/check": True})
    assert bench.verdicts()["x"] == ("expired", "timeout")


@pytest.mark.parametrize("owner", ["program", "watchdog"])
def test_a_check_that_a_reload_removes_is_nothing_that_a_pattern_fits(tmp_path: Path, owner: str) -> None:
    """Nothing would feed it: it would be an incident without an end."""
    pattern = '[[watchdog]]\nname = "*"\ntimeout = "3s"\n'
    without = KINDS[owner].replace(CHECK, "") + pattern
    bench = Reloads(tmp_path, KINDS[owner] + pattern)
    bench.live(5, {"x/check": True})
    assert bench.verdicts()["x/check"] == ("alive", None)
    bench.reload(without)
    assert "x/check" not in bench.verdicts()
    bench.live(10)
    assert "x/check" not in bench.verdicts()


NIGHTLY = '[[watchdog]]\nname = "nightly"\nexpect = true\ntimeout = "2s"\ngrace = "3s"\n'


@pytest.mark.parametrize("change", ["none", "timeout"])
def test_what_has_ended_well_is_not_expected_by_a_reload(tmp_path: Path, change: str) -> None:
    bench = Reloads(tmp_path, NIGHTLY)
    bench.feed("nightly")
    ends(bench, ALICE, 0)
    assert bench.verdicts() == {}
    bench.reload(NIGHTLY if change == "none" else NIGHTLY.replace("2s", "1s"))
    bench.live(10)
    assert bench.verdicts() == {"nightly": ("waiting, not expected", None)}
    bench.feed("nightly")
    bench.live(10)
    assert bench.verdicts() == {"nightly": ("expired", "timeout")}


@pytest.mark.parametrize("before", ["", NIGHTLY.replace("expect = true\n", "")], ids=["new", "not expected"])
def test_what_a_reload_says_is_expected_is_so_from_then(tmp_path: Path, before: str) -> None:
    bench = Reloads(tmp_path, before)
    bench.live(10)
    bench.reload(NIGHTLY)
    bench.live(2)
    assert bench.verdicts() == {"nightly": ("waiting", None)}
    bench.live(2)
    assert bench.verdicts() == {"nightly": ("expired", "grace")}


@pytest.mark.parametrize("order", ["exact first", "pattern first"])
def test_an_exact_name_counts_wherever_it_stands(tmp_path: Path, order: str) -> None:
    tables = [f'[[watchdog]]\nname = "{name}"\ntimeout = "{s}s"\n' for name, s in (("web-1", 2), ("web-*", 60))]
    bench = Reloads(tmp_path, "".join(tables if order == "exact first" else reversed(tables)))
    for name in ("web-1", "web-2"):
        bench.feed(name)
    bench.live(3)
    assert {name: state for name, (state, _) in bench.verdicts().items()} == {"web-1": "expired", "web-2": "alive"}
