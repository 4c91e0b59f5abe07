"""The kinds of values that options and config tables have: each a check, and a JSON Schema for editors.

Each check takes a value as tomllib or Python code gives it and returns the checked value, or raises ValueError with
what was wrong and what is allowed. The context is a ``Source``; none means Python code.
"""

from __future__ import annotations

import copy
import os
import re
import shlex
import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from banken.errors import Refused
from banken.protocol.limits import NAME_PATTERN, SECONDS_MAX, check_name, check_seconds
from banken_supervisor.files.trusted_files import read_file
from banken_supervisor.processes.child_environment import RESERVED
from banken_supervisor.text.durations import ALLOWED, format_s, parse
from banken_supervisor.text.quoting import kind_of, quoted, unknown_key
from banken_supervisor.text.secret import SECRET_BYTES_MAX, Secret, SecretRefused, expand, from_content

TEXT_MAX = 4096
"""Longest text where nothing shorter is said, characters."""

ARGUMENT_MAX = 64 * 1024
"""Characters of one argument of a command; Linux takes 128 KiB."""

ARGUMENTS_MAX = 1000
"""Arguments of a command."""

URL_MAX = 2048
"""Characters of the URL of a web hook."""

_UNIT = r"(?:\d+(?:\.\d+)?|\.\d+)\s*(?:ms|s|m|h|d)"
DURATION_PATTERN = rf"^\s*(?:(?:\d+(?:\.\d*)?|\.\d+)|(?:{_UNIT}\s*)+)\s*$"
SIZE_UNITS = {"": 1, "b": 1, "kb": 10**3, "kib": 2**10, "mb": 10**6, "mib": 2**20, "gb": 10**9, "gib": 2**30}
SIZE_ALLOWED = "a number of bytes, or a number with kB, KiB, MB, MiB, GB or GiB, such as 10MiB"
_size = re.compile(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]{0,3})\s*", re.ASCII)
_visible = re.compile(r"[!-~]+")
_shell = re.compile(r"\||\|\||&|&&|;|\d*[<>]+(&\d+|\S*)|&>\S*")

SIGNALS = tuple(sorted(each.name for each in signal.Signals if not each.name.startswith("SIGRT")))


STRICT = ConfigDict(
    strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True
)
"""Unknown keys are refused; numbers are not taken for texts, nor texts for numbers; no error shows a value."""


class Table(BaseModel):
    """A table of options."""

    model_config = STRICT


class Source(NamedTuple):
    """Where options come from: the context of pydantic's validation."""

    directory: str | None = None
    """of the config file, absolute: ``${ENV}`` is expanded, relative paths begin here. None: Python code, whose
    texts are taken as they are"""
    read_files: bool = True
    """False: they were checked before, and the caller cannot wait for a disk"""
    variables: set[str] | None = None
    """gets the names of the variables that secrets were read from"""


def source(info: ValidationInfo) -> Source:
    """The context, or that of Python code where none was given."""
    return Source() if info.context is None else Source(*info.context)


class Shown:
    """The JSON Schema that editors get for a kind of value, copied for each key.

    pydantic's WithJsonSchema hands out one and the same dict, into which 2.7 writes each key's description.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return copy.deepcopy(self._schema)


def kind(check: Callable[..., Any], schema: dict[str, Any]) -> Any:
    """What makes a type of a model one of these kinds: ``Annotated[type, *kind(…)]``."""
    return BeforeValidator(check), Shown(schema)


def text(value: object, *, longest: int = TEXT_MAX, what: str = "a text") -> str:
    """``value`` if it is a text of 1 to ``longest`` characters that an operating system takes."""
    if not isinstance(value, str):
        raise ValueError(f"must be {what}, not {kind_of(value)}")
    if not value.strip():
        raise ValueError(f"must be {what}, and is empty")
    if len(value) > longest:
        raise ValueError(f"has {len(value):,} characters; at most {longest:,} are allowed")
    if "\0" in value:
        raise ValueError("holds a NUL character, which no system call takes")
    return value


def duration(value: object, *, zero: bool = False, allowed: str | None = None) -> float:
    """Seconds, of a number of seconds or a text such as ``2m30s``. ``allowed``: the limits, for people, where they
    are narrower than those of all durations."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"must be {ALLOWED}, not {kind_of(value)}")
    if isinstance(value, str) and len(value) > 100:
        raise ValueError(f"{quoted(value)} is no duration; allowed is {ALLOWED}")
    try:
        if isinstance(value, str):
            return parse(value, "it", zero=zero)
        # A number of thousands of digits need not be written out to be refused.
        huge = isinstance(value, int) and value.bit_length() > 256
        return check_seconds(float("inf") if huge else value, "it", zero=zero)
    except Refused as fault:
        why, said = f"is no duration; allowed is {ALLOWED}", str(fault)
        if said.startswith("it="):  # the number lies outside the limits
            why = f"is not allowed; allowed: {allowed or said.partition('allowed: ')[2]}"
        raise ValueError(f"{quoted(value)} {why}") from None


