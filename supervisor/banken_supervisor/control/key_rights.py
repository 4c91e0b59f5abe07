"""What may be asked with a key, over tcp."""

from __future__ import annotations

from banken.errors import WireError
from banken.protocol.answers import KEY_MAY_NOT
from banken.protocol.codec import VERSION, pack, unpack
from banken.protocol.limits import REQUEST_MAX, shorten

SHOWN_MAX = 60
"""Characters of the request that a refusal quotes."""

READS = frozenset({
    "checks", "keys", "look", "metrics", "ping", "programs", "reloaded", "registry", "status", "suggest",
    "summary",
})  # fmt: skip
"""What changes nothing: a key with ``control = "read"`` may ask it."""

MEMBERS = READS | {"do", "did", "incidents", "incidents_found"}
"""What another member of the cluster may ask."""


def refusal_for(request: bytes, control: str) -> bytes | None:
    """The reply to a request of another host that its key does not allow; None: it may be made. ``control``: what
    the key may ask: none, read, member or full."""
    try:
        _, number, op, _ = unpack(request, REQUEST_MAX)
    except (WireError, TypeError, ValueError):
        return None  # it is refused as any such request is
    allowed = {"read": READS, "member": MEMBERS}.get(control, frozenset())
    if control == "full" or (type(op) is str and op in allowed):
        return None
    text = f"{shown(op)} {KEY_MAY_NOT}: its `control` in access.toml is {control!r}"
    return pack([VERSION, number if type(number) is int else 0, False, text])


def shown(value: object) -> str:
    """A value of the request, as quoted in a refusal."""
    if isinstance(value, (list, dict)):
        return f"a {'list' if isinstance(value, list) else 'map'} of {len(value)}"
    return shorten(repr(value[: SHOWN_MAX + 1] if isinstance(value, (str, bytes)) else value), SHOWN_MAX)
