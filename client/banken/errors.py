"""Every error that banken raises on purpose. Each message says what was wrong and what is allowed."""

from __future__ import annotations


class BankenError(Exception):
    """The base of all of them."""


class Refused(BankenError, ValueError):
    """The caller's fault: the value is not allowed; the message says what is."""


class NameRefused(Refused):
    """Not a watchdog's name."""


class DurationRefused(Refused):
    """Not a usable number of seconds."""


class TextRefused(Refused):
    """Not a usable status, reason or progress value."""


class CallbackRefused(Refused):
    """Not something that can be called with nothing, or with one incident."""


class AddressRefused(Refused):
    """Not an address that a supervisor can be reached at."""


class KeyRefused(Refused):
    """Not a usable key, or key file, for a supervisor on another host."""


class WireError(BankenError, ValueError):
    """Bytes that are not a banken message.

    ``reason`` is one short word for counters; the text says what was found and what is allowed.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Unreachable(BankenError, ConnectionError):
    """No supervisor answered at the address within the time given."""


class RequestFailed(BankenError, RuntimeError):
    """The supervisor answered a request with an error of its own."""


class AddressInUse(BankenError, RuntimeError):
    """Another supervisor holds this address; the message says which process, and ``holder``, if it is known."""

    holder: int | None = None
