"""The kinds of values that banken.toml has beside texts and numbers: each a check, and a pattern for editors.

Each check takes what tomllib gave and returns what the core takes, or raises ``ValueError`` with a sentence that
says what was wrong and what is allowed. Each has one positional argument: a second one pydantic would take for its
own.
"""

from __future__ import annotations

import copy
import os
import re
import shlex
import signal
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from banken import address
from banken.errors import Refused
from banken.protocol.limits import NAME_MAX, NAME_PATTERN, check_name, check_seconds
from banken_supervisor.config.faults import quoted
from banken_supervisor.engine.ladder import Backoff, Budget
from banken_supervisor.text.durations import ALLOWED, format_s, parse

TEXT_MAX = 4096
"""Longest text in a config file where nothing shorter is said, characters."""

ARGUMENTS_MAX = 1000
"""Words of a program's command."""

PAGE_MAX = 1000
"""Characters of the address of a page."""

COUNT_MAX = 1_000_000
"""Most runs of a budget."""

_UNIT = r"(?:\d+(?:\.\d+)?|\.\d+)\s*(?:ms|s|m|h|d)"
DURATION_PATTERN = rf"^\s*(?:(?:\d+(?:\.\d*)?|\.\d+)|(?:{_UNIT}\s*)+)\s*$"
SIZE_UNITS = {"": 1, "B": 1, "kB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}
SIZE_ALLOWED = "a number of bytes, or a number with kB, KiB, MB, MiB, GB or GiB, such as 10MiB"
_size = re.compile(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]{0,3})\s*", re.ASCII)
_budget = re.compile(r"\s*(\d{1,9})\s+per\s+(\S.{0,60})", re.ASCII)
_backoff = re.compile(r"\s*(.{1,60}?)\s*\.\.\s*(.{1,60}?)\s*", re.ASCII)
PATTERN_PATTERN = r"[A-Za-z0-9_.:@/+\-*?\[\]!]+"
_pattern = re.compile(PATTERN_PATTERN)
_target = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
TARGET_PATTERN = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
_shell = re.compile(r"\||\|\||&|&&|;|\d*[<>]+(&\d+|\S*)|&>\S*")

_visible = re.compile(r"[!-~]+")

SIGNALS = tuple(sorted(each.name for each in signal.Signals if not each.name.startswith("SIGRT")))


def is_pattern(name: str) -> bool:
    """Whether ``name`` stands for many names, as in a shell."""
    return any(c in name for c in "*?[")


def text(value: object, *, longest: int = TEXT_MAX, what: str = "a text") -> str:
    """``value`` if it is a text of 1 to ``longest`` characters that an operating system takes."""
    if not isinstance(value, str):
        raise ValueError(f"must be {what}, not {told(value)}")
    if not value.strip():
        raise ValueError(f"must be {what}, and is empty")
    if len(value) > longest:
        raise ValueError(f"has {len(value):,} characters; at most {longest:,} are allowed")
    if "\0" in value:
        raise ValueError("holds a NUL character, which no system call takes")
    return value


def told(value: object) -> str:
    """What kind of thing ``value`` is, in the words of TOML."""
    for kind, word in _KINDS:
        if isinstance(value, kind):
            return f"{word} ({quoted(value)})" if kind in (bool, int, float) else word
    return "a date or time"


_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "the number"),
    (float, "the number"),
    (str, "a text"),
    (list, "an array"),
    (dict, "a table"),
)


