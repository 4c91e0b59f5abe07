"""ICMP echo (RFC 792, RFC 4443), by a socket that needs no rights, or else by a raw one."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct

PAYLOAD = 16
"""Random bytes by which an answer is known for ours."""

READ = 2048

_HEAD = struct.Struct("!BBHHH")
_TYPES = {socket.AF_INET: (8, 0, socket.IPPROTO_ICMP), socket.AF_INET6: (128, 129, socket.IPPROTO_ICMPV6)}
"""Of a request and of a reply, and the protocol."""


async def echo(family: socket.AddressFamily, address: str, again_s: float) -> None:
    """Return when an answer has come; ask again after each ``again_s`` seconds. OSError: it cannot be asked."""
    request, reply, protocol = _TYPES[family]
    loop = asyncio.get_running_loop()
    with _socket(family, protocol) as sock:
        sock.setblocking(False)
        is_raw = sock.type == socket.SOCK_RAW
        token, sequence = os.urandom(PAYLOAD), 0
        while True:
            sequence += 1
            sock.sendto(_packet(request, sequence, token), (address, 0))
            try:
                async with asyncio.timeout(again_s):
                    while True:
                        data = await loop.sock_recv(sock, READ)
                        if is_raw and family == socket.AF_INET:  # the kernel gives the head of the packet, too
                            data = data[(data[0] & 15) * 4 :] if data else b""
                        if data[:1] == bytes([reply]) and data[_HEAD.size :] == token:
                            return
            except TimeoutError:
                continue


def _socket(family: socket.AddressFamily, protocol: int) -> socket.socket:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            return socket.socket(family, kind, protocol)
        except PermissionError:
            continue
    why = (
        "this user may not send ICMP: allow its group in net.ipv4.ping_group_range (sysctl), "
        "or give the supervisor CAP_NET_RAW"
    )
    raise PermissionError(errno.EPERM, why)


def _packet(kind: int, sequence: int, token: bytes) -> bytes:
    identifier = os.getpid() & 0xFFFF  # the kernel puts its own in place, for a socket without rights
    head = _HEAD.pack(kind, 0, 0, identifier, sequence & 0xFFFF)
    return _HEAD.pack(kind, 0, _checksum(head + token), identifier, sequence & 0xFFFF) + token


def _checksum(data: bytes) -> int:
    """Of RFC 1071; for ICMPv6 the kernel makes it."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
