"""A config file of any content: a config, or faults that each name their key and line; the same each time."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from banken_supervisor.config import examine, example
from banken_supervisor.config.faults import FAULTS_MAX
from banken_supervisor.config.lines import DEPTH_MAX, Lines
from banken_supervisor.config.reading import Unreadable, decode, parse
from fuzz.mutation import damaged
from fuzz.targets import Own, directory

EDGES: list[Any] = [
    "", "0s", "1ms", "auto", "30s", "-5s", "1" * 400, "1e999d", "*", "a[", "${NOT_SET}", "$${x}", "/etc/passwd",
    "/dev/zero", "\x1b[31m", "\u202e", "犬", 0, 1, -1, 2**63, 10**80, 0.0, 1e308, float("inf"), float("nan"), True,
    [], [[]], {}, {"a": {}}, ["sh", "-c", "x"], [{"do": "log"}], "SIGKILL", "SIGSEGV", "* * * * *", "0 0 31 2 *",
    "Europe/Berlin", "{i}", "{name}", "module:function", "nobody",
]  # fmt: skip
TEXT_MAX = 4_000
"""Characters of a fault."""

_switched_off = re.compile(r"^#(?=\S)", re.MULTILINE)
_bare = re.compile(r"[A-Za-z0-9_-]+")


class ConfigFile(Own):
    """The bytes of a file."""

    SECONDS = 2.0
    QUICK = 120

    def __init__(self) -> None:
        super().__init__()
        self._place = directory()
        self._path = Path(self._place.name, "banken.toml")
        self._text = _switched_off.sub("", example())
        self._tables = tomllib.loads(self._text)

    def fresh(self, chance: Random) -> bytes:
        if chance.random() < 0.2:
            return damaged(chance, self._text.encode())
        made: dict[str, Any] = {}
        for key in chance.sample(list(self._tables), chance.randint(1, 4)):
            value = self._tables[key]
            if isinstance(value, list):
                value = [_some(chance, chance.choice(value)) for _ in range(chance.randint(1, 3))]
            else:
                value = _some(chance, value)
            made[key] = value
        text = "\n".join(_written(key, value) for key, value in made.items())
        return damaged(chance, text.encode()) if chance.random() < 0.2 else text.encode()

    def check(self, data: bytes) -> None:
        self._path.write_bytes(data)
        config, faults = examine(self._path, thorough=False)
        lines = data.count(b"\n") + 2
        assert len(faults) <= FAULTS_MAX + 1
        for fault in faults:
            assert fault.line is None or 1 <= fault.line <= lines, fault
            assert len(fault.text) <= TEXT_MAX, fault
            assert str(fault).isprintable(), fault
            assert fault.key or config is None or fault.text.endswith("faults more"), fault
        assert config is not None or faults
        again = examine(self._path, thorough=False)
        assert repr(again) == repr((config, faults)), "the same each time"  # an option of an own action may be nan
        self._check_lines(data)

    def close(self) -> None:
        self._place.cleanup()

    def _check_lines(self, data: bytes) -> None:
        """Each key is on the line that is named for it."""
        try:
            text = decode(data)
            tables = parse(text)
        except Unreadable:
            return
        rows, lines = text.replace("\r\n", "\n").split("\n"), Lines(text)
        for path in _keys(tables):
            line = lines.of(path)
            assert line is not None, path
            key = path[-1]
            assert not _bare.fullmatch(str(key)) or key in rows[line - 1] or "\\" in rows[line - 1], (path, line)


def _some(chance: Random, table: dict[str, Any]) -> dict[str, Any]:
    """Some keys of a table, some of them with another value."""
    kept = {key: value for key, value in table.items() if chance.random() < 0.7}
    for _ in range(chance.choice((0, 1, 1, 2))):
        if kept:
            key = chance.choice(list(kept))
            inner = kept[key]
            if isinstance(inner, list) and inner and isinstance(inner[0], dict) and chance.random() < 0.7:
                place = chance.randrange(len(inner))
                kept[key] = [*inner[:place], _some(chance, inner[place]), *inner[place + 1 :]]
            else:
                kept[key] = chance.choice(EDGES)
    if chance.random() < 0.1:
        kept[chance.choice(("nmae", "timeuot", "do", "", "a.b"))] = chance.choice(EDGES)
    return kept


def _written(key: str, value: Any) -> str:
    """A table, or an array of them, as TOML; what stands below the tables' keys is written inline."""
    if isinstance(value, list):
        return "\n".join(f"[[{key}]]\n{_pairs(each)}" for each in value)
    return f"[{key}]\n{_pairs(value)}"


def _pairs(table: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {_inline(value)}\n" for key, value in table.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return str(value) if isinstance(value, float) else json.dumps(value)


def _keys(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each key."""
    if len(path) >= DEPTH_MAX - 1:
        return
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        if isinstance(key, str):
            yield (*path, key)
        yield from _keys(inner, (*path, key))
