"""Which cluster a supervisor belongs to, and where its store is."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

from banken.errors import KeyRefused
from banken_supervisor.text.quoting import quoted

if TYPE_CHECKING:
    from banken_supervisor.coordination.etcd import EtcdStore

TTL_DEFAULT = 5.0

BRAKE_DEFAULT = 30.0


def is_everywhere(address: str) -> bool:
    """Whether ``tcp://HOST:PORT`` means all addresses of a host: one can listen there, and not be reached there."""
    host = address.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        found = ip_address(host)
    except ValueError:
        return host == "*"
    return (getattr(found, "ipv4_mapped", None) or found).is_unspecified


@dataclass(frozen=True)
class ClusterSettings:
    """``name``: of the cluster; ``member``: of this supervisor in it, which no other one has. ``endpoints``: URLs
    of etcd's members. ``ttl``: seconds without a leader's beat until another one leads. ``ca``, ``cert``, ``key``:
    files in PEM, of the authority that signed etcd's certificates, and of this client's own. ``brake``: seconds
    that actions wait where more than half of the workers fall silent at once; 0: none.
    """

    name: str
    member: str
    endpoints: tuple[str, ...]
    ttl: float = TTL_DEFAULT
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str | None = None
    password: str = field(default="", repr=False)
    address: str | None = None
    """``tcp://HOST:PORT`` at which the other members reach it; None: the first at which it listens"""
    brake: float = BRAKE_DEFAULT

    def address_fault(self, listen: Sequence[str]) -> str | None:
        """Why the other members cannot reach this one, which listens there; None: they can."""
        if not listen:
            return (
                "needs listen in [supervisor], or `banken run --listen`: the other members ask this one over tcp, "
                'and workers feed all of them: listen = ["tcp://0.0.0.0:7767"]'
            )
        if is_everywhere(self.address or listen[0]):
            return (
                f"no other member reaches {self.address or listen[0]}: address has to name this host, "
                'address = "tcp://HOST:7767"'
            )
        return None

    def store(self) -> EtcdStore:
        """A way to the store, for one thread. KeyRefused: a file cannot be used. Loads urllib3."""
        from banken_supervisor.coordination.etcd import Account, EtcdStore

        tls = self._tls() if self._is_secret else None
        account = None if self.user is None else Account(self.user, self.password)
        return EtcdStore(self.endpoints, f"banken/{self.name}/", tls, account)

    def _tls(self) -> ssl.SSLContext:
        files = f"ca {quoted(self.ca or '', 200)}"
        try:
            tls = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                files = f"cert {quoted(self.cert, 200)} and key {quoted(self.key or self.cert, 200)}"
                tls.load_cert_chain(self.cert, self.key, password=lambda: "")  # else it asks at the terminal
        except (OSError, ValueError) as fault:
            why = getattr(fault, "reason", None) or getattr(fault, "strerror", None) or fault
            raise KeyRefused(f"[cluster] {files} cannot be used: {why}; `banken config check` says more") from None
        return tls

    @property
    def _is_secret(self) -> bool:
        return any(each.startswith("https://") for each in self.endpoints)


UPWARD_TIMEOUT = 5.0
"""Seconds; a connection that is cut without a word is given up after two to three."""


@dataclass(frozen=True)
class UpwardSettings:
    """The supervisors that this one feeds as a worker does. ``addresses``: ``tcp://HOST:PORT`` each; ``key``: the
    file of its key. ``name``: of the watchdog there. ``timeout``: seconds of silence after which it expires there.
    """

    addresses: tuple[str, ...]
    key: str
    name: str
    timeout: float = UPWARD_TIMEOUT