def duration(value: object, *, zero: bool = False) -> float:
    """Seconds, of a number of seconds or a text such as ``2m30s``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"must be {ALLOWED}, not {told(value)}")
    if isinstance(value, str) and len(value) > 100:
        raise ValueError(f"{quoted(value)} is no duration; allowed is {ALLOWED}")
    try:
        if isinstance(value, str):
            return parse(value, "it", zero=zero)
        # A number of thousands of digits need not be written out to be refused.
        huge = isinstance(value, int) and value.bit_length() > 256
        return check_seconds(float("inf") if huge else value, "it", zero=zero)
    except Refused as fault:
        said = str(fault)
        if said.startswith("it="):  # the number lies outside the limits
            limits = said.partition("allowed: ")[2]
            raise ValueError(f"{quoted(value)} is not allowed; allowed: {limits}") from None
        raise ValueError(f"{quoted(value)} is no duration; allowed is {ALLOWED}") from None


def duration_or_zero(value: object) -> float:
    """As ``duration``, and 0 as well."""
    return duration(value, zero=True)


def timeout(value: object) -> float | str:
    """A duration, or ``"auto"``."""
    if value == "auto":
        return "auto"
    try:
        return duration(value)
    except ValueError as fault:
        raise ValueError(f'{fault}; or "auto"') from None


def size(value: object, *, most: int = 10**12, shown: str = "1000 GB") -> int:
    """Bytes, of a number or a text such as ``10MiB``; from 1 kB to ``most``, which people know as ``shown``."""
    if isinstance(value, str):
        found = _size.fullmatch(value)
        unit = next((u for u in SIZE_UNITS if found is not None and u.lower() == found.group(2).lower()), None)
        if found is None or unit is None:
            raise ValueError(f"{quoted(value)} is no size; allowed is {SIZE_ALLOWED}")
        number = int(float(found.group(1)) * SIZE_UNITS[unit])
    elif isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be {SIZE_ALLOWED}, not {told(value)}")
    else:
        number = value
    if not 1000 <= number <= most:
        raise ValueError(f"{quoted(value)} is not allowed; allowed: 1 kB to {shown}")
    return number


def budget(value: object) -> Budget:
    """``"3 per 10m"``."""
    allowed = 'allowed is a count and a duration, such as "3 per 10m"'
    found = _budget.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{quoted(value) if isinstance(value, str) else told(value)} is no budget; {allowed}")
    count = int(found.group(1))
    if not 1 <= count <= COUNT_MAX:
        raise ValueError(f"a count of {count} is not allowed; allowed: 1 to {COUNT_MAX:,}")
    try:
        return Budget(count, duration(found.group(2)))
    except ValueError as fault:
        raise ValueError(f"in {quoted(value)}: {fault}") from None


def backoff(value: object) -> Backoff:
    """``"1s..60s"``."""
    allowed = 'allowed are two durations, such as "1s..60s"'
    found = _backoff.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{quoted(value) if isinstance(value, str) else told(value)} is no backoff; {allowed}")
    try:
        made = Backoff(duration(found.group(1)), duration(found.group(2)))
    except ValueError as fault:
        raise ValueError(f"in {quoted(value)}: {fault}") from None
    if made.least > made.most:
        raise ValueError(f"{quoted(value)} begins with more than it ends with; {allowed}")
    return made


def name(value: object) -> str:
    """A watchdog's name."""
    try:
        return check_name(text(value, what="a name"))
    except Refused as fault:
        raise ValueError(str(fault).replace("is no name for a watchdog", "is no name")) from None


def pattern(value: object) -> str:
    """A name, or a shell pattern that some name can match."""
    given = text(value, what="a name or a pattern such as worker-*")
    if not is_pattern(given):
        return name(given)
    if not _pattern.fullmatch(given) or len(given) > NAME_MAX:
        raise ValueError(
            f"{quoted(given)} matches no name: 1 to {NAME_MAX} of the characters A-Z a-z 0-9 _ . : @ / + - and, "
            "for a pattern, * ? [ ] ! are allowed"
        )
    return given


def program_name(value: object) -> str:
    """A name in which ``{i}`` may stand for the number of the process."""
    given = text(value, what="a name")
    try:
        name(given.replace("{i}", "0"))
    except ValueError as fault:
        raise ValueError(f"{fault}; {{i}} stands for the number of the process") from None
    return given


