"""Checks of what the config needs from the system: commands, directories, users, modules, notification services."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import shutil
import stat
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

from banken import address
from banken.errors import AddressRefused
from banken_supervisor.config import importing, rights
from banken_supervisor.config.faults import KeyPath, Problem
from banken_supervisor.config.importing import Wanted
from banken_supervisor.config.models import WatchFields
from banken_supervisor.config.parsing import Parsed
from banken_supervisor.config.rights import Who
from banken_supervisor.config.settings import Config
from banken_supervisor.config.steps import StepFields
from banken_supervisor.engine.policy import ProgramSpec
from banken_supervisor.journal import schema
from banken_supervisor.text.quoting import quoted


def problems(parsed: Parsed, config: Config) -> Iterator[Problem]:
    """All that is missing, seen from this process: its user, its PATH, its Python."""
    if parsed.supervisor.address is not None and config.settings.address is not None:
        why = _no_address(config.settings.address)
        if why is not None:
            yield Problem(("supervisor", "address"), why)
    if config.settings.journal is not None:
        why = _unwritable(config.settings.journal) or _no_journal(config.settings.journal)
        if why is not None:
            yield Problem(("supervisor", "journal"), why)
    specs = iter(config.programs)  # one for each process, in the order of the file
    for path, table in parsed.programs:
        for spec in islice(specs, table.numprocs):
            yield from _program(path, spec)
    for path, step in _steps(parsed):
        chosen: Any = step
        if chosen.do == "exec":
            why = _missing(chosen.command[0], None, None)
            if why is not None:
                yield Problem((*path, "command"), why)
    yield from _imports(parsed, config)
    yield from _services(config)


def _program(path: KeyPath, spec: ProgramSpec) -> Iterator[Problem]:
    search = dict(spec.environment).get("PATH")
    if spec.directory is not None and not os.path.isdir(spec.directory):
        yield Problem((*path, "cwd"), f"there is no directory {quoted(spec.directory, 200)}")
    elif spec.command:  # empty: it had a fault
        why = _missing(spec.command[0], spec.directory, search)
        if why is not None:
            yield Problem((*path, "command"), why)
    if spec.user is not None:
        yield from _user(path, spec.user, spec, search)
    if spec.log is not None:
        why = _unwritable(spec.log)
        if why is not None:
            yield Problem((*path, "log"), why)


def _missing(command: str, directory: str | None, search: str | None) -> str | None:
    """Why the command cannot be started; None: it can."""
    if "/" not in command:
        if shutil.which(command, path=search) is None:
            return f"no command {quoted(command)} is found on the PATH"
        return None
    file = os.path.normpath(os.path.join(directory or os.getcwd(), command))
    if not os.path.exists(file):
        return f"there is no file {quoted(file, 200)}"
    if not os.path.isfile(file) or not os.access(file, os.X_OK):
        return f"{quoted(file, 200)} cannot be executed"
    return None


def _user(path: KeyPath, name: str, spec: ProgramSpec, search: str | None) -> Iterator[Problem]:
    try:
        user = rights.who(name)
    except (KeyError, ValueError):
        yield Problem((*path, "user"), f"there is no user {quoted(name)} on this host")
        return
    if os.geteuid() not in (0, user.uid):
        yield Problem((*path, "user"), f"only root may start a program as {quoted(name)}")
    elif os.geteuid() != user.uid:
        yield from _rights(path, user, spec, search)


def _rights(path: KeyPath, user: Who, spec: ProgramSpec, search: str | None) -> Iterator[Problem]:
    """Whether the user may do what the process needs first; that all is there has been looked at already."""
    directory = spec.directory
    if directory is not None and os.path.isdir(directory):
        obstacle = rights.obstacle(user, directory)
        if obstacle is not None:
            yield Problem((*path, "cwd"), _denied(user, "enter", directory, obstacle))
            return
    files = _files(spec.command[0], directory, search) if spec.command else []
    obstacles = [rights.obstacle(user, file) for file in files]
    if files and None not in obstacles:
        yield Problem((*path, "command"), _denied(user, "execute", files[0], obstacles[0] or files[0]))


def _denied(user: Who, what: str, path: str, obstacle: str) -> str:
    why = "" if obstacle == path else f": it may not enter {quoted(obstacle, 200)}"
    return f"user {quoted(user.name)} may not {what} {quoted(path, 200)}{why}"


def _files(command: str, directory: str | None, search: str | None) -> list[str]:
    """The files that may be what the command names."""
    if "/" in command:
        files = [os.path.normpath(os.path.join(directory or os.getcwd(), command))]
    else:
        path = os.environ.get("PATH", os.defpath) if search is None else search
        files = [os.path.join(each, command) for each in path.split(os.pathsep)]
    return [file for file in files if os.path.isfile(file) and os.access(file, os.X_OK)]


def _no_address(given: str) -> str | None:
    """Why a supervisor of this process's user cannot have this address, as it would say itself; None: it can."""
    if given.startswith("tcp://"):
        return "feeds over tcp must be encrypted, which this version cannot do yet; give a directory"
    try:
        directory = address.resolve(given).directory or ""
    except AddressRefused:
        return None  # reported already
    name = quoted(directory, 200)
    try:
        found = os.lstat(directory)
    except (FileNotFoundError, NotADirectoryError):
        return _unmakable(directory)
    except OSError as fault:
        return f"the directory {name} cannot be used: {fault.strerror}"
    if not stat.S_ISDIR(found.st_mode):
        return f"{name} is not a directory; the address of a supervisor is one"
    if found.st_uid != os.geteuid():
        return f"the directory {name} belongs to user {found.st_uid}, not to you; choose one of your own"
    if found.st_mode & 0o077:
        mode = f"{found.st_mode & 0o777:04o}"
        return (
            f"the directory {name} is open to others (mode {mode}); make it 0700, or name one that does not exist"
        )
    return None


