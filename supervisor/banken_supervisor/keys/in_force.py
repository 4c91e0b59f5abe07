"""The keys that a running supervisor lets in, and what each may do: as ``access.toml`` said when it was read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from banken.errors import KeyRefused
from banken_supervisor.engine.principal import KEY_PART, KeyHolder
from banken_supervisor.keys.access import Access, Control
from banken_supervisor.keys.directory import KeyDirectory

HOSTS_SHOWN = 5
"""Addresses of one key in a row, the latest."""


class KeysInForce:
    """Belongs to the loop's thread, but for ``read``. KeyRefused, ConfigFaults or OSError: the directory cannot be
    used."""

    def __init__(self, directory: KeyDirectory) -> None:
        self._directory = directory
        own = directory.server_pair()
        self.pair = own.public, own.secret
        """the supervisor's own"""
        self.allowed: frozenset[bytes] = frozenset()
        """public keys that are let in, its own included"""
        self._secret = hashlib.blake2b(own.secret, digest_size=32, person=b"banken boot id").digest()
        self._holders: dict[str, KeyHolder] = {}
        """by public key; the revoked ones stay"""
        self._by_part: dict[bytes, KeyHolder] = {}
        self._rights: Mapping[bytes, Access] = {}
        self._file_rights: Mapping[bytes, Access] = {}
        self._members: Mapping[bytes, Access] = {}
        self.apply(self.read())

    @property
    def file(self) -> Path:
        """Where the rights stand."""
        return self._directory.access_file

    def read(self) -> Mapping[bytes, Access]:
        """What the file says now. From any thread."""
        if self._file_rights and not self._directory.access_file.exists():
            raise KeyRefused(
                f"{self._directory.access_file} is gone: the {len(self._file_rights)} keys that it had are let in "
                "as before; to let none in, write an empty file"
            )
        return self._directory.allowed()

    def apply(self, rights: Mapping[bytes, Access]) -> bool:
        """From now on these are in force; whether any key may do less, or other things, than before."""
        self._file_rights = rights
        return self._apply({**self._members, **rights})

    def let_members_in(self, members: Mapping[str, bytes]) -> bool:
        """The other members of a cluster, by name, and their public keys: each may ask, but for what
        ``access.toml`` says of its key. As ``apply``."""
        self._members = {
            public: Access(f"member {name}", public, (), Control.MEMBER) for name, public in members.items()
        }
        return self._apply({**self._members, **self._file_rights})

    def _apply(self, rights: Mapping[bytes, Access]) -> bool:
        before, self._rights = self._rights, rights
        changed = [public for public, access in before.items() if rights.get(public) != access]
        for public in (*changed, *(public for public in rights if public not in before)):
            access, holder = rights.get(public), self._holders.get(public.decode())
            if holder is None:
                holder = self._holders[public.decode()] = KeyHolder("", public, self._seal)
                self._by_part[holder.key_part] = holder
            if access is None:
                holder.allow(None)
            else:
                holder.name = access.name
                holder.allow(access.may_feed, access.control.value)
        self.allowed = frozenset((*rights, self.pair[0]))
        return bool(changed)

    def holder_of(self, public: str) -> KeyHolder | None:
        """Who has this key; None: it was never let in. Safe from any thread."""
        return self._holders.get(public)

    def origin(self, boot: bytes) -> dict[str, Any]:
        """``key`` and ``host`` of the processes with this boot id; empty: they are not of another host."""
        holder = self._by_part.get(boot[:KEY_PART])
        return {} if holder is None else {"key": holder.name, "host": holder.host_of(boot)}

    def rows(self, now: float) -> list[dict[str, Any]]:
        """Each key that is let in: when it spoke last (seconds ago at ``now``, monotonic), and from where."""
        return [
            {
                "name": holder.name,
                "public": public,
                "control": holder.control,
                "seen": None if holder.seen is None else max(0.0, now - holder.seen),
                "hosts": holder.hosts[-HOSTS_SHOWN:],
            }
            for public, holder in list(self._holders.items())
            if holder.is_allowed
        ]

    def _seal(self, what: bytes) -> bytes:
        return hashlib.blake2b(what, digest_size=KEY_PART, key=self._secret).digest()
