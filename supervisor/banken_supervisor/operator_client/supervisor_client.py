"""Requests to a supervisor. Imports ZeroMQ only when a request is made."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NamedTuple

from banken.address import Address, resolve, resolve_all
from banken.errors import AddressRefused, RequestFailed, Unreachable
from banken.protocol.answers import KEY_MAY_NOT
from banken_supervisor.operator_client.state_directory import journal_file
from banken_supervisor.text.sanitize import ODD, from_json
from banken_supervisor.text.secret import open_now

if TYPE_CHECKING:
    from banken.client.fanout import Fanout
    from banken.client.sender import Sender
    from banken.control import Control
    from banken.protocol.messages import Declaration, Kind

ANSWER_S = 2.0
"""Seconds to wait for an answer."""

NO_PATTERN = "no pattern of its `feed` in access.toml there fits; `banken keys allow` changes that"

WORD_S, WORD_POLL_S = 5.0, 0.02
"""Seconds to wait until the members of a cluster can know of a word, and between two looks."""


@contextlib.contextmanager
def connect(address: str | None, timeout: float = ANSWER_S) -> Iterator[Control]:
    """A connection for requests. Unreachable, raised inside, names a process that holds the address."""
    from banken.control import Control

    with Control(address, timeout=timeout) as control:
        try:
            yield control
        except Unreachable as fault:
            raise explained(fault, control.address, control.timeout) from None


def explained(fault: Unreachable, address: Address, timeout: float) -> Unreachable:
    """``fault``, or a better one where a living process holds the address and did not answer within ``timeout``."""
    pid = None if address.directory is None else lock_holder(address.directory)
    if pid is None:
        return fault
    return Unreachable(
        f"the supervisor at {address.directory} (pid {pid}) did not answer within {timeout:g} s; "
        f"it is stopped, starved or ending: look at it with `ps -p {pid} -o stat,etime,args`"
    )


def lock_holder(directory: str) -> int | None:
    """The pid in the lock file of ``directory``, if such a process lives."""
    try:
        with open(os.path.join(directory, "lock"), encoding="ascii", opener=open_now) as file:
            pid = int(from_json(file.read(4096))["pid"])
    except (OSError, *ODD):
        return None
    if pid <= 0:  # of all processes, or a group's
        return None
    try:
        os.kill(pid, 0)
    except PermissionError:
        return pid  # another user's process
    except (OSError, OverflowError):
        return None
    return pid


def is_absent(address: Address) -> bool:
    """Whether it is known without a request that no supervisor is there."""
    return address.directory is not None and lock_holder(address.directory) is None


def supervisor_elsewhere(given: str | None) -> str | None:
    """The usual directory where a supervisor of this user runs, if none is at the default one; else None.

    None too if an address was given, by argument or environment. Looks at lock files only, and so at once.
    """
    if given is not None or os.environ.get("BANKEN_ADDRESS") or not hasattr(os, "geteuid"):
        return None
    try:
        if not is_absent(resolve()):
            return None
    except AddressRefused:  # told when it is used
        return None
    user = os.geteuid()
    home = os.path.join(os.path.expanduser("~"), ".local", "state", "banken", "run")
    usual = [f"/run/user/{user}/banken", home, *(["/run/banken"] if user == 0 else [])]
    for directory in usual:
        with contextlib.suppress(OSError):
            if os.stat(directory).st_uid == user and lock_holder(directory) is not None:
                return directory
    return None


def ask(address: str | None, timeout: float, op: str, **args: Any) -> Any:
    """The answer; None where no supervisor runs, or none answers within ``timeout`` seconds, or it says no."""
    if all(map(is_absent, resolve_all(address))):
        return None
    from banken.control import Control

    with Control(address, timeout=timeout) as control, contextlib.suppress(Unreachable, RequestFailed):
        return control.request(op, **args)
    return None


def usual_journal(address: str | None) -> str | None:
    """Where a supervisor at this address keeps its journal unless told otherwise; None: it has no directory.

    AddressRefused: only feeds are there.
    """
    return journal_file(resolve_all(address)[0].whole())


def look(control: Control, names: list[str]) -> dict[str, dict[str, Any]]:
    """The rows of at most 200 watchdogs with ``feeds``: ``[age, gap]`` of the last ones, seconds, newest last."""
    found = control.request("look", names=names, feeds=True)["rows"] if names else []
    return {row["name"]: row for row in found}


def message(kind: Kind, name: str, *args: Any, declaration: Declaration | None = None) -> bytes:
    """The frame of one message from an operator: it claims no process of its own."""
    from banken.protocol.codec import encode
    from banken.protocol.messages import Message

    return encode(Message(kind, name, None, 0.0, declaration, args))


class Said(NamedTuple):
    """What became of a message to one supervisor, or to several."""

    row: dict[str, Any] | None
    """the watchdog's afterwards, by the first that has answered; None: it is watched no longer, or nobody has"""
    doubt: str | None
    """why nobody has confirmed it; None: it is confirmed"""
    missed: list[str]
    """of each supervisor that has not taken it, why"""


