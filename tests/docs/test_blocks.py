"""What README and tutorial tell people to type is typed here, by a newcomer with an empty environment."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.blocks import DOCS, ROOT, Block, Newcomer, blocks

pytestmark = pytest.mark.process

README = ROOT / "README.md"
TUTORIAL = DOCS / "tutorial.md"
CHECKS = DOCS / "howto" / "checks.md"
TYPED = ("sh", "console", "python", "toml", "")


@pytest.fixture
def newcomer() -> Iterator[Newcomer]:
    """In a directory whose name leaves room for the path of a socket."""
    with tempfile.TemporaryDirectory(prefix="bkd-") as room:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        somebody = Newcomer(Path(room), port)
        yield somebody
        somebody.leave()


def _installs(page: Path) -> int:
    """How many blocks at the page's beginning install: they need a package index. .ci/run types README's."""
    return {README: 2, TUTORIAL: 1}.get(page, 0)


@pytest.mark.timeout(120)  # of which it takes 20, but on a starved machine
@pytest.mark.parametrize("page", [README, TUTORIAL, CHECKS], ids=lambda page: page.stem)
def test_every_block_does_what_it_says(newcomer: Newcomer, page: Path) -> None:
    """Each block ends well and shows what the page says; nothing is left running."""
    typed = [block for block in blocks(page) if block.language in TYPED]
    for block in typed[_installs(page) :]:
        newcomer.type(block)
    newcomer.interrupt()
    assert newcomer.leave() == []
    for worker in newcomer.home.glob("*/worker.py"):
        assert "3600" not in worker.read_text(), "the hang was taken out"


def test_no_block_is_left_out() -> None:
    """What is not typed is no shell and no Python: a language that is not known here would pass unseen."""
    for page in (README, TUTORIAL):
        assert {block.language for block in blocks(page)} <= {*TYPED, "text"}, page


def test_the_first_blocks_are_those_that_ci_types() -> None:
    """The README's first two are "see it work" and "run the tests"; the tutorial installs as the first one does."""
    see, run = [block.text.splitlines() for block in blocks(README) if block.language == "sh"][:2]
    assert see[-1] == ".venv/bin/banken demo"
    assert "-m pytest" in run[-1]
    first = next(blocks(TUTORIAL))
    assert first.text.splitlines() == see[:-1]


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("$ false\n", "exit code 1"),
        ("$ banken status\n", "exit code 3"),
        ("$ echo this\n", "not shown"),
    ],
)
def test_a_block_that_does_not_work_is_noticed(
    newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch, script: str, fault: str
) -> None:
    """A command that fails, and one that does not show what it should."""
    monkeypatch.setattr("tests.docs.blocks.READY_S", 0.5)
    with pytest.raises(AssertionError, match=fault):
        newcomer.type(Block("console", script, 1, shows=("that",)))


def test_a_terminal_that_is_left_running_is_noticed(newcomer: Newcomer) -> None:
    """What a page starts and does not end."""
    newcomer.type(Block("console", "$ sleep 600\n", 1, terminal=True))
    assert newcomer.leave() == ["sleep 600"]


def test_the_environment_is_empty(newcomer: Newcomer) -> None:
    """Nothing of this process's environment is there, but what a login gives; `python` is the one of the tests."""
    newcomer.type(
        Block("console", "$ env | cut -d= -f1 | sort | tr '\\n' ' '; readlink -f .venv\n", 1, shows=(sys.prefix,))
    )
    with pytest.raises(AssertionError, match="exit code"):
        newcomer.type(Block("console", '$ test -n "$USER$LANG$BANKEN_ADDRESS"\n', 1))
