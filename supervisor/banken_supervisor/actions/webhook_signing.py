"""Standard Webhooks: how a receiver knows that a request is ours, and that it has seen it before.

https://www.standardwebhooks.com: ``webhook-id`` stays the same over all attempts, ``webhook-timestamp`` is when
this one was sent, and ``webhook-signature`` is HMAC-SHA256 over ``id.timestamp.body``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from banken.errors import Refused

PREFIX = "whsec_"
KEY_MIN, KEY_MAX = 24, 64
"""Bytes of a key, as the specification has it."""


class Key:
    """A signing key that shows itself to nobody."""

    __slots__ = ("_key",)

    def __init__(self, secret: str) -> None:
        """``secret``: ``whsec_`` and base64. Refused does not repeat it."""
        wanted = f"a secret is {PREFIX!r} and the base64 of {KEY_MIN} to {KEY_MAX} bytes"
        if not secret.startswith(PREFIX):
            raise Refused(f"{wanted}; this one does not begin so")
        try:
            self._key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise Refused(f"{wanted}; this one is not base64") from None
        if not KEY_MIN <= len(self._key) <= KEY_MAX:
            raise Refused(f"{wanted}; this one has {len(self._key)}")

    def __repr__(self) -> str:
        return "<Key>"

    def sign(self, message: str, timestamp: int, body: bytes) -> str:
        """The value of ``webhook-signature``."""
        signed = f"{message}.{timestamp}.".encode() + body
        return "v1," + base64.b64encode(hmac.new(self._key, signed, hashlib.sha256).digest()).decode()
