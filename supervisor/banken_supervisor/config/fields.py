"""The kinds of values that only the config file has: each a check, and a JSON Schema for editors.

See ``actions.options`` for the kinds that options of actions have too.
"""

from __future__ import annotations

import re
import resource
from functools import partial
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import ValidationInfo

from banken import address
from banken.errors import Refused
from banken.protocol.limits import CLEAN_MAX, NAME_MAX, check_clean
from banken_supervisor.actions import options
from banken_supervisor.actions.options import STRING, duration, kind, name, text
from banken_supervisor.coordination.settings import is_everywhere
from banken_supervisor.engine.ladder import Backoff, Budget
from banken_supervisor.engine.patterns import is_pattern
from banken_supervisor.text.quoting import kind_of, quoted, unknown_key
from banken_supervisor.text.secret import Secret, SecretRefused

PAGE_MAX = 1000
"""Characters of the address of a page."""

COUNT_MAX = 1_000_000
"""Most runs of a budget."""

PATTERN_PATTERN = r"[A-Za-z0-9_.:@/+\-*?\[\]!]+"
TARGET_PATTERN = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
_budget = re.compile(r"\s*(\d{1,9})\s+per\s+(\S.{0,60})", re.ASCII)
_backoff = re.compile(r"\s*(.{1,60}?)\s*\.\.\s*(.{1,60}?)\s*", re.ASCII)
_pattern = re.compile(PATTERN_PATTERN)
_whole = re.compile(r"(?:[^\[\]]|\[!?+\]?+[^\]]*\])*")
"""Each bracket of a pattern with its other half; a ] right after the [ is one of the characters, as in a shell."""
_target = re.compile(TARGET_PATTERN, re.ASCII)
_visible = re.compile(r"[!-~]+")
_umask = re.compile(r"0?[0-7]{1,3}", re.ASCII)
_size = re.compile(r"\s*(\d{1,18})\s*([A-Za-z]{0,3})\s*", re.ASCII)

_BYTE_LIMITS = frozenset({"as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack"})
RLIMITS = sorted(key[7:].lower() for key in dir(resource) if key.startswith("RLIMIT_") and key != "RLIMIT_OFILE")
"""Names of limits, as in setrlimit(2)."""


def user(value: object) -> str:
    """The name of a user, or its number."""
    return str(value) if type(value) is int and value >= 0 else text(value)


def timeout(value: object) -> float | str:
    """A duration, or ``"auto"``."""
    if value == "auto":
        return "auto"
    try:
        return duration(value)
    except ValueError as fault:
        raise ValueError(f'{fault}; or "auto"') from None


def budget(value: object) -> Budget:
    """``"3 per 10m"``."""
    first, period = _parts(value, _budget, 'budget; allowed is a count and a duration, such as "3 per 10m"')
    count = int(first)
    if not 1 <= count <= COUNT_MAX:
        raise ValueError(f"a count of {count} is not allowed; allowed: 1 to {COUNT_MAX:,}")
    return Budget(count, _duration_in(value, period))


def backoff(value: object) -> Backoff:
    """``"1s..60s"``."""
    allowed = 'allowed are two durations, such as "1s..60s"'
    made = Backoff(*(_duration_in(value, part) for part in _parts(value, _backoff, f"backoff; {allowed}")))
    if made.least > made.most:
        raise ValueError(f"{quoted(value)} begins with more than it ends with; {allowed}")
    return made


def _parts(value: object, form: re.Pattern[str], what: str) -> tuple[str, ...]:
    if isinstance(value, str) and (found := form.fullmatch(value)):
        return found.groups()
    raise ValueError(f"{quoted(value) if isinstance(value, str) else kind_of(value)} is no {what}")


def _duration_in(value: object, part: str) -> float:
    try:
        return duration(part)
    except ValueError as fault:
        raise ValueError(f"in {quoted(value)}: {fault}") from None


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
    if not _whole.fullmatch(given):
        raise ValueError(f"{quoted(given)} matches no name: a [ without its ], or a ] without its [")
    return given


def program_name(value: object) -> str:
    """A name in which ``{i}`` may stand for the number of the process."""
    given = text(value, what="a name")
    try:
        name(given.replace("{i}", "0"))
    except ValueError as fault:
        raise ValueError(f"{fault}; {{i}} stands for the number of the process") from None
    return given


