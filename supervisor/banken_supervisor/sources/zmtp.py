"""ZMTP 3.1, ZeroMQ's protocol (rfc.zeromq.org/spec/37), as far as one side of a local connection needs it: what a
peer sends, taken apart. The mechanism is NULL: who may enter the socket's directory may speak.

Pure: bytes come in, messages come out. No more than ``Terms.size_max`` bytes of a peer are kept, whatever it sends.
"""

from __future__ import annotations

from dataclasses import dataclass

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
"""What each side sends first: signature, version 3.1, mechanism, whether it is the server, filler."""

COMMAND_MAX = 1_024
"""Longest command, in bytes: READY has about 40."""

CONTEXT_MAX = 16
"""Longest context of a PING, in bytes."""

_MORE, _LONG, _COMMAND = 1, 2, 4

_SHORT_MAX = 2 + 255
"""Bytes of the longest frame whose size is one byte."""


class ProtocolError(Exception):
    """A peer does not keep to the protocol. The text says what it did."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one socket takes. Sizes are in bytes."""

    socket_type: bytes
    """what we say that we are"""
    peer_types: frozenset[bytes]
    """what may connect"""
    size_max: int
    """longest message; the beginning of a longer one is given, one byte more than this, and the rest is dropped.
    What has at most 255 bytes is always given whole"""
    drop_max: int
    """a message longer than this ends the connection"""
    parts: bool = False
    """each part is a message of its own; else a message of several parts counts as an empty one"""

    @property
    def opening(self) -> bytes:
        """What we say first."""
        kind = b"\x0bSocket-Type" + len(self.socket_type).to_bytes(4, "big") + self.socket_type
        return GREETING + frame(b"\x05READY" + kind, _COMMAND)


def frame(body: bytes, flags: int = 0) -> bytes:
    """One frame of a message, or a command."""
    if len(body) > 255:
        return bytes((flags | _LONG,)) + len(body).to_bytes(8, "big") + body
    return bytes((flags, len(body))) + body