def signal_name(value: object) -> str:
    """``"SIGTERM"``; ``"TERM"`` means the same."""
    given = text(value, longest=32, what="a signal's name")
    full = given.upper() if given.upper().startswith("SIG") else "SIG" + given.upper()
    if full not in SIGNALS:
        raise ValueError(f"{quoted(given)} is no signal; allowed: {', '.join(SIGNALS)}")
    return full


def command(value: object, *, words_max: int = ARGUMENTS_MAX) -> list[str]:
    """argv, of a list or of one text that is split as a shell would, without running one."""
    allowed = 'allowed is a list such as ["python3", "work.py"], or the same in one text'
    if isinstance(value, str):
        given = text(value, longest=64 * 1024, what="a command")
        try:
            value = shlex.split(given)
        except ValueError as fault:
            raise ValueError(f"cannot be split into words: {fault}; {allowed}") from None
        strange = next((word for word in value if _shell.fullmatch(word)), None)
        if strange is not None:
            raise ValueError(
                f"no shell runs it, so {quoted(strange)} would be one more argument; "
                'if a shell is wanted: ["sh", "-c", "…"]'
            )
    if not isinstance(value, list):
        raise ValueError(f"must be a command, not {told(value)}; {allowed}")
    if not value or value[0] == "":
        raise ValueError(f"is an empty command; {allowed}")
    if len(value) > words_max:
        raise ValueError(f"has {len(value):,} arguments; at most {words_max:,} are allowed")
    for place, word in enumerate(value):
        if word != "":
            try:
                text(word, longest=64 * 1024)
            except ValueError as fault:
                if isinstance(word, str) and not word.strip() and place:
                    continue
                raise ValueError(f"its argument {place} {fault}; {allowed}") from None
    return value


def target(value: object) -> str:
    """``module:function``."""
    given = text(value, longest=500, what="module:name")
    if not _target.fullmatch(given):
        raise ValueError(
            f'{quoted(given)} names nothing to import; allowed is "module:name", such as "alarms:ring"'
        )
    return given


def supervisor_address(value: object) -> str:
    """A directory, or what else ``banken.address`` takes."""
    given = text(value, what="an address")
    try:
        address.resolve(given)
    except Refused as fault:
        raise ValueError(str(fault)) from None
    return given


def secret(value: object) -> str:
    """A text that no message shows; ``${ENV}`` in it is replaced later (building)."""
    if not isinstance(value, str):
        raise ValueError("must be a text (in quotes)")
    return text(value)


def page(value: object) -> str:
    """The public address of a web page, without a slash at its end; links are made by adding to it."""
    given = text(value, longest=PAGE_MAX)
    try:
        parts = urlsplit(given)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not _visible.fullmatch(given) or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(
            f"{quoted(given)} is no address of a page; allowed is https://HOST or http://HOST:PORT/PATH, in ASCII, "
            "without a user, ? or #"
        )
    return given.rstrip("/")


def environment(value: object) -> dict[str, str]:
    """Variables for a child; no message shows a value."""
    if not isinstance(value, dict):
        raise ValueError('must be a table of texts, such as { LANG = "C" }')
    if len(value) > 1000:
        raise ValueError("has more than 1,000 variables")
    wrong = []
    for key, each in value.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            wrong.append(f"{quoted(key)} is no name for a variable: letters, digits and _ are allowed")
        elif key in ("BANKEN_ADDRESS", "BANKEN_NAME", "BANKEN_TIMEOUT"):
            wrong.append(f"{key} is set by the supervisor itself")
        elif not isinstance(each, str) or "\0" in each or len(each) > 64 * 1024:
            wrong.append(f"{key} must be a text of at most 65,536 characters without NUL (in quotes)")
    if wrong:
        raise ValueError("; ".join(wrong[:10]))
    return value


def path(value: object) -> str:
    """A path; ``~`` is the home directory."""
    return os.path.expanduser(text(value, what="a path"))


