"""The URL of a web hook, checked and taken apart."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

URL_MAX = 2048

_visible = re.compile(r"[!-~]+")


class Address(NamedTuple):
    """A URL taken apart."""

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
    """``given`` taken apart. ValueError never repeats it: the token is often part of it."""
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
