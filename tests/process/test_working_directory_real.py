"""`banken run` where somebody has put files that have the names of modules, or where then nothing is any more."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from process.kit import START_S, until
from process.run_kit import Running, running, table

pytestmark = pytest.mark.process

NAMES = ("fastapi", "uvicorn", "typing", "queue", "json", "msgpack", "sqlite3")
"""Of modules that one or the other process of ours imports after it has begun."""

CONFIG = """
[[watchdog]]
name = "w"
timeout = "100ms"
expect = true
grace = "100ms"
check = { exec = ["true"], every = "1s" }
ladder = [{ do = "callback", callback = "ring" }]

[callbacks]
ring = "bk_ring:ring"
"""


def test_none_of_its_processes_runs_what_lies_in_the_working_directory() -> None:
    """Journal, page, checks and callbacks; a callback's module beside the config is found all the same."""
    with tempfile.TemporaryDirectory(prefix="bkr-") as name:
        place = Path(name)
        for each in NAMES:
            (place / f"{each}.py").write_text(f"open({str(place / 'planted')!r}, 'a').write({each!r} + ' ')\n")
        (place / "bk_ring.py").write_text(f"def ring():\n    open({str(place / 'told')!r}, 'a').write('rung')\n")
        one = Running(place, CONFIG)
        try:
            # As the script `banken` starts it: the working directory is no place of modules for itself.
            own = f'shift 4; exec {sys.executable} -P -m banken_supervisor run "$@"'
            one.run("--web", "127.0.0.1:0", under=("sh", "-c", own, "sh"))
            until(one.lines, "the callback has run", START_S)
            until(lambda: "banken serves" in one.log.read_text(), "the page is served", START_S)
            until(lambda: one.home.ask("checks")["rows"][0]["results"], "a check has run", START_S)
        finally:
            one.close()
        assert not (place / "planted").exists(), (place / "planted").read_text()


def test_a_directory_that_is_removed_takes_nothing_with_it() -> None:
    """It was a release that a newer one has replaced: programs are started again, and their logs are written."""
    config = table("p", ["sh", "-c", "echo up; sleep 1000"], env_file="@PLACE@/env", cwd="/")
    with running("") as one:  # makes the place
        one.stop()
        (one.place / "env").touch()
        (one.place / "gone").mkdir()
        (one.place / "gone" / "banken.toml").write_text(config.replace("@PLACE@", str(one.place)))
        one.run(under=("sh", "-c", 'cd gone; exec "$@"', "sh"))
        before = one.up("p")
        (log,) = until(lambda: list(one.place.rglob("logs/p.log")), "it has a log", START_S)
        until(lambda: log.read_text() == "up\n", "it has begun", START_S)
        shutil.rmtree(one.place / "gone")
        one.ask("restart", "p")
        until(lambda: log.read_text() == "up\nup\n", "both have written", START_S)
        assert one.up("p") != before
        one.home.ask("program", what="stop", name="p")
