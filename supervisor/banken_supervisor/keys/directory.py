"""The directory of keys: a pair in NAME.key, which is secret, its public key in NAME.pub, and access.toml.

Only its owner and root may write it. A file appears whole, or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import zmq

from banken.address import resolve_all
from banken.errors import KeyRefused
from banken.keys import Key, check_key, load
from banken_supervisor.keys import access
from banken_supervisor.keys.access import Access, Control
from banken_supervisor.text.quoting import quoted

PUBLIC_BYTES_MAX = 4096


class Public(NamedTuple):
    """What NAME.pub says."""

    name: str
    key: bytes
    is_server: bool


def default_directory() -> Path:
    """``/etc/banken/keys`` for root, else ``$XDG_CONFIG_HOME/banken/keys``."""
    if os.geteuid() == 0:
        return Path("/etc/banken/keys")
    given = os.environ.get("XDG_CONFIG_HOME")
    return (Path(given) if given else Path.home() / ".config") / "banken" / "keys"


class KeyDirectory:
    """All methods raise KeyRefused, which says what is wrong, and OSError; ``access.toml`` with faults is
    ConfigFaults."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = default_directory() if path is None else Path(path)

    @property
    def access_file(self) -> Path:
        """Where it says what each key may do."""
        return self.path / access.FILE

    def new(self, name: str, *, server: bool = False, address: str | None = None) -> Path:
        """Make a pair; the path of its secret file. ``server``: it is the supervisor's own, of which there is one.
        ``address``: of the supervisor that it is for, or of several,
        separated by commas; the file gets their public key, too: that of the one pair in here that was made for a
        server."""
        servers = {each: self.server().key.decode() for each in _endpoints(address)}
        if server and (there := self._servers()):
            raise KeyRefused(
                f"{self.path} has a server's key already: {there[0].name}; each directory has one. To change it, "
                f"remove {there[0].name}.key and {there[0].name}.pub first: all workers' files have its public half"
            )
        import tomlkit

        self._make()
        secret, public = self._file(name, "key"), self._file(name, "pub")
        for each in (secret, public):
            if os.path.lexists(each):
                raise KeyRefused(f"{each} exists already: choose another name, or remove it")
        pair = [each.decode() for each in zmq.curve_keypair()]
        told = {"name": name, "public": pair[0]} | ({"server": True} if server else {})
        _write(secret, tomlkit.dumps(told | {"secret": pair[1]} | ({"servers": servers} if servers else {})), 0o600)
        try:
            _write(public, tomlkit.dumps(told), 0o644)
        except BaseException:
            secret.unlink()
            raise
        return secret

    def public(self, name: str) -> Public:
        """The public half of a pair."""
        path = self._file(name, "pub")
        try:
            with open(path, "rb") as file:
                table = tomllib.loads(file.read(PUBLIC_BYTES_MAX).decode())
            key = check_key(table["public"])
        except FileNotFoundError:
            raise KeyRefused(
                f"there is no key {name!r} in {self.path}; there are: {self._names() or 'none'}"
            ) from None
        except KeyError:
            raise KeyRefused(f"{path}: public is missing") from None
        except ValueError as fault:
            raise KeyRefused(f"{path}: is no public key: {fault}") from None
        return Public(name, key, table.get("server") is True)

    def publics(self) -> list[Public]:
        """The public halves of all pairs, by name."""
        return [self.public(name) for name in self.names()]

    def names(self) -> list[str]:
        """Of all pairs that have a public half here."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(each.stem for each in self.path.iterdir() if each.suffix == ".pub")
        return []

    def server(self) -> Public:
        """The one that was made for a server."""
        found = self._servers()
        if len(found) != 1:
            which = ", ".join(each.name for each in found) or "none"
            what = (
                "remove NAME.key and NAME.pub of the others"
                if found
                else "`banken keys new NAME --server` makes one"
            )
            raise KeyRefused(f"{self.path} must have exactly one key of a server, and has: {which}; {what}")
        return found[0]

    def _servers(self) -> list[Public]:
        return [each for each in self.publics() if each.is_server]

    def server_pair(self) -> Key:
        """The same, with its secret key."""
        return load(self._file(self.server().name, "key"))

    def allowed(self) -> dict[bytes, Access]:
        """Who may do what, by public key; nobody, where there is no ``access.toml``."""
        return dict(access.read(self.access_file)) if self.access_file.exists() else {}

    def allow(self, name: str, feed: Sequence[str], control: Control | None) -> None:
        """Let this key in. One that was allowed already may from now on do this, and nothing else."""
        import tomlkit

        public = self.public(name)
        with self._changing() as tables:
            for table in tables:
                if table.get("name") == name or table.get("public") == public.key.decode():
                    break
            else:
                tables.append(tomlkit.table())
                table = tables[-1]
            table["name"], table["public"] = name, public.key.decode()
            table["feed"] = list(feed)
            table["control"] = str(control or Control.NONE)

    def revoke(self, name: str) -> None:
        """Let this key in no longer."""
        with self._changing() as tables:
            for place, table in enumerate(tables):
                if table.get("name") == name:
                    del tables[place]
                    return
            raise KeyRefused(f"{name!r} is not allowed in {self.access_file}: there is nothing to revoke")

    def _file(self, name: str, suffix: str) -> Path:
        return self.path / f"{name}.{suffix}"

    def _names(self) -> str:
        return ", ".join(self.names())

    def _make(self) -> None:
        """Make it if it is not there; KeyRefused: others may write it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.path.stat()
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
            mode = stat.S_IMODE(found.st_mode)
            raise KeyRefused(
                f"{self.path} is user {found.st_uid}'s, mode {mode:04o}: only you or root may be able to write it"
            )

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Any]:
        """The tables of ``access.toml``, to be changed; comments stay. It is checked before and afterwards."""
        import tomlkit

        self._make()
        lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.allowed()  # else a fault of somebody's would be written anew
            text = self.access_file.read_text(encoding="utf-8-sig") if self.access_file.exists() else ""
            document = tomlkit.parse(text)
            if "key" not in document:
                document["key"] = tomlkit.aot()
            tables = document["key"]
            yield tables
            if not tables:
                del document["key"]
            _replace(self.access_file, tomlkit.dumps(document))
        finally:
            os.close(lock)


def _write(path: Path, text: str, mode: int) -> None:
    """A new file, whole; FileExistsError: it is there already."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    _make_file(half, text, mode)
    try:
        os.link(half, path)
    finally:
        half.unlink()


def _replace(path: Path, text: str) -> None:
    half = path.with_name(f".{path.name}.{os.getpid()}")
    _make_file(half, text, 0o600)
    try:
        access.read(half)
        half.replace(path)
    except BaseException:
        half.unlink()
        raise


def _make_file(path: Path, text: str, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        os.fchmod(fd, mode)  # whatever the umask is
        file.write(text)
        file.flush()
        os.fsync(fd)


def _endpoints(address: str | None) -> list[str]:
    found = [] if address is None else resolve_all(address)
    for each in found:
        if each.directory is not None:
            raise KeyRefused(f"{quoted(each.text)}: keys are for supervisors at tcp://HOST:PORT")
    return [each.feed for each in found]
