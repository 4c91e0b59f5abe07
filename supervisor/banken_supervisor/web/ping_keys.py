"""Keys for pings: ``/p/KEY`` feeds the one name that the key was made for, and does nothing else.

They are kept in a file of the state directory, so that a crontab that has one works after a reboot too: a line
``KEY NAME`` each, mode 0600. The web process reads it again when it has changed. Imports no web server.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator

from banken.address import Address
from banken.errors import AddressRefused, Refused
from banken_supervisor.operator_client.state_directory import make_state_directory

try:
    import fcntl
except ImportError:  # Windows, where no supervisor runs
    fcntl = None  # type: ignore[assignment]

FILE = "ping-keys"
KEYS_MAX = 10_000
BYTES_MAX = KEYS_MAX * 256


def keys_file(address: Address) -> str | None:
    """Where the keys of this address are; the file need not exist. None: the address is not on this host."""
    directory = make_state_directory(address)
    return None if directory is None else os.path.join(directory, FILE)


class PingKeys:
    """The keys as the file has them now. ``path``: None: there are none."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._names: dict[bytes, str] = {}
        """by the key's hash: how long a look-up takes tells nothing about a key"""

    def name_of(self, key: str) -> str | None:
        """The name that this key feeds; None: it is no key. AddressRefused: the file cannot be used."""
        if self._path is None:
            return None
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise AddressRefused(f"the ping keys in {self._path} cannot be read: {fault.strerror}") from None
        seen = (found.st_mtime_ns, found.st_ino, found.st_size)
        if seen != self._seen:
            self._names = {_hash(key): name for name, key in _read(self._path).items()}
            self._seen = seen
        return self._names.get(_hash(key))


def all_keys(address: Address) -> dict[str, str]:
    """The key of each name. AddressRefused: the file cannot be used."""
    path = keys_file(address)
    return {} if path is None or not os.path.lexists(path) else _read(path)


def make_key(address: Address, name: str, *, new: bool) -> str:
    """The key of ``name``, made if there is none. ``new``: in place of the one there is, which works no longer.

    Refused: there are too many. AddressRefused: the file cannot be used.
    """
    with _changing(address) as keys:
        if new or name not in keys:
            if len(keys) >= KEYS_MAX and name not in keys:
                raise Refused(
                    f"there are {KEYS_MAX} ping keys already; `banken ping-key NAME --revoke` removes one"
                )
            keys[name] = secrets.token_urlsafe(18)
        return keys[name]


def revoke_key(address: Address, name: str) -> bool:
    """Whether there was a key of this name, which works no longer now. AddressRefused: the file cannot be used."""
    with _changing(address) as keys:
        return keys.pop(name, None) is not None


@contextlib.contextmanager
def _changing(address: Address) -> Iterator[dict[str, str]]:
    """The keys; what the block makes of them is written, in one step, while nobody else changes them."""
    path = keys_file(address)
    if path is None:
        raise AddressRefused(f"{address.text} is not on this host: ping keys are made where the supervisor runs")
    directory = os.path.dirname(path)
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        lock = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = _read(path) if os.path.lexists(path) else {}
            before = dict(keys)
            yield keys
            if keys != before:
                _write(directory, path, keys, os.fstat(lock).st_uid)
        finally:
            os.close(lock)
    except OSError as fault:
        raise AddressRefused(f"the ping keys in {path} cannot be changed: {fault.strerror or fault}") from None


def _write(directory: str, path: str, keys: dict[str, str], owner: int) -> None:
    descriptor, half = tempfile.mkstemp(prefix=f"{FILE}.", dir=directory)  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.writelines(f"{key} {name}\n" for name, key in sorted(keys.items()))
            file.flush()
            os.fsync(file.fileno())
            if os.geteuid() == 0:  # for a supervisor of another user: it must be able to read its own
                os.fchown(file.fileno(), owner, -1)
        os.replace(half, path)
    except BaseException:
        os.unlink(half)
        raise


def _read(path: str) -> dict[str, str]:
    """The key of each name."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, encoding="ascii") as file:
            found = os.fstat(descriptor)
            owners = {0, os.geteuid()}
            if os.geteuid() == 0:  # another user's supervisor
                owners.add(os.stat(os.path.dirname(path)).st_uid)
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
                owner = f"user {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}"
                raise AddressRefused(
                    f"{path} is not a file that only you may read ({owner}); `chmod 600` it, or remove it and make "
                    "new keys"
                )
            lines = file.read(BYTES_MAX).splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise AddressRefused(f"the ping keys in {path} cannot be read: {fault}") from None
    return {name: key for key, _, name in (line.partition(" ") for line in lines) if name}


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