def size(value: object, *, most: int = 10**12, shown: str = "1000 GB") -> int:
    """Bytes, of a number or a text such as ``10MiB``; from 1 kB to ``most``, which people know as ``shown``."""
    if isinstance(value, str):
        found = _size.fullmatch(value)
        unit = None if found is None else SIZE_UNITS.get(found[2].lower())
        if found is None or unit is None:
            raise ValueError(f"{quoted(value)} is no size; allowed is {SIZE_ALLOWED}")
        number = int(float(found[1]) * unit)
    elif isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be {SIZE_ALLOWED}, not {kind_of(value)}")
    else:
        number = value
    if not 1000 <= number <= most:
        raise ValueError(f"{quoted(value)} is not allowed; allowed: 1 kB to {shown}")
    return number


def name(value: object) -> str:
    """A name, of the characters that a watchdog's has."""
    try:
        return check_name(text(value, what="a name"))
    except Refused as fault:
        raise ValueError(str(fault).replace("is no name for a watchdog", "is no name")) from None


def signal_name(value: object, info: ValidationInfo) -> str:
    """``"SIGTERM"``; ``"TERM"`` means the same. Code may give the number, which differs between systems."""
    in_code = source(info).directory is None
    if in_code and isinstance(value, int) and not isinstance(value, bool):
        given = next((each.name for each in signal.Signals if each == value), str(value))
    else:
        given = text(value, longest=32, what="a signal's name")
    full = given.upper() if given.upper().startswith("SIG") else "SIG" + given.upper()
    if full not in SIGNALS and not (in_code and full in signal.Signals.__members__):
        raise ValueError(f"{quoted(value)} is no signal; allowed: {', '.join(SIGNALS)}")
    return full


def command(value: object, *, most: int = ARGUMENTS_MAX) -> tuple[str, ...]:
    """argv, of a list or of one text that is split as a shell would, without running one."""
    allowed = 'allowed is a list such as ["python3", "work.py"], or the same in one text'
    if isinstance(value, str):
        given = text(value, longest=ARGUMENT_MAX, what="a command")
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
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"must be a command, not {kind_of(value)}; {allowed}")
    if not value or value[0] == "":
        raise ValueError(f"is an empty command; {allowed}")
    if len(value) > most:
        raise ValueError(f"has {len(value):,} arguments; at most {most:,} are allowed")
    for place, word in enumerate(value):
        try:
            if not (place and isinstance(word, str) and not word.strip()):  # an empty argument is one too
                text(word, longest=ARGUMENT_MAX)
        except ValueError as fault:
            raise ValueError(f"its argument {place} {fault}; {allowed}") from None
    return tuple(value)


def path(value: object, info: ValidationInfo) -> str:
    """A path; ``~`` is the home directory. A relative one in a config file begins at the file's directory."""
    given = os.path.expanduser(text(value, what="a path"))
    directory = source(info).directory
    return given if directory is None else os.path.normpath(os.path.join(directory, given))


