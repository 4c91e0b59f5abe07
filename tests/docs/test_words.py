"""Names and words: what nothing may be called, and how many words a newcomer has to learn."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.blocks import DOCS, ROOT

BANNED = frozenset([
    "kennel", "annals", "scribe", "letters", "stable", "remedies", "hush", "kept", "roll", "dog", "tally", "crew",
    "lives", "trail", "habits", "keeping", "beside", "glyphs", "asker", "told",
])  # fmt: skip
"""Words that said nothing to a newcomer."""

GLOSSARY_MAX = 40


def _names(file: Path) -> Iterator[tuple[int, str]]:
    """The module's own name, and those of its classes and functions, with their lines."""
    yield 1, file.parent.name if file.stem == "__init__" else file.stem
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name


def banned(root: Path) -> list[str]:
    """``file:line name`` of every module, class and function with a banned name."""
    return [
        f"{file.relative_to(root)}:{line} {name}"
        for file in sorted(root.rglob("*.py"))
        for line, name in _names(file)
        if name.strip("_").lower() in BANNED
    ]


@pytest.mark.parametrize("package", ["client", "supervisor"])
def test_nothing_has_a_banned_name(package: str) -> None:
    """No module, class or function; a leading underscore or a capital makes no difference."""
    assert banned(ROOT / package) == []


def test_a_banned_name_is_found_wherever_it_is(tmp_path: Path) -> None:
    """In a package, a module, a class, a method and a nested function."""
    (tmp_path / "crew").mkdir()
    (tmp_path / "crew" / "__init__.py").touch()
    (tmp_path / "roll.py").touch()
    (tmp_path / "fine.py").write_text(
        "class Kennel:\n    async def _told(self):\n        def hush(): ...\n    stable = rollback = 1\n"
    )
    assert banned(tmp_path) == [
        "crew/__init__.py:1 crew", "fine.py:1 Kennel", "fine.py:2 _told", "fine.py:3 hush", "roll.py:1 roll",
    ]  # fmt: skip


def test_the_glossary_is_short() -> None:
    """At most 40 words, each once, each with its meaning."""
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^(\w[\w ]*)\n: \S", text, re.MULTILINE)
    assert 20 <= len(words) <= GLOSSARY_MAX
    assert len(set(words)) == len(words) == text.count("\n: ")