class Shown:
    """What an editor is shown of a kind of value: a JSON Schema, copied for each key.

    pydantic's WithJsonSchema hands out one and the same dict, into which 2.7 writes each key's description.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return copy.deepcopy(self._schema)


def _kind(check: Callable[[object], Any], schema: dict[str, Any]) -> Any:
    return (BeforeValidator(check), Shown(schema))


def seconds(least: float, most: float) -> Any:
    """What makes a float a duration from ``least`` to ``most`` seconds; ``least=0`` allows 0 itself."""

    def check(value: object) -> float:
        number = duration(value, zero=least == 0)
        if not least <= number <= most:
            allowed = f"{format_s(least)} to {format_s(most)}"
            raise ValueError(f"{quoted(value)} is not allowed; allowed: {allowed}")
        return number

    return _kind(check, _duration_schema("0" if least == 0 else "0.001"))


def _duration_schema(least: str) -> dict[str, Any]:
    number = {"type": "number", "minimum": 0} if least == "0" else {"type": "number", "minimum": 0.001}
    return {"anyOf": [{**number, "maximum": 315360000}, {"type": "string", "pattern": DURATION_PATTERN}]}


_STRING = {"type": "string", "minLength": 1}
_SIGNAL = {"type": "string", "enum": [*SIGNALS, *(each.removeprefix("SIG") for each in SIGNALS)]}
COMMAND = {"anyOf": [{"type": "array", "items": {"type": "string"}, "minItems": 1}, _STRING]}
_TIMEOUT = {"anyOf": [{"const": "auto"}, *_duration_schema("0.001")["anyOf"]]}
SIZE = {
    "anyOf": [
        {"type": "integer", "minimum": 1000, "maximum": 10**12},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([kK]i?[bB]|[mMgG]i?[bB]|[bB])?\s*$"},
    ]
}
_BUDGET = {"type": "string", "pattern": r"^\s*\d+\s+per\s+\S.*$", "examples": ["3 per 10m"]}
_BACKOFF = {"type": "string", "pattern": r"^.+\.\..+$", "examples": ["1s..60s"]}
_ENVIRONMENT = {"type": "object", "additionalProperties": {"type": "string"}}

Duration = Annotated[float, *_kind(duration, _duration_schema("0.001"))]
DurationOrZero = Annotated[float, *_kind(duration_or_zero, _duration_schema("0"))]
Timeout = Annotated[float | str, *_kind(timeout, _TIMEOUT)]
Size = Annotated[int, *_kind(size, SIZE)]
BudgetField = Annotated[Budget, *_kind(budget, _BUDGET)]
BackoffField = Annotated[Backoff, *_kind(backoff, _BACKOFF)]
Name = Annotated[str, *_kind(name, {"type": "string", "pattern": f"^{NAME_PATTERN}$"})]
Pattern = Annotated[str, *_kind(pattern, {"type": "string", "pattern": f"^{PATTERN_PATTERN}$"})]
ProgramName = Annotated[
    str, *_kind(program_name, {"type": "string", "pattern": r"^[A-Za-z0-9_{][A-Za-z0-9_.:@/+{}-]*$"})
]
SignalName = Annotated[str, *_kind(signal_name, _SIGNAL)]
Command = Annotated[list[str], *_kind(command, COMMAND)]
Target = Annotated[str, *_kind(target, {"type": "string", "pattern": TARGET_PATTERN})]
AddressField = Annotated[str, *_kind(supervisor_address, _STRING)]
SecretField = Annotated[str, *_kind(secret, _STRING)]
Environment = Annotated[dict[str, str], *_kind(environment, _ENVIRONMENT)]
PageField = Annotated[str, *_kind(page, {"type": "string", "pattern": r"^https?://[!-~]+$"})]
PathField = Annotated[str, *_kind(path, _STRING)]
Text = Annotated[str, *_kind(text, _STRING)]