def secret(value: object, info: ValidationInfo) -> Secret:
    """A text that no message shows. In a config file ``${ENV}`` in it is replaced from the environment."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a text (in quotes)")
    directory, _, names = source(info)
    return Secret(text(value)) if directory is None else expand(text(value), names)


def environment(value: object, info: ValidationInfo, *, changed: Callable[[str], str] = str) -> dict[str, str]:
    """Variables for a child; no message shows a value. In a config file ``${NAME}`` is replaced, as in secrets.

    ``changed``: what becomes of the values of those variables first.
    """
    if not isinstance(value, dict):
        raise ValueError('must be a table of texts, such as { LANG = "C" }')
    if len(value) > 1000:
        raise ValueError("has more than 1,000 variables")
    wrong, found = [], {}
    for key, each in value.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            wrong.append(f"{quoted(key)} is no name for a variable: letters, digits and _ are allowed")
        elif key in RESERVED:
            wrong.append(f"{key} is set by the supervisor itself")
        elif not isinstance(each, str) or "\0" in each or len(each) > 64 * 1024:
            wrong.append(f"{key} must be a text of at most 65,536 characters without NUL (in quotes)")
        elif source(info).directory is None:
            found[key] = each
        else:
            try:
                found[key] = expand(each, changed=changed).reveal()
            except SecretRefused as fault:
                wrong.append(f"{key}: {fault}; for the text ${{ itself write $${{")
    if wrong:
        raise ValueError("; ".join(wrong[:10]))
    return found


def secret_from(file: str) -> Secret:
    """The secret that a file holds, which no other user may have made or may write. SecretRefused."""
    try:
        return from_content(read_file(file, SECRET_BYTES_MAX))
    except SecretRefused:
        raise
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the path
        why = getattr(fault, "strerror", None) or "no such path can exist"
        raise SecretRefused(f"cannot read the secret's file: {why}") from None


class Address(NamedTuple):
    """The URL of a web hook, taken apart."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def shown(self) -> str:
        """What may be shown of it: the path of many a webhook is its password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_url(given: str) -> Address:
    """The URL of a web hook, taken apart. ValueError never repeats it: the token is often part of it."""
    if len(given) > URL_MAX:
        raise ValueError(f"has {len(given):,} characters; at most {URL_MAX:,} are allowed")
    try:
        parts = urlsplit(given)
        port = parts.port
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
    except ValueError:
        good = False
    if not good or not _visible.fullmatch(given):
        raise ValueError(
            "is no address of a web hook; allowed is https://HOST/… or http://HOST/…, in ASCII and without blanks"
        )
    if "@" in parts.netloc:
        raise ValueError("holds a user or a password, which is not allowed: sign with a secret instead")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(parts.scheme, parts.hostname or "", port or (443 if parts.scheme == "https" else 80), path)


def seconds(least: float, most: float) -> Any:
    """What makes a float a duration from ``least`` to ``most`` seconds; ``least=0`` allows 0 itself."""

    allowed = f"{format_s(least)} to {format_s(most)}"

    def check(value: object) -> float:
        number = duration(value, zero=least == 0, allowed=allowed)
        if not least <= number <= most:
            raise ValueError(f"{quoted(value)} is not allowed; allowed: {allowed}")
        return number

    return kind(check, duration_schema(least, most))


def duration_schema(least: float, most: float = SECONDS_MAX) -> dict[str, Any]:
    """A number of seconds, from ``least`` to ``most``, or a text."""
    number = {"type": "number", "minimum": least, "maximum": most}
    return {"anyOf": [number, {"type": "string", "pattern": DURATION_PATTERN}]}


STRING = {"type": "string", "minLength": 1}
COMMAND = {"anyOf": [{"type": "array", "items": {"type": "string"}, "minItems": 1}, STRING]}
SIZE = {
    "anyOf": [
        {"type": "integer", "minimum": 1000, "maximum": 10**12},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([kK]i?[bB]|[mMgG]i?[bB]|[bB])?\s*$"},
    ]
}
SIGNAL = {"type": "string", "enum": [*SIGNALS, *(each.removeprefix("SIG") for each in SIGNALS)]}

Name = Annotated[str, *kind(name, {"type": "string", "pattern": f"^{NAME_PATTERN}$"})]
PathField = Annotated[str, *kind(path, STRING)]
SecretField = Annotated[Secret, *kind(secret, STRING)]
SignalName = Annotated[str, *kind(signal_name, SIGNAL)]


def variables(changed: Callable[[str], str] = str) -> Any:
    """What makes a dict the variables of a child, see ``environment``."""
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    return kind(partial(environment, changed=changed), schema)


_FAULTS = {
    "missing": "is required and missing",
    "greater_than_equal": "{value} is not allowed; at least {ge} is allowed",
    "less_than_equal": "{value} is not allowed; at most {le} is allowed",
    "too_short": "has too few elements: at least {min_length} is needed",
    "too_long": "has too many elements: at most {max_length} are allowed",
    "bool_type": "must be true or false, not {kind}",
    "int_type": "must be a whole number, not {kind}",
    "list_type": "must be an array, not {kind}",
    "dict_type": "must be a table, not {kind}",
    "model_type": "must be a table, not {kind}",
    "model_attributes_type": "must be a table, not {kind}",
    "string_type": "must be a text, not {kind}",
    "union_tag_not_found": 'must be a table such as {{ do = "log" }}, not {kind}',
    "union_tag_invalid": 'must be a table such as {{ do = "log" }}, not {kind}',
}
_SECRETS = frozenset({"url", "secret", "secret_file", "urls", "urls_file", "env"})
"""Keys below which no message shows a value."""


def fault_text(fault: Mapping[str, Any], allowed: Callable[[], list[str]]) -> str:
    """One fault of pydantic's in our own words, never with a secret. ``allowed``: the keys of its table."""
    error, value, limits = fault["type"], fault["input"], fault.get("ctx", {})
    if error == "value_error":
        return str(limits["error"])
    if error == "extra_forbidden":
        return unknown_key(str(fault["loc"][-1]), allowed())
    if error == "literal_error":
        choices = str(limits["expected"]).replace(" or ", ", ").replace("'", '"')
        choices = {"True": "true", "False": "false"}.get(choices, choices)  # as TOML has it
        return f"{quoted(value)} is not allowed; allowed: {choices}"
    if error in _FAULTS:
        hidden = not _SECRETS.isdisjoint(fault["loc"])
        kind = "a value of another type" if hidden else kind_of(value)
        return _FAULTS[error].format(value=quoted(value), kind=kind, **limits)
    return str(fault["msg"])
