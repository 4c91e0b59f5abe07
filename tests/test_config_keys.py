"""Each key of a config with a value of another kind: one fault, which names the key, on the key's line."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from banken_supervisor.config import examine, example
from banken_supervisor.config.faults import KeyPath, dotted

WRONG = {"no-such-key": {"b": 1}}


def keys(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The path of each key inside a table of the file."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        if isinstance(key, str) and path:
            yield (*path, key)
        yield from keys(inner, (*path, key))


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {inline(each)}" for key, each in value.items()) + "}"
    return "[" + ", ".join(map(inline, value)) + "]" if isinstance(value, list) else json.dumps(value)


def written(tables: dict[str, Any]) -> str:
    """As TOML, one key of a table on each line."""
    lines = []
    for name, value in tables.items():
        for table in value if isinstance(value, list) else [value]:
            lines.append(f"[[{name}]]" if isinstance(value, list) else f"[{name}]")
            lines += [f"{key} = {inline(each)}" for key, each in table.items()]
    return "\n".join(lines)


def test_a_value_of_another_kind_is_one_fault_that_names_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in one table is no second fault of a table that speaks of it."""
    for name in ("HOOK_SECRET", "MAIL_USER", "MAIL_PASSWORD"):
        monkeypatch.setenv(name, "x")
    file = tmp_path / "banken.toml"
    tmp_path.joinpath("team.urls").write_text("json://localhost\n")
    tables = tomllib.loads(re.sub(r"^#(?=\S)", "", example(), flags=re.MULTILINE))
    file.write_text(written(tables))
    assert examine(file, thorough=False)[1] == []
    found = list(keys(tables))
    names = [path for path in found if path[-1] == "name"]
    for path, wrong in (*((path, WRONG) for path in found), *((path, "no-such-key!") for path in names)):
        changed = copy.deepcopy(tables)
        inner: Any = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = wrong
        text = written(changed)
        file.write_text(text)
        _, faults = examine(file, thorough=False)
        line = 1 + text[: text.index("no-such-key")].count("\n")
        table = dotted(path[:2] if path[0] in ("supervisor", "callbacks", "actions", "notify") else path[:3])
        assert faults, path
        for fault in faults:
            assert (fault.key.startswith(table), fault.line) == (True, line), (path, str(fault))


@pytest.mark.parametrize("zone", ["." * 270 + "/x", "..", "a" * 300, "Europe/../UTC", "/etc/passwd", "UTC.", "Ü"])
def test_what_is_no_time_zone_is_told(tmp_path: Path, zone: str) -> None:
    """Whatever the standard library makes of such a name."""
    file = tmp_path / "banken.toml"
    window = {"cron": "0 3 * * *", "for": "1h", "timezone": zone}
    file.write_text(written({"watchdog": [{"name": "w", "timeout": "3s", "maintenance": [window]}]}))
    _, (fault,) = examine(file, thorough=False)
    assert fault.key == "watchdog[0].maintenance[0].timezone"
    assert "no time zone" in fault.text
