"""The page's files: what others wrote is what they published, and everything that the page asks for is there."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from banken_supervisor.cli import places, status_table
from banken_supervisor.cli.top import text
from banken_supervisor.engine.states import State
from banken_supervisor.programs.engine.states import ProgramState
from banken_supervisor.web import badges
from banken_supervisor.web.app import STATIC
from web.kit import Web

SYSTEM = Path(__file__).parents[1] / "system"
OWN = [path for path in STATIC.rglob("*") if path.is_file() and "vendor" not in path.parts]


@pytest.mark.parametrize("vendor", [STATIC / "vendor", SYSTEM / "vendor"], ids=["page", "tests"])
def test_what_is_vendored_is_what_was_published(vendor: Path) -> None:
    """Each file has its checksum, and a licence is with it; nothing is there that has none."""
    lines = [line.split("  ", 1) for line in (vendor / "CHECKSUMS").read_text().splitlines()]
    there = {
        str(path.relative_to(vendor)) for path in vendor.rglob("*") if path.is_file() and path.parent != vendor
    }
    assert {name for _, name in lines} == there
    for wanted, name in lines:
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == wanted, name
    for package in (path for path in vendor.iterdir() if path.is_dir()):
        assert (package / "LICENSE").is_file(), package
        assert (package / "VERSION").is_file(), package


def test_the_page_has_everything_it_asks_for(web: Web) -> None:
    """Every path to a file of ours in the page, its scripts and its styles is served, with a type browsers take."""
    asked = {"/static/app.css"}
    for path in OWN:
        text = path.read_text()
        asked |= set(re.findall(r"""["'(](/static/[\w./-]+)""", text))
        asked |= {
            "/static/" + str((path.parent / found).resolve().relative_to(STATIC.resolve()))
            for found in re.findall(r"""(?:from|import\()\s*["'](\.{1,2}/[\w./-]+)""", text)
        }
    assert len(asked) > 15
    types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for each in sorted(asked):
        answer = web.get(each)
        assert answer.status == 200, each
        assert answer.headers["content-type"].split(";")[0] == types[Path(each).suffix], each


def test_nothing_in_the_page_needs_what_the_policy_forbids() -> None:
    """No script or style in the document, no handler as an attribute, no text that becomes HTML, no other host."""
    index = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=", index)
    for path in OWN:
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), (
            path
        )
        hosts = set(re.findall(r"https?://[^\s\"'`)/]+", text)) - {"http://www.w3.org"}
        assert not hosts, (path, hosts)


def test_no_file_is_long() -> None:
    """Nobody has to read more than 400 lines at once."""
    for path in OWN:
        assert len(path.read_text().splitlines()) <= 400, path


def test_states_are_the_same_everywhere_and_stand_in_one_order() -> None:
    """The worst first, on the page as in the terminal; each has a colour and an icon, none is unknown to one."""
    icons = set(re.findall(r'symbol id="([\w-]+)"', (STATIC / "icons.svg").read_text()))
    shown = {state.value for state in State} - {"released"} | {"idle", "running"}
    assert shown == set(places.WORST_FIRST) == status_table.COLOURS.keys() == badges.COLOURS.keys()
    assert list(text.STATES) == _keys("store.js") == list(places.WORST_FIRST)
    assert shown <= icons
    programs = list(places.PROGRAMS_WORST_FIRST)
    assert {state.value for state in ProgramState} == set(programs)
    assert _keys("programs.js") == list(text.PROGRAM_STATES) == list(status_table.PROGRAM_COLOURS) == programs


def _keys(file: str) -> list[str]:
    """The keys of the table STATES in a script of the page, in order."""
    found = re.search(r"const STATES = \{(.*?)\n\};", (STATIC / "js" / file).read_text(), re.DOTALL)
    assert found is not None
    return re.findall(r'^  "?([\w-]+)"?:', found[1], re.MULTILINE)