class Incoming:
    """What one peer sends. ``pong``: the reply to its last PING; the caller sends it and empties it."""

    __slots__ = ("_in_parts", "_rest", "_skip", "_terms", "fault", "is_ready", "pong")

    def __init__(self, terms: Terms) -> None:
        self.fault = ""
        """what it did against the protocol: its connection is to be closed"""
        self.is_ready = False
        """its greeting and its READY have come"""
        self.pong = b""
        self._terms = terms
        self._rest = b""
        """the beginning of what has not come whole"""
        self._skip = 0
        """bytes of a message that are to be dropped"""
        self._in_parts = False
        """more parts of a message follow"""

    def take(self, data: bytes) -> list[bytes]:
        """The messages that are whole by now, up to a ``fault``. A subscription is one: 1 or 0, then the topic."""
        messages: list[bytes] = []
        try:
            self._take(data, messages)
        except ProtocolError as fault:
            self.fault = str(fault)
        return messages

    def _take(self, data: bytes, messages: list[bytes]) -> None:
        add = messages.append
        if self._rest:
            data = self._rest + data
        elif self._skip:
            skip, self._skip = self._skip, max(0, self._skip - len(data))
            data = data[skip:]
        start, end = 0, len(data)
        if not self.is_ready:
            start = self._handshake(data)
            if not self.is_ready:
                self._rest = data
                return
        whole, in_parts = end - _SHORT_MAX, self._in_parts
        while start < end:
            if data[start] or in_parts:
                after = self._unusual(data, start, messages)
                if after < 0:
                    break
                start, in_parts = after, self._in_parts
            elif start > whole and (start + 1 == end or start + 2 + data[start + 1] > end):
                break
            else:
                # A short message of one part, as nearly all are.
                body = start + 2
                start = body + data[start + 1]
                add(data[body:start])
        self._rest = data[start:]

    def _handshake(self, data: bytes) -> int:
        """Where the first frame behind the handshake begins; 0: the handshake has not come whole."""
        if not (GREETING.startswith(data[:1]) and data[9:10] in (b"", b"\x7f") and data[10:11] in (b"", b"\3")):
            raise ProtocolError("it does not speak ZeroMQ's protocol 3 (ZMTP)")
        end = len(GREETING)
        if len(data) < end + 2:
            return 0
        if data[12:32] != GREETING[12:32]:
            raise ProtocolError("its security mechanism is not NULL")
        found = _header(data, end)
        if data[end] & ~_LONG != _COMMAND:
            raise ProtocolError("its first frame is no command")
        if found is None:
            return 0
        body, size = found
        if size > COMMAND_MAX:
            raise ProtocolError(f"a command of {size} bytes; at most {COMMAND_MAX} are allowed")
        if len(data) < body + size:
            return 0
        command = data[body : body + size]
        if not command.startswith(b"\x05READY"):
            raise ProtocolError("its first command is not READY")
        kind = _properties(command[6:]).get(b"socket-type", b"")
        if kind not in self._terms.peer_types:
            allowed = " or ".join(sorted(each.decode() for each in self._terms.peer_types))
            raise ProtocolError(
                f"it is a {kind[:20].decode('ascii', 'replace')!r} socket; {allowed} is allowed here"
            )
        self.is_ready = True
        return body + size

    def _unusual(self, data: bytes, start: int, messages: list[bytes]) -> int:
        """Take a frame that is long, a command or a part; where the next begins, -1: it has not come whole."""
        flags = data[start]
        if flags > _MORE | _LONG | _COMMAND or (flags & _COMMAND and flags & _MORE):
            raise ProtocolError(f"a frame with the flags {flags:#04x}")
        found = _header(data, start)
        if found is None:
            return -1
        body, size = found
        if flags & _COMMAND:
            if size > COMMAND_MAX:
                raise ProtocolError(f"a command of {size} bytes; at most {COMMAND_MAX} are allowed")
            if len(data) < body + size:
                return -1
            self._command(data[body : body + size], messages)
            return body + size
        terms = self._terms
        if size > terms.drop_max:
            raise ProtocolError(f"a message of {size} bytes; at most {terms.drop_max} are allowed")
        given = min(size, terms.size_max + 1)
        if len(data) < body + given:
            return -1
        is_part, self._in_parts = self._in_parts, not terms.parts and bool(flags & _MORE)
        if not self._in_parts:
            messages.append(b"" if is_part else data[body : body + given])
        self._skip = max(0, body + size - len(data))
        return min(body + size, len(data))

    def _command(self, command: bytes, messages: list[bytes]) -> None:
        if not command or not 0 < command[0] < len(command):
            raise ProtocolError("a command without its name")
        name, rest = command[1 : 1 + command[0]], command[1 + command[0] :]
        if name == b"PING":
            self.pong = frame(b"\x04PONG" + rest[2 : 2 + CONTEXT_MAX], _COMMAND)
        elif name == b"SUBSCRIBE":
            messages.append(b"\1" + rest)
        elif name == b"CANCEL":
            messages.append(b"\0" + rest)


def _header(data: bytes, start: int) -> tuple[int, int] | None:
    """(where the body begins, its size) of the frame at ``start``; None: its header has not come whole."""
    width = 8 if data[start] & _LONG else 1
    body = start + 1 + width
    if len(data) < body:
        return None
    return body, int.from_bytes(data[start + 1 : body], "big")


def _properties(data: bytes) -> dict[bytes, bytes]:
    """Name (in small letters) and value of each property of READY; what is cut off is left out."""
    found: dict[bytes, bytes] = {}
    while data:
        value = 5 + data[0]
        size = int.from_bytes(data[value - 4 : value], "big")
        found[data[1 : value - 4].lower()] = data[value : value + size]
        data = data[value + size :]
    return found