def program_pattern(value: object) -> str:
    """A name or a pattern of programs, in which ``{i}`` may stand for the number of the process."""
    pattern(text(value, what="a name or a pattern such as db-*").replace("{i}", "0"))
    return str(value)


def target(value: object) -> str:
    """``module:function``."""
    given = text(value, longest=500, what="module:name")
    if not _target.fullmatch(given):
        raise ValueError(
            f'{quoted(given)} names nothing to import; allowed is "module:name", such as "alarms:ring"'
        )
    return given


def supervisor_address(value: object, info: ValidationInfo) -> str:
    """A directory, or another address that ``banken.address`` takes."""
    given = text(value, what="an address")
    if "://" not in given:
        given = options.path(given, info)
    try:
        address.resolve(given)
    except Refused as fault:
        raise ValueError(str(fault)) from None
    return given


def listen_address(value: object) -> str:
    """``tcp://HOST:PORT``, of this host."""
    given = text(value, what="an address")
    try:
        is_tcp = address.resolve(given).directory is None
    except Refused as fault:
        raise ValueError(str(fault)) from None
    if not is_tcp:
        raise ValueError(f'must be "tcp://HOST:PORT", not {quoted(given)}; the directory of the sockets is address')
    return given


def reached_address(value: object) -> str:
    """``tcp://HOST:PORT``, where other hosts reach it."""
    given = listen_address(value)
    if is_everywhere(given):
        raise ValueError(f"{quoted(given)} is all addresses of a host, and no other host reaches it: name the host")
    return given


def endpoint(value: object) -> str:
    """The URL of a member of etcd: ``https://HOST:PORT``, or ``http://`` (who may use that is said elsewhere)."""
    given = text(value, what="an endpoint")
    try:
        parts = urlsplit(given)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or not given.isascii() or parts.path not in ("", "/") or parts.query or "@" in parts.netloc:
        raise ValueError("is no endpoint of etcd; allowed is https://HOST:PORT, without user and password")
    return given.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether this URL is of this host, whatever it resolves to."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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


def umask(value: object) -> int:
    """``"022"``."""
    if not isinstance(value, str):
        raise ValueError(f'must be octal digits in quotes, such as "022", not {kind_of(value)}')
    if not _umask.fullmatch(value):
        raise ValueError(f'{quoted(value)} is no umask; allowed are octal digits, "000" to "777", such as "022"')
    return int(value, 8)


def rlimits(value: object) -> tuple[tuple[str, int, int], ...]:
    """(name, soft, hard) of each."""
    if not isinstance(value, dict):
        raise ValueError(f"must be a table, such as {{ nofile = 4096 }}, not {kind_of(value)}")
    found, wrong = [], []
    for key, given in value.items():
        try:
            if key not in RLIMITS:
                raise ValueError(unknown_key(key, RLIMITS))
            parts = given.split(":") if isinstance(given, str) else [given]
            soft, hard = (_limit(part, given, key) for part in (parts[0], parts[-1]))
            if len(parts) > 2 or _is_more(soft, hard):
                raise ValueError(f"{quoted(given)} is not SOFT:HARD, of which the first is at most the second")
            found.append((key, soft, hard))
        except ValueError as fault:
            wrong.append(f"{key if key in RLIMITS else quoted(key)}: {fault}")
    if wrong:
        raise ValueError("; ".join(wrong[:10]))
    return tuple(found)


def _limit(part: object, given: object, key: str) -> int:
    if part == "unlimited":
        return resource.RLIM_INFINITY
    sized = _size.fullmatch(part) if isinstance(part, str) else None
    if sized is not None and (not sized[2] or key in _BYTE_LIMITS):
        number: object = int(sized[1]) * options.SIZE_UNITS.get(sized[2].lower(), -1)
    else:
        number = part
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 63:
        units = ", a size such as 512MiB" if key in _BYTE_LIMITS else ""
        raise ValueError(
            f'{quoted(given)} is no limit; allowed are a whole number{units}, "unlimited", or "SOFT:HARD" of these'
        )
    return number


def _is_more(one: int, other: int) -> bool:
    return other != resource.RLIM_INFINITY and (one == resource.RLIM_INFINITY or one > other)


