"""docs/banken.1: made from the commands, and installed with the package."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from banken_supervisor.cli.group import COMMANDS

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def make_man() -> ModuleType:
    """docs/make_man.py, which is no part of a package."""
    found = importlib.util.spec_from_file_location("make_man", DOCS / "make_man.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_page_is_what_the_commands_say(make_man: ModuleType) -> None:
    """Whoever changes a command's words runs the script again."""
    assert (DOCS / "banken.1").read_text() == make_man.page(), "out of date: run `python docs/make_man.py`"


def test_every_command_is_there_and_every_line_is_roff() -> None:
    """No command is left out, and no text is taken for a request."""
    lines = (DOCS / "banken.1").read_text().splitlines()
    assert {f".SS banken {name}".replace("-", "\\-") for name in COMMANDS} <= set(lines)
    assert ".SS banken journal check" in lines
    known = {".TH", ".SH", ".SS", ".B", ".I", ".PP", ".TP", ".nf", ".fi", ".nh", ".ad"}
    for line in lines:
        assert line.startswith('.\\"') or not line.startswith((".", "'")) or line.split()[0] in known, line
        assert line.isascii(), line


@pytest.mark.parametrize(
    ("text", "roff"),
    [
        (".TH is text", "\\&.TH is text"),
        ("it is\n'so", "it is\n\\&'so"),
        ("a --long\\n", "a \\-\\-long\\en"),
    ],
)
def test_text_cannot_become_a_request(make_man: ModuleType, text: str, roff: str) -> None:
    """What roff would take for its own is escaped."""
    assert make_man.quoted(text) == roff
    assert re.search(r"^[.']", make_man.quoted(text), re.MULTILINE) is None