def _unmakable(directory: str) -> str | None:
    """Why a directory that does not exist cannot be made; None: it can."""
    above = os.path.dirname(directory)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        return f"the directory {quoted(directory, 200)} cannot be made: {quoted(above, 200)} is not a directory"
    if not os.access(above, os.W_OK | os.X_OK):
        return f"the directory {quoted(directory, 200)} cannot be made: {quoted(above, 200)} cannot be written to"
    return None


def _unwritable(file: str) -> str | None:
    """Why the file cannot be written; None: it can. Nothing is created."""
    directory = os.path.dirname(file)
    try:
        kind = os.stat(file).st_mode
    except OSError:
        if not os.path.isdir(directory):
            return f"there is no directory {quoted(directory, 200)}"
        if not os.access(directory, os.W_OK | os.X_OK):
            return f"the directory {quoted(directory, 200)} cannot be written to"
        return None
    if stat.S_ISDIR(kind):
        return f"{quoted(file, 200)} is a directory; a file is needed"
    return None if os.access(file, os.W_OK) else f"{quoted(file, 200)} cannot be written to"


def _no_journal(file: str) -> str | None:
    """Why the supervisor will not take the file for its journal; None: it will."""
    with contextlib.suppress(OSError):
        if schema.foreign(file):
            return f"{quoted(file, 200)} is no journal; name a file that does not exist yet"
    return None


def _steps(parsed: Parsed) -> Iterator[tuple[KeyPath, StepFields]]:
    """Every step of the file with its place."""
    watched: list[tuple[KeyPath, WatchFields]] = [*parsed.watchdogs, *parsed.programs]
    for path, table in watched:
        yield from (((*path, "ladder", place), step) for place, step in enumerate(table.ladder) if step)
        given_up = table.on_give_up
        if isinstance(given_up, list):
            yield from (((*path, "on_give_up", place), step) for place, step in enumerate(given_up) if step)
        elif given_up is not None:
            yield (*path, "on_give_up"), given_up
    for path, group in parsed.groups:
        yield from (((*path, "ladder", place), step) for place, step in enumerate(group.ladder) if step)


def _imports(parsed: Parsed, config: Config) -> Iterator[Problem]:
    wanted: dict[KeyPath, Wanted] = {}
    wanted.update((("callbacks", name), Wanted(target, False)) for name, target in parsed.callbacks.items())
    wanted.update((("actions", name), Wanted(target, True)) for name, target in parsed.actions.items())
    if not wanted:
        return
    faults = importing.trial(wanted.values(), config.directory)
    for path, each in wanted.items():
        if each in faults:
            yield Problem(path, f"{quoted(each.target)} {faults[each]}")


def _services(config: Config) -> Iterator[Problem]:
    """Whether apprise is there and takes every URL. It logs URLs that it refuses, so its log is off."""
    if not config.notify:
        return
    if importlib.util.find_spec("apprise") is None:
        yield Problem(("notify",), "needs apprise: in a checkout of banken, pip install '.[notify]'")
        return
    logger = logging.getLogger("apprise")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about apprise's own insides, some only when a URL is looked at
            yield from _refused_urls(config)
    except Exception as fault:  # noqa: BLE001  # another's code with another's input; its text may hold the URL
        yield Problem(("notify",), f"apprise failed with {type(fault).__name__}")
    finally:
        logger.setLevel(level)


def _refused_urls(config: Config) -> list[Problem]:
    apprise: Any = importlib.import_module("apprise")
    return [
        Problem(
            ("notify", name),
            f"apprise does not take URL {place} of {len(urls)}; see https://appriseit.com/services/",
        )
        for name, urls in config.notify
        for place, url in enumerate(urls, 1)
        if not apprise.Apprise().add(url.reveal())
    ]