def urls_file(value: object, info: ValidationInfo) -> tuple[Secret, ...]:
    """The URLs in a file, one a line."""
    lines = [line.strip() for line in options.secret_from(options.path(value, info)).reveal().splitlines()]
    urls = tuple(notify_url(line, None) for line in lines if line and not line.startswith("#"))
    if not urls:
        raise SecretRefused("the file holds no URL")
    return urls


def notify_url(value: object, info: ValidationInfo | None) -> Secret:
    """A URL of apprise; no message shows it."""
    url = Secret(str(value)) if info is None else options.secret(value, info)
    scheme, separator, rest = url.reveal().partition("://")
    if not separator or not rest or not scheme.replace("+", "").isalnum():
        raise SecretRefused("is no apprise URL; allowed is SCHEME://…, such as mailto://, slack://, json://")
    return url


def clean_ends(value: object) -> tuple[int, ...]:
    """Exit statuses and names of signals, as a declaration has them."""
    try:
        return check_clean(value)
    except Refused as fault:
        raise ValueError(str(fault)) from None


_DURATION = options.duration_schema(0.001)
_TIMEOUT = {"anyOf": [{"const": "auto"}, *_DURATION["anyOf"]]}
_BUDGET = {"type": "string", "pattern": r"^\s*\d+\s+per\s+\S.*$", "examples": ["3 per 10m"]}
_BACKOFF = {"type": "string", "pattern": r"^.+\.\..+$", "examples": ["1s..60s"]}
_CLEAN = {
    "type": "array",
    "items": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 255}, options.SIGNAL]},
    "maxItems": CLEAN_MAX,
}
_LIMIT = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^[^:]+(:[^:]+)?$"}]}
_RLIMITS = {"type": "object", "properties": dict.fromkeys(RLIMITS, _LIMIT), "additionalProperties": False}
_PROGRAM_NAME = {"type": "string", "pattern": r"^[A-Za-z0-9_{][A-Za-z0-9_.:@/+{}-]*$"}

Duration = Annotated[float, *kind(duration, _DURATION)]
DurationOrZero = Annotated[float, *kind(partial(duration, zero=True), options.duration_schema(0))]
Timeout = Annotated[float | str, *kind(timeout, _TIMEOUT)]
Size = Annotated[int, *kind(options.size, options.SIZE)]
BudgetField = Annotated[Budget, *kind(budget, _BUDGET)]
BackoffField = Annotated[Backoff, *kind(backoff, _BACKOFF)]
Pattern = Annotated[str, *kind(pattern, {"type": "string", "pattern": f"^{PATTERN_PATTERN}$"})]
ProgramPattern = Annotated[str, *kind(program_pattern, {"type": "string", "minLength": 1, "maxLength": 200})]
ProgramName = Annotated[str, *kind(program_name, _PROGRAM_NAME)]
Command = Annotated[tuple[str, ...], *kind(options.command, options.COMMAND)]
Target = Annotated[str, *kind(target, {"type": "string", "pattern": TARGET_PATTERN})]
AddressField = Annotated[str, *kind(supervisor_address, STRING)]
ListenField = Annotated[str, *kind(listen_address, {"type": "string", "pattern": "^tcp://."})]
ReachedField = Annotated[str, *kind(reached_address, {"type": "string", "pattern": "^tcp://."})]
Endpoint = Annotated[str, *kind(endpoint, {"type": "string", "pattern": r"^https?://[!-~]+$"})]
NotifyUrl = Annotated[Secret, *kind(notify_url, STRING)]
UrlsFile = Annotated[tuple[Secret, ...], *kind(urls_file, STRING)]
# What comes from a variable is taken as it is: {i} is no number there.
Environment = Annotated[dict[str, str], *options.variables(lambda text: text.replace("{i}", "{{i}}"))]
CleanEnds = Annotated[tuple[int, ...], *kind(clean_ends, _CLEAN)]
Umask = Annotated[int, *kind(umask, {"type": "string", "pattern": "^0?[0-7]{1,3}$"})]
Rlimits = Annotated[tuple[tuple[str, int, int], ...], *kind(rlimits, _RLIMITS)]
PageField = Annotated[str, *kind(page, {"type": "string", "pattern": r"^https?://[!-~]+$"})]
User = Annotated[str, *kind(user, {"anyOf": [STRING, {"type": "integer", "minimum": 0}]})]
Text = Annotated[str, *kind(text, STRING)]
