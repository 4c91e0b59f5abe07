"""``access.toml``: which keys may reach a supervisor over tcp, and what each may do.

[[key]]
name = "trainer"
public = "…"
feed = ["trainer", "trainer-*"]
control = "none"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from banken.keys import check_key
from banken_supervisor.actions.options import Table, fault_text, kind
from banken_supervisor.config import reading
from banken_supervisor.config.faults import ConfigFaults, Fault, Problem
from banken_supervisor.config.fields import Pattern
from banken_supervisor.config.lines import placed
from banken_supervisor.config.names import matches
from banken_supervisor.files.trusted_files import doubt_about
from banken_supervisor.keys.names import KeyName
from banken_supervisor.text.quoting import kind_of, unknown_key

FILE = "access.toml"

KEYS_MAX = 10_000
"""Keys in one file."""

PATTERNS_MAX = 100
"""Patterns of one key."""


class Control(StrEnum):
    """What a key may ask of the supervisor."""

    NONE = "none"
    READ = "read"
    FULL = "full"
    MEMBER = "member"
    """another member of the cluster; never by the file"""


IN_FILE = (Control.NONE, Control.READ, Control.FULL)


class Access(NamedTuple):
    """What one key may do."""

    name: str
    public: bytes
    feed: tuple[str, ...]
    control: Control

    def may_feed(self, name: str) -> bool:
        """Whether it may feed the watchdog of this name, and hear of it."""
        return any(matches(name, each) for each in self.feed)


class KeyTable(Table):
    """One [[key]]."""

    name: KeyName
    public: Annotated[str, *kind(lambda value: check_key(value).decode(), {"type": "string"})]
    feed: list[Pattern] = Field([], max_length=PATTERNS_MAX)
    control: str = Control.NONE


_TABLE = TypeAdapter(KeyTable)


def read(path: Path) -> Mapping[bytes, Access]:
    """Who may do what, by public key. ConfigFaults has all that is wrong with the file."""
    found, faults = examine(path)
    if faults:
        raise ConfigFaults(faults)
    return found


def examine(path: Path) -> tuple[dict[bytes, Access], list[Fault]]:
    """(who may do what, by public key; all that is wrong with the file)."""
    if (why := doubt_about(path)) is not None:
        return {}, placed(path, "", [Problem((), f"is not used: {why}, and it says who may come in")])
    try:
        text = reading.read(path)
        data = reading.parse(text)
    except reading.Unreadable as fault:
        return {}, placed(path, "", [Problem((), *fault.args)])
    found: dict[bytes, Access] = {}
    problems = list(_check(data, found))
    return found, placed(path, text, problems)


def _check(data: Mapping[str, Any], found: dict[bytes, Access]) -> Iterator[Problem]:
    for key in data:
        if key != "key":
            yield Problem((key,), unknown_key(key, ["key"]))
    tables = data.get("key", [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        yield Problem(("key",), f"must be an array of tables: write [[key]], not {kind_of(tables)}")
        return
    if len(tables) > KEYS_MAX:
        yield Problem(("key",), f"{len(tables):,} keys; at most {KEYS_MAX:,} are allowed")
        return
    names: dict[str, int] = {}
    for place, table in enumerate(tables):
        try:
            made = _TABLE.validate_python(table)
        except ValidationError as faults:
            for each in faults.errors(include_url=False):
                text = fault_text(each, lambda: list(KeyTable.model_fields))
                yield Problem(("key", place, *each["loc"]), text)
            continue
        if made.control not in IN_FILE:
            allowed = ", ".join(IN_FILE)
            yield Problem(("key", place, "control"), f"{made.control!r} is not allowed; allowed: {allowed}")
            continue
        public = made.public.encode()
        if made.name in names:
            yield Problem(("key", place, "name"), f"key {names[made.name] + 1} of this file has this name already")
        elif public in found:
            yield Problem(
                ("key", place, "public"), f"{found[public].name!r} is this key already; one key has one name"
            )
        else:
            names[made.name] = place
            found[public] = Access(made.name, public, tuple(made.feed), Control(made.control))
