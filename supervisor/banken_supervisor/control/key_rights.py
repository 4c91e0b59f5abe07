"""What may be asked with a key, over tcp."""

from __future__ import annotations

from banken.errors import WireError
from banken.protocol.answers import KEY_MAY_NOT
from banken.protocol.codec import VERSION, pack, unpack
from banken.protocol.limits import REQUEST_MAX, shorten
from banken_supervisor.engine.principal import KeyHolder

SHOWN_MAX = 60
"""Characters of the request that a refusal quotes."""

READS = frozenset({
    "checks", "incidents", "incidents_found", "keys", "look", "metrics", "ping", "programs", "reloaded",
    "registry", "status", "suggest", "summary",
})  # fmt: skip
"""What changes nothing: a key with ``control = "read"`` may ask it."""

MEMBERS = READS | {"do", "did"}
"""What another member of the cluster may ask."""

NAMES_MAX = 100
"""Names in one question of what a key may feed."""


def reply_for(request: bytes, holder: KeyHolder) -> bytes | None:
    """The reply to a request of another host that its key does not allow, or that is about the key itself; None: it
    may be made."""
    try:
        _, number, op, args = unpack(request, REQUEST_MAX)
    except (WireError, TypeError, ValueError):
        return None  # it is refused as any such request is
    number = number if type(number) is int else 0
    if op == "may_feed":
        return pack([VERSION, number, *_may_feed(args, holder)])
    control = holder.control
    allowed = {"read": READS, "member": MEMBERS}.get(control, frozenset())
    if control == "full" or (type(op) is str and op in allowed):
        return None
    text = f"{shown(op)} {KEY_MAY_NOT}: its `control` in access.toml is {control!r}"
    return pack([VERSION, number, False, text])


def _may_feed(args: object, holder: KeyHolder) -> tuple[bool, object]:
    """Which of these ``names`` the key may not feed. Any key may ask that: it would learn it by feeding, too."""
    names = args.get("names") if isinstance(args, dict) else None
    if type(names) is not list or len(names) > NAMES_MAX or any(type(each) is not str for each in names):
        return False, f"'names' must be a list of at most {NAMES_MAX} strings"
    return True, {"refused": [each for each in names if not holder.may_use(each)]}


def shown(value: object) -> str:
    """A value of the request, as quoted in a refusal."""
    if isinstance(value, (list, dict)):
        return f"a {'list' if isinstance(value, list) else 'map'} of {len(value)}"
    return shorten(repr(value[: SHOWN_MAX + 1] if isinstance(value, (str, bytes)) else value), SHOWN_MAX)
