"""What the reference takes from the code: a comment ``<!-- generated: NAME -->`` becomes what NAME makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
from sphinx.util import logging

from banken import Cause
from banken_supervisor.cli.group import banken
from banken_supervisor.cli.top.help import KEYS, MEANINGS
from banken_supervisor.config.json_schema import schema
from banken_supervisor.engine.effects import EventType
from banken_supervisor.web.metrics import METRICS

_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)

_COMMON = ("do", "after", "level", "repeat", "budget", "backoff", "first")
"""Keys of every step of a ladder."""

_COMMON_OF_CHECKS = ("every", "limit", "fails")

WIDTH = 100
"""Characters of a line of help."""

ENUM_MAX = 5
"""Choices that are all shown."""

_INTERNAL = ("banken_supervisor.actions",)
"""Modules of which only the members are for users."""

_EVENTS = re.compile(r"^\| ((?:`[a-z-]+`(?:, )?)+) \|", re.MULTILINE)
"""The first column of the tables of events and causes."""

_UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def insert(app: Any, name: str, source: list[str]) -> None:
    """Sphinx's event ``source-read``. A table of events that lacks one, or has one too many, is a warning."""
    source[0] = _MARK.sub(lambda found: MAKERS[found[1]](), source[0])
    if name == "events":
        listed = {each for row in _EVENTS.findall(source[0]) for each in re.findall(r"`([a-z-]+)`", row)}
        wrong = listed ^ {*EventType, *Cause}
        if wrong:
            logging.getLogger(__name__).warning("events.md and the code differ in: %s", ", ".join(sorted(wrong)))


