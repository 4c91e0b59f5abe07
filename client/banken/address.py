"""One address names a supervisor's three sockets: feed, control and events.

A directory (``/run/banken``, ``ipc:///run/banken``) holds them as Unix sockets; ``tcp://host:7767`` means
three ports in a row.
"""

# Annotations are not postponed here: NamedTuple would compile each one's text at each start of a worker.
import os
from typing import NamedTuple

from banken.errors import AddressRefused
from banken.protocol.limits import shorten

PORT = 7767

ADDRESSES_MAX = 9
"""Supervisors that one process feeds."""

USERS = ".users"
"""How the directory beside an address ends in which each other user that feeds has one of its own."""

LOGINS = "/run/user"
"""Where each user that is logged in has a directory, by uid."""

SUN_PATH_MAX = 107
"""Longest path of a Unix socket, bytes (``sun_path`` less its closing zero)."""


class Address(NamedTuple):
    """Where a supervisor is, resolved."""

    text: str
    """as people write it"""
    feed: str
    control: str
    events: str
    directory: str | None
    """the directory of the sockets; None for tcp"""

    @property
    def main(self) -> str | None:
        """The supervisor's own directory, where this one is for another user and takes feeds alone; else None."""
        return None if self.directory is None else main_directory(self.directory)

    def whole(self) -> "Address":
        """Itself, with all three sockets. AddressRefused: there is nothing but ``feed`` here."""
        if self.main is not None:
            raise AddressRefused(
                f"{self.text} takes only feeds, of programs that run as user {os.path.basename(self.text)}; "
                f"commands and events are for the supervisor's own user, at {self.main}"
            )
        return self


def runtime_directory() -> str | None:
    """Where this user's sockets belong: the same from a login, cron, su and a unit. None: there is no such place,
    or the user is root.

    ``$XDG_RUNTIME_DIR``, but of the directories that logins have only this user's own: su and sudo may leave
    another's in the environment. cron has no such variable, so the usual directory is looked for.
    """
    given, uid = os.environ.get("XDG_RUNTIME_DIR"), os.geteuid() if hasattr(os, "geteuid") else -1
    own = os.path.join(LOGINS, str(uid))
    if given and (os.path.dirname(os.path.abspath(given)) != LOGINS or (uid and os.path.abspath(given) == own)):
        return given
    try:
        return own if uid > 0 and os.stat(own).st_uid == uid else None
    except OSError:
        return None


def default_address() -> str:
    """``$BANKEN_ADDRESS``, else in ``runtime_directory``, else ``/run/banken`` for root, else in home."""
    if given := os.environ.get("BANKEN_ADDRESS"):
        return given
    if runtime := runtime_directory():
        return os.path.join(runtime, "banken")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return "/run/banken"
    return os.path.join(os.path.expanduser("~"), ".local", "state", "banken", "run")


def directory_of_user(directory: str, uid: int) -> str:
    """The address of a supervisor at ``directory`` for what it runs as another user, who may not enter that."""
    return os.path.join(directory + USERS, str(uid))


def main_directory(directory: str) -> str | None:
    """The ``directory`` from which ``directory_of_user`` made this one; None: it made another name."""
    head, user = os.path.split(directory)
    name = os.path.basename(head)
    return head.removesuffix(USERS) if user.isdecimal() and name.endswith(USERS) and name != USERS else None


def resolve(address: str | os.PathLike[str] | None = None) -> Address:
    """The three endpoints of ``address`` (None: the default); AddressRefused when it names none."""
    text = default_address() if address is None else os.fspath(address)
    if not text.strip():
        raise AddressRefused("an address is a directory, ipc://DIRECTORY or tcp://HOST:PORT, not empty")
    if text.startswith("tcp://"):
        host, colon, port = text.removeprefix("tcp://").rpartition(":")
        if not colon:
            host, port = port, str(PORT)
        if not host or not port.isdecimal() or not 0 < int(port) <= 65533 or _is_no_host(host):
            raise AddressRefused(
                f"{shorten(text)!r} is no address: tcp://HOST:PORT, PORT from 1 to 65533 (two more follow it); "
                "an IPv6 address in brackets, tcp://[::1]:7767"
            )
        feed, control, events = (f"tcp://{host}:{int(port) + step}" for step in range(3))
        return Address(text, feed, control, events, None)
    if not text.startswith("ipc://") and ("://" in text or text.startswith(("ipc:", "tcp:"))):
        raise AddressRefused(
            f"{shorten(text)!r} is no address: a directory, ipc://DIRECTORY or tcp://HOST:PORT is allowed"
        )
    if text.startswith("ipc://") and not os.path.isabs(os.path.expanduser(text[6:])):
        raise AddressRefused(f"ipc:// takes an absolute directory: ipc:///run/banken, not {shorten(text)!r}")
    if any(part.strip().startswith(("/", "~", "ipc:")) for part in text.split(",")[1:]):
        raise AddressRefused(
            f"{shorten(text)!r} has more than one directory: of several supervisors one may be a directory of this "
            "host, and the others are tcp://HOST:PORT"
        )
    directory = os.path.abspath(os.path.expanduser(text.removeprefix("ipc://")))
    feed, control, events = (f"ipc://{os.path.join(directory, name)}" for name in ("feed", "control", "events"))
    found = Address(directory, feed, control, events, directory)
    longest = len(os.fsencode(os.path.join(directory, "control" if found.main is None else "feed")))
    if longest > SUN_PATH_MAX:
        raise AddressRefused(
            f"{shorten(directory)!r} is too long: with its sockets it has {longest} bytes, "
            f"and the path of a Unix socket has at most {SUN_PATH_MAX}; choose a shorter directory"
        )
    return found


def _is_no_host(host: str) -> bool:
    """Whether this is no host: an IPv6 address without brackets, say."""
    in_brackets = host[0] == "[" and host[-1] == "]"
    return not set(",/ []" if in_brackets else ":,/ []").isdisjoint(host[1:-1] if in_brackets else host)


def resolve_all(address: str | os.PathLike[str] | None = None) -> tuple[Address, ...]:
    """The supervisors that ``address`` names: one, or several with commas between them, of which all but one are
    tcp. AddressRefused."""
    text = default_address() if address is None else os.fspath(address)
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 or not any(part.startswith("tcp://") for part in parts):
        return (resolve(text),)  # a directory may have a comma in its name
    if len(parts) > ADDRESSES_MAX:
        raise AddressRefused(f"{len(parts)} addresses; at most {ADDRESSES_MAX} are allowed")
    found = tuple(map(resolve, parts))
    if len({each.feed for each in found}) < len(found):
        raise AddressRefused(f"{shorten(text)!r} names one supervisor twice")
    if sum(each.directory is not None for each in found) > 1:
        raise AddressRefused(f"{shorten(text)!r} has more than one directory; the others are tcp://HOST:PORT")
    return found


def whole_text(address: str | os.PathLike[str] | None = None) -> str:
    """The same, as people write them; each takes commands. AddressRefused: one takes only feeds."""
    return ",".join(each.whole().text for each in resolve_all(address))


def option_for(text: str) -> str:
    """`` --address ADDRESS`` for a command line that is to reach this address; nothing if it does so anyway."""
    import shlex  # only for people: a worker that feeds has no use for it

    try:
        needed = resolve().text != text
    except AddressRefused:
        needed = True
    return f" --address {shlex.quote(text)}" if needed else ""