def say(address: str | None, kind: Kind, name: str, *args: Any, declaration: Declaration | None = None) -> Said:
    """Send one message about a watchdog, as ``tell`` does, to all supervisors at once, as a worker does.

    Unreachable, RequestFailed: none of them took it. At an address that takes only feeds, or with a key that may do
    no more, it cannot be confirmed.
    """
    frame = message(kind, name, *args, declaration=declaration)
    where = resolve_all(address)
    if len(where) == 1:
        found = [_say_to(where[0], kind, name, frame)]
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(len(where)) as pool:  # each may need the whole of its time
            found = list(pool.map(lambda each: _say_to(each, kind, name, frame), where))
    taken = [each for each in found if isinstance(each, Said)]
    faults = [each for each in found if not isinstance(each, Said)]
    if not taken:
        if len(faults) == 1:
            raise faults[0]
        kinds = {type(each) for each in faults}
        raise (Unreachable if kinds == {Unreachable} else RequestFailed)("; ".join(map(str, faults)))
    first = next((each for each in taken if each.doubt is None), taken[0])
    return first._replace(missed=[str(each) for each in faults])


def _say_to(where: Address, kind: Kind, name: str, frame: bytes) -> Said | Unreachable | RequestFailed:
    """The same, to one of them; the error is returned."""
    doubt = "here only feeds are taken"
    try:
        if where.main is None:
            with connect(where.text) as control:
                try:
                    return Said(_tell_frame(control, kind, name, frame), None, [])
                except RequestFailed as fault:
                    if KEY_MAY_NOT not in str(fault):
                        raise
                doubt = "the key may not ask"
                if not may_feed(control, name):
                    return RequestFailed(f"{where.text} lets this key not feed {name!r}: {NO_PATTERN}")
        sender = _feed_sender(where)
        try:
            if sender.send(frame, ANSWER_S, insist=True):
                return Said(None, doubt, [])
            of = "" if where.main is None else f"; it is the one at {where.main}"
            return Unreachable(f"no supervisor takes feeds at {where.text}{of}")
        finally:
            sender.close()
    except (Unreachable, RequestFailed) as fault:
        return fault


def may_feed(control: Control, name: str) -> bool:
    """Whether the key that is in use may feed this name there; True too where its supervisor does not tell."""
    try:
        return name not in control.request("may_feed", names=[name])["refused"]
    except RequestFailed:
        return True


def _feed_sender(where: Address) -> Sender | Fanout:
    if where.directory is None:
        from banken.client.fanout import Fanout
        from banken.tcp import given_key

        return Fanout([where], given_key())
    from banken.client.sender import Sender

    return Sender(where)


def _wait_for(control: Control, number: int) -> None:
    """Until all members of a cluster can know of this word. RequestFailed: they cannot."""
    deadline = monotonic() + WORD_S
    while not (found := control.request("word", number=number))["done"]:
        if monotonic() > deadline:
            raise RequestFailed("the cluster's store has not answered yet; it may still be done")
        sleep(WORD_POLL_S)
    if found["why"] is not None:
        raise RequestFailed(found["why"])


def tell(
    control: Control,
    kind: Kind,
    name: str,
    *args: Any,
    declaration: Declaration | None = None,
    here: bool = False,
) -> dict[str, Any] | None:
    """Send one message as an operator, and wait until it is confirmed. ``here``: to this member of a cluster alone.

    Returns the watchdog's row afterwards; None if it is not watched there. RequestFailed if it was refused.
    ``for_all`` in the row: in a cluster, it was said to all its members, or to the one that leads.
    """
    more = {"here": True} if here else {}
    return _tell_frame(control, kind, name, message(kind, name, *args, declaration=declaration), **more)


def _tell_frame(control: Control, kind: Kind, name: str, frame: bytes, **more: Any) -> dict[str, Any] | None:
    from banken.protocol.messages import Kind

    taken = control.request("tell", frame=frame, **more)
    if (number := taken.get("word")) is not None:
        _wait_for(control, number)
    found: list[dict[str, Any]] = control.request("status", name=name)["rows"]
    if not found and kind is Kind.FAIL and number is not None:  # the leader declares it
        found = [{"name": name, "state": "unknown"}]
    return {**found[0], "for_all": number is not None} if found else None
