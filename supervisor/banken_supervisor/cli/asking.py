"""Asking a supervisor, as most commands do. Imports ZeroMQ only when a command runs."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from banken.address import option_for as option_for
from banken.errors import Unreachable
from banken.model import NAME_MAX, Declaration, check_name
from banken_supervisor.cli import exits
from banken_supervisor.cli.group import Failure

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from banken.address import Address
    from banken.control import Control, Events
    from banken.wire import Kind

ANSWER_S = 2.0
"""Seconds to wait for an answer."""

PAGING_TRIES = 3
"""How often a list is read anew because watchdogs were released meanwhile."""

F = TypeVar("F", bound=Callable[..., Any])

address_option: Callable[[F], F] = click.option(
    "--address",
    metavar="ADDRESS",
    help="The supervisor's directory.  [default: $BANKEN_ADDRESS, else $XDG_RUNTIME_DIR/banken, "
    "else /run/banken for root, else ~/.local/state/banken/run]",
)
quiet_option: Callable[[F], F] = click.option(
    "-q", "--quiet", is_flag=True, help="Print nothing unless it goes wrong."
)


class NameType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on only
    """A watchdog's name."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return check_name(value)
        except ValueError as fault:
            self.fail(str(fault), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from banken_supervisor.cli.completing import watchdogs

        return watchdogs(ctx, param, incomplete)


NAME = NameType()


class NamesType(NameType):
    """A watchdog's name, or a shell pattern that stands for several (worker-*)."""

    name = "name or pattern"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if isinstance(value, str) and is_pattern(value) and len(value) <= 2 * NAME_MAX:
            return value
        return super().convert(value, param, ctx)


NAMES = NamesType()


def is_pattern(name: str) -> bool:
    """Whether ``name`` stands for many names, as in a shell."""
    return any(c in name for c in "*?[")


@contextlib.contextmanager
def asking(address: str | None) -> Iterator[Control]:
    """A way to ask the supervisor at ``address``; Unreachable says so when one holds it and does not answer."""
    from banken.control import Control

    with Control(address, timeout=ANSWER_S) as control:
        try:
            yield control
        except Unreachable:
            directory = control.address.directory
            pid = None if directory is None else holder(directory)
            if pid is None:
                raise
            raise Unreachable(
                f"the supervisor at {directory} (pid {pid}) did not answer within {control.timeout:g} s; "
                f"it is stopped, starved or ending: look at it with `ps -p {pid} -o stat,etime,args`"
            ) from None


def holder(directory: str) -> int | None:
    """The pid that the lock in ``directory`` names, if such a process lives."""
    try:
        with open(os.path.join(directory, "lock"), encoding="ascii") as file:
            pid = int(json.loads(file.read(4096))["pid"])
        os.kill(pid, 0)
    except PermissionError:
        return pid
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid


def is_alone(address: Address) -> bool:
    """Whether it is known without asking that no supervisor is there: then nobody need wait for an answer."""
    return address.directory is not None and holder(address.directory) is None


def rows(control: Control, name: str | None = None, op: str = "status") -> list[dict[str, Any]]:
    """Every watchdog that ``name`` fits (None: all), however many answers that takes; ``op`` may be ``suggest``."""
    found: dict[str, dict[str, Any]] = {}
    for _ in range(PAGING_TRIES):
        found.clear()
        place: int | None = 0
        total: int | None = None
        while place is not None:
            page = control.request(op, name=name, offset=place)
            if total is not None and page["total"] < total:
                break  # one was released, all behind it moved up, and the next page would miss some
            total = page["total"]
            found.update((row["name"], row) for row in page["rows"])
            place = page["next"]
        else:
            break
    return list(found.values())


def look(control: Control, names: list[str]) -> dict[str, dict[str, Any]]:
    """The watchdogs of these names (at most 200) with ``feeds``: ``[age, gap]`` of the last ones, newest last."""
    found = control.request("look", names=names, feeds=True)["rows"] if names else []
    return {row["name"]: row for row in found}


def row_of(control: Control, name: str) -> dict[str, Any]:
    """The one watchdog called ``name``; a Failure if there is none."""
    found: list[dict[str, Any]] = control.request("status", name=name)["rows"]
    if not found:
        raise Failure(
            f"no watchdog is called {name!r} at {control.address.text}; `banken status` lists them",
            exits.NOT_SO,
        )
    return found[0]


def all_of(control: Control, given: str) -> list[dict[str, Any]]:
    """The watchdogs that a name or a pattern stands for; a Failure if there is none."""
    if not is_pattern(given):
        return [row_of(control, given)]
    found = rows(control, given)
    if not found:
        raise Failure(
            f"no watchdog fits {given!r} at {control.address.text}; `banken status` lists them", exits.NOT_SO
        )
    return found


def tell(
    control: Control, kind: Kind, name: str, *args: Any, declaration: Declaration | None = None
) -> dict[str, Any] | None:
    """Tell the supervisor one thing as nobody in particular, and have it confirmed.

    The watchdog as it is then; None if it is watched no longer. RequestFailed if it was refused.
    """
    from banken.wire import Message, encode

    control.request("tell", frame=encode(Message(kind, name, None, 0.0, declaration, args)))
    found: list[dict[str, Any]] = control.request("status", name=name)["rows"]
    return found[0] if found else None


class Following:
    """The events of one supervisor, and whether it is there. A context manager; belongs to one thread."""

    def __init__(self, address: str, names: list[str] | None = None) -> None:
        import zmq

        from banken.control import Events

        self.events: Events = Events(address, names)
        self._zmq = zmq
        # Watched from before the connection on: otherwise one that is made at once would be missed.
        self.events.socket.disconnect(self.events.address.events)
        self._monitor = self.events.socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self.events.socket.connect(self.events.address.events)
        self.connected = False

    def wait(self, seconds: float | None = None, also: Iterable[int] = ()) -> list[dict[str, Any]]:
        """Events, or a change of ``connected``, or nothing within ``seconds`` (None: wait for ever).

        Descriptors in ``also`` end the wait when they can be read.
        """
        zmq, socket = self._zmq, self.events.socket
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        for descriptor in also:
            poller.register(descriptor, zmq.POLLIN)
        ready = dict(poller.poll(None if seconds is None else int(seconds * 1000)))
        if self._monitor in ready:
            what, _ = struct.unpack("=HI", self._monitor.recv_multipart()[0])
            self.connected = what == zmq.EVENT_HANDSHAKE_SUCCEEDED
        found = []
        if socket in ready:
            while (event := self.events.next(0)) is not None:
                found.append(event)
                if len(found) >= 1000:
                    break
        return found

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *exception: object) -> None:
        self.events.socket.disable_monitor()
        self._monitor.close(0)
        self.events.close()
