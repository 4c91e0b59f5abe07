"""Where a supervisor is: the directory of its sockets, where it listens for other hosts, and its cluster."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

from banken.address import Address, resolve
from banken.errors import AddressRefused

if TYPE_CHECKING:
    from banken_supervisor.coordination.settings import ClusterSettings
    from banken_supervisor.runtime.loop import Loop
    from banken_supervisor.runtime.remote_access import RemoteAccess


def own_address(given: str | os.PathLike[str] | None) -> Address:
    """The directory of a supervisor. AddressRefused: it is no address, or not of this host."""
    found = resolve(given)
    if found.directory is None:
        raise AddressRefused(
            f"{found.text}: a supervisor's address is a directory of its host; for workers of other hosts, too, "
            f"let it listen there: `banken run --listen {found.text}`, or Supervisor(listen=[...]), with keys"
        )
    return found


def listen_addresses(given: Iterable[str]) -> list[Address]:
    """Where to listen, ``tcp://HOST:PORT`` each. AddressRefused: it is no such address, or one stands twice."""
    found = [resolve(each) for each in given]
    for each in found:
        if each.directory is not None:
            raise AddressRefused(f"{each.text}: it listens at tcp://HOST:PORT; a directory is its --address")
    if len({each.feed for each in found}) < len(found):
        raise AddressRefused(f"{', '.join(each.text for each in found)}: one address stands there twice")
    return found


def listen_fault(fault: Exception, listen: Iterable[str]) -> str:
    """Why nothing can listen there, in words. libzmq has one for a name that cannot be resolved, and for an
    interface that is not there: "No such device"."""
    if getattr(fault, "errno", None) != errno.ENODEV:
        return str(fault)
    hosts = [each.removeprefix("tcp://").rpartition(":")[0] for each in listen]
    unknown = [each for each in hosts if not _is_known(each.strip("[]"))] or hosts
    does = "is no address and no interface of this host, and a name that cannot be resolved"
    return f"{', '.join(unknown)} {does}"


def _is_known(host: str) -> bool:
    if host == "*" or host in (name for _, name in socket.if_nameindex()):
        return True
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def join_cluster(
    settings: ClusterSettings | None, loop: Loop, remote: RemoteAccess | None, listen: list[Address]
) -> None:
    """See ``cluster_wiring.join``; None: this supervisor is alone. AddressRefused: the other members would not
    reach it."""
    if settings is not None:
        if (why := settings.address_fault([each.text for each in listen])) is not None:
            raise AddressRefused(f"[cluster] {why}")
        from banken_supervisor.runtime.cluster_wiring import join

        join(settings, loop, remote, listen)


def remote_access(keys: str | os.PathLike[str] | None, resources: contextlib.ExitStack) -> RemoteAccess:
    """See there. Loaded only where it is needed: it takes pydantic to read the rights of the keys."""
    from banken_supervisor.runtime.remote_access import RemoteAccess

    return RemoteAccess(keys, resources)
