"""Addresses of hosts, by the system's own look-up (hosts file, DNS, what else is configured)."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address

from banken_supervisor.checks.blocking import NAME, call

ADDRESSES_MAX = 8
"""Addresses of one name that are tried."""


async def resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """The addresses of a host, in the order of the system's preference. OSError: it has none."""
    with suppress(ValueError):
        family = socket.AF_INET if ip_address(host).version == 4 else socket.AF_INET6
        return [(family, (host, port))]
    try:
        found = await call((NAME, host), lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except socket.gaierror as fault:
        raise OSError(fault.errno, f"{host} has no address: {fault.strerror}") from None
    except UnicodeError:
        raise OSError(0, f"{host} is no name of a host") from None
    return [(family, (str(address[0]), port)) for family, _, _, _, address in found[:ADDRESSES_MAX]]
