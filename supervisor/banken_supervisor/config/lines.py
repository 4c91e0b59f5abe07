"""On which line of a TOML text each key stands.

tomllib gives no positions, and neither does tomlkit (looked at 0.15). This reads the same text once more, and only
when there is a fault to place. The text was accepted by tomllib before, so only what is needed to find keys and the
ends of values is looked at.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from banken_supervisor.config.faults import FAULTS_MAX, Fault, KeyPath, Problem, dotted

DEPTH_MAX = 64
"""Keys deeper than this, and"""

ELEMENTS_MAX = 10_000
"""elements of one array beyond this, have no line of their own: faults name the line of what holds them."""

_blank = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_bare = re.compile(r"[A-Za-z0-9_-]+")
_string = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_scalar = re.compile(r"[^,\]}#\n]*")


class Lines:
    """The lines of all keys of ``text``, which must be valid TOML."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._starts = [0, *(found.end() for found in re.finditer("\n", self._text))]
        self._at: dict[KeyPath, int] = {}
        self._arrays: dict[KeyPath, int] = {}
        """arrays of tables: the place of the last table"""
        with suppress(RecursionError, IndexError):  # then what was found before must do
            self._document()

    def of(self, path: KeyPath) -> int | None:
        """The line of the key, or of the nearest one above it; None: not even its table is there."""
        ends = (path[:end] for end in range(len(path), 0, -1))
        return next((self._at[each] for each in ends if each in self._at), None)

    def _document(self) -> None:
        place, table = self._skip(0), KeyPath()
        while place < len(self._text):
            if self._text.startswith("[[", place):
                keys, place = self._keys(place + 2)
                table = (*self._enter(keys[:-1]), keys[-1])
                self._arrays[table] = self._arrays.get(table, -1) + 1
                self._note(table, place)
                table += (self._arrays[table],)
                self._note(table, place)
                place += 2
            elif self._text[place] == "[":
                keys, place = self._keys(place + 1)
                table = self._enter(keys)
                self._note_all(table, len(table), place)
                place += 1
            else:
                place = self._pair(table, place)
            place = self._skip(place)

    def _enter(self, keys: KeyPath) -> KeyPath:
        """The path that a header means: where a key is an array of tables, its last table."""
        path: KeyPath = ()
        for key in keys[:DEPTH_MAX]:
            path += (key,)
            if path in self._arrays:
                path += (self._arrays[path],)
        return path

    def _pair(self, table: KeyPath, place: int) -> int:
        keys, after = self._keys(place)
        path = (table + keys)[: DEPTH_MAX + 1]
        self._note_all(path, len(path) - len(table), place)
        return self._value(path, self._skip(after + 1))

    def _keys(self, place: int) -> tuple[KeyPath, int]:
        """A dotted key, and the place of what follows it: ``=`` or ``]``."""
        keys: list[str] = []
        while True:
            place = self._skip(place)
            found = _bare.match(self._text, place) or _string.match(self._text, place)
            if found is None:
                raise IndexError(place)
            key = found.group()
            keys.append(tomllib.loads(f"key = {key}")["key"] if key[0] in "\"'" else key)
            place = self._skip(found.end())
            if self._text[place] != ".":
                return tuple(keys), place
            place += 1

    def _value(self, path: KeyPath, place: int) -> int:
        """Note what lies in the value; the place behind it."""
        closing = {"[": "]", "{": "}"}.get(self._text[place])
        if closing is None:
            found = _string.match(self._text, place) or _scalar.match(self._text, place)
            assert found is not None  # the scalar's pattern matches even nothing
            return found.end()
        place, index = self._skip(place + 1), 0
        while self._text[place] != closing:
            if closing == "}":
                place = self._pair(path, place)
            else:
                if index < ELEMENTS_MAX:
                    self._note((*path, index), place)
                place = self._value((*path, index), place)
                index += 1
            place = self._skip(place)
            if self._text[place] == ",":
                place = self._skip(place + 1)
        return place + 1

    def _skip(self, place: int) -> int:
        found = _blank.match(self._text, place)
        assert found is not None
        return found.end()

    def _note_all(self, path: KeyPath, count: int, place: int) -> None:
        """Note the last ``count`` parts of the path: ``a.b = 1`` makes ``a`` as well as ``a.b``."""
        for end in range(max(1, len(path) - count + 1), len(path) + 1):
            self._note(path[:end], place)

    def _note(self, path: KeyPath, place: int) -> None:
        if len(path) <= DEPTH_MAX:
            self._at.setdefault(path, bisect_right(self._starts, place))


def placed(source: Path, text: str, problems: Iterable[Problem]) -> list[Fault]:
    """Faults in the order of the file, each once, at most FAULTS_MAX of them and a line that counts the rest."""
    unique = list(dict.fromkeys(problems))
    if not unique:
        return []
    lines = Lines(text)
    faults = [
        Fault(str(source), problem.line or lines.of(problem.path), dotted(problem.path), problem.text)
        for problem in unique
    ]
    faults.sort(key=lambda fault: fault.line or 0)
    if len(faults) > FAULTS_MAX:
        more = len(faults) - FAULTS_MAX
        faults[FAULTS_MAX:] = [Fault(str(source), None, "", f"and {more:,} faults more")]
    return faults