def docstring(app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Sphinx's event ``autodoc-process-docstring``: an indented paragraph is code, and a ``*`` is a ``*``."""
    if not name.startswith("banken"):
        return
    if name in _INTERNAL or (lines[:1] and lines[0].startswith("Alias for field number")):
        lines.clear()
    made: list[str] = []
    inside = False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not inside and not (made and made[-1]):
            made += ["::", ""]
        inside = indented or (inside and not line)
        made.append(line if indented else line.replace("*", r"\*"))
    lines[:] = made


def signature(app: Any, what: str, name: str, found: Any, options: Any, given: str, returns: str) -> Any:
    """Sphinx's event ``autodoc-process-signature``: without private parameters."""
    return None if given is None else (re.sub(r", _\w+: [^,()]+(?=[,)])", "", given), returns)


def config() -> str:
    """One section for each table of banken.toml."""
    found = schema()
    tables = found["$defs"]
    lines: list[str] = []
    for name, node in found["properties"].items():
        lines += _section(_heading(name, node), node.get("description", ""), _reference(node, tables))
    lines += ["## Tables within tables", ""]
    for name, title in _NESTED.items():
        lines += _section(title, "", tables[name], level="###")
    steps = {each: table for each, table in tables.items() if each.endswith("Step") and each != "OwnStep"}
    lines += ["## Checks", "", "Every check has these keys:", ""]
    checks = [table for table in tables.values() if set(_COMMON_OF_CHECKS) <= table["properties"].keys()]
    lines += _rows({key: checks[0]["properties"][key] for key in _COMMON_OF_CHECKS}, ())
    for table in checks:
        own = {key: node for key, node in table["properties"].items() if key not in _COMMON_OF_CHECKS}
        lines += [f"### {next(iter(own))} = …", "", table["description"], "", *_rows(own, table["required"])]
    lines += ["## Steps of a ladder", "", "Every step has these keys:", ""]
    first = next(iter(steps.values()))
    lines += _rows({key: first["properties"][key] for key in _COMMON if key != "do"}, ())
    for table in steps.values():
        do = table["properties"]["do"]["const"]
        own = {key: node for key, node in table["properties"].items() if key not in _COMMON}
        lines += [f'### do = "{do}"', "", table["description"], ""]
        lines += _rows(own, table["required"]) if own else ["It has no keys of its own.", ""]
    lines += ["### do = a name of [actions]", "", tables["OwnStep"]["description"], ""]
    return "\n".join(lines)


_NESTED = {
    "DefaultsTable": "defaults of [supervisor]",
    "RetentionTable": "retention of [supervisor]",
    "FoldTable": "fold of [supervisor]",
    "LimitsTable": "limits of [supervisor]",
    "DeadmanTable": "deadman of [supervisor]",
    "AutoTable": "auto of a watchdog",
    "ReadyTable": "ready of a program",
    "UsesTable": "uses of a check",
    "HostTable": "host of a check",
    "WindowTable": "maintenance of a watchdog",
}


def _heading(name: str, node: Mapping[str, Any]) -> str:
    if node.get("type") == "array":
        return f"[[{name}]]"
    return f"[{name}.NAME]" if name == "notify" else f"[{name}]"


def _reference(node: Mapping[str, Any], tables: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The table that a key of the file holds, once or many times; None: it is a table of texts."""
    inner = node.get("items") or next(iter(node.get("patternProperties", {}).values()), node)
    at = inner.get("$ref")
    return None if at is None else tables[at.rpartition("/")[2]]


def _section(title: str, told: str, table: Mapping[str, Any] | None, level: str = "##") -> Iterator[str]:
    yield from (f"{level} {title}", "")
    if told:
        yield from (_plain(told), "")
    if table is not None:
        yield from (table["description"], "")
        yield from _rows(table["properties"], table.get("required", ()))


def _rows(keys: Mapping[str, Any], required: Any) -> list[str]:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, node in keys.items():
        default = "required" if key in required else _default(node)
        lines.append(f"| `{key}` | {_type(node)} | {default} | {_plain(_meaning(node))} |")
    return [*lines, ""]


def _meaning(node: Mapping[str, Any]) -> str:
    """The key's own description, else that of the table that it holds."""
    told = node.get("description")
    if told is None and "$ref" in node:
        told = schema()["$defs"][node["$ref"].rpartition("/")[2]]["description"]
    return told or ""


def _default(node: Mapping[str, Any]) -> str:
    value = node.get("default")
    if value is None or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    told = _type(node)
    if told.startswith("duration"):
        unit, seconds = next((each for each in _UNITS if value >= each[1] and value % each[1] == 0), ("s", 1))
        return f'`"{value / seconds:g}{unit}"`'
    if told == "size":
        return f'`"{value >> 20}MiB"`'
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def _type(node: Mapping[str, Any]) -> str:
    if "$ref" in node:
        return "step" if node["$ref"].endswith("Step") else "table"
    if "const" in node:
        return f"`{str(node['const']).lower()}`"
    if "enum" in node:
        shown = node["enum"] if len(node["enum"]) <= ENUM_MAX else node["enum"][:2]
        texts = ", ".join(f'`"{each}"`' for each in shown)
        return texts if shown is node["enum"] else f"{texts} …"
    if "anyOf" in node or "oneOf" in node:
        choices = node.get("anyOf") or node["oneOf"]
        patterns = [each.get("pattern", "") for each in choices]
        if any("ms|s|m|h|d" in each for each in patterns):
            learnt = any(each.get("const") == "auto" for each in choices)
            return 'duration, or `"auto"`' if learnt else "duration"
        if any("B" in each for each in patterns):
            return "size"
        return " or ".join(dict.fromkeys(_type(each) for each in choices))
    if node.get("type") == "array":
        return f"list of {_type(node['items'])}"
    words = {"string": "text", "object": "table", "boolean": "true or false", "integer": "whole number"}
    return words.get(node["type"], node["type"])


def _plain(text: str) -> str:
    """A description as Markdown that shows it as it is."""
    return re.sub(r"([|*\[\]<>$])", r"\\\1", text)


def metrics() -> str:
    """The table of web/metrics.py."""
    lines = ["| name | type | labels | meaning |", "|---|---|---|---|"]
    for each in METRICS:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        lines.append(f"| `{each.full_name}` | {each.kind} | {labels} | {_plain(each.meaning)} |")
    return "\n".join(lines)


def commands() -> str:
    """The help of each command, as ``--help`` prints it."""
    return "\n".join(_command(banken, "banken"))


def _command(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path, max_content_width=WIDTH, terminal_width=WIDTH)
    yield from (f"## {path}", "", "```text", command.get_help(context), "```", "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, f"{path} lists {name}, which there is not"
            yield from _command(below, f"{path} {name}")


def top() -> str:
    """The keys, columns and states that the help page of ``banken top`` explains."""
    keys = [f"| `{key}` | {_plain(meaning)} |" for key, meaning in KEYS]
    words = [f"| {word} | {_plain(meaning)} |" for word, meaning in MEANINGS]
    return "\n".join(["| key | |", "|---|---|", *keys, "", "| column, state | |", "|---|---|", *words])


MAKERS: dict[str, Callable[[], str]] = {"commands": commands, "config": config, "metrics": metrics, "top": top}
