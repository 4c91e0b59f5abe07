"""Checks of what the config needs from the system: commands, directories, users, modules, notification services."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import stat
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

from banken import address
from banken.errors import AddressRefused
from banken_supervisor.checks.exec import Exec
from banken_supervisor.config import certificates, importing
from banken_supervisor.config.faults import KeyPath, Problem
from banken_supervisor.config.importing import Wanted
from banken_supervisor.config.models import GroupTable, ProgramTable, WatchdogTable, WatchFields
from banken_supervisor.config.parsing import Parsed
from banken_supervisor.config.settings import Config
from banken_supervisor.config.steps import StepFields
from banken_supervisor.config.upward import key_fault
from banken_supervisor.engine.policy import ProcessAttributes, ProgramSpec
from banken_supervisor.files.users import find_user, may_run_as, obstacle
from banken_supervisor.journal import schema
from banken_supervisor.processes import launch
from banken_supervisor.processes.child_environment import LOGIN_PATH
from banken_supervisor.processes.command_words import interpreter_fault
from banken_supervisor.processes.environment_file import variables_of
from banken_supervisor.text.quoting import quoted


def problems(parsed: Parsed, config: Config) -> Iterator[Problem]:
    """All that is missing, seen from this process: its user, its PATH, its Python."""
    address_, journal = config.settings.address, config.settings.journal
    if address_ is not None:
        yield from _problem(("supervisor", "address"), _no_address(address_))
    if journal is not None:
        yield from _problem(("supervisor", "journal"), _unwritable(journal) or _no_journal(journal))
    tried: dict[ProcessAttributes, str | None] = {}
    specs = iter(config.programs)  # one for each process, in the order of the file
    for path, table in parsed.programs:
        for spec in islice(specs, table.numprocs):
            yield from _program(path, spec)
            yield from _attributes(path, spec.attributes, tried)
            if spec.user is not None and table.timeout is not None:
                yield from _problem((*path, "timeout"), _cannot_feed(spec.user, address_))
    for path, step in _steps(parsed):
        chosen: Any = step
        if chosen.do == "exec":
            command = chosen.command[0]
            yield from _problem((*path, "command"), _missing(command, None, _executables(command, None, None)))
    for path, check in _commands_of_checks(parsed):
        if not may_run_as(check.user):
            yield Problem((*path, "user"), f"only root may run a command as {quoted(check.user)}")
        if not os.path.isdir(check.cwd):
            yield Problem((*path, "cwd"), f"there is no directory {quoted(check.cwd, 200)}")
        else:
            files = _executables(check.exec[0], check.cwd, dict(check.env).get("PATH"))
            yield from _problem((*path, "exec"), _missing(check.exec[0], check.cwd, files))
    yield from _imports(parsed, config)
    yield from _services(config)
    if config.cluster is not None:
        yield from (Problem(("cluster", key), why) for key, why in certificates.faults(config.cluster))
    if config.upward is not None:
        yield from _problem(("upward", "key"), key_fault(config.upward))


def _problem(path: KeyPath, why: str | None) -> Iterator[Problem]:
    if why is not None:
        yield Problem(path, why)


def _program(path: KeyPath, spec: ProgramSpec) -> Iterator[Problem]:
    directory, files = spec.directory, list[str]()
    environment = {"PATH": LOGIN_PATH} if spec.env_clear else {}
    try:
        environment |= variables_of(spec)
    except ValueError as fault:
        yield Problem((*path, "env_file"), f"{quoted(spec.env_file, 200)} {fault}")
    if spec.command:  # empty: it had a fault
        path_ = (environment | dict(spec.environment)).get("PATH")
        files = _executables(spec.command[0], directory, path_)
    if directory is not None and not os.path.isdir(directory):
        yield Problem((*path, "cwd"), f"there is no directory {quoted(directory, 200)}")
        directory = None
    elif spec.command:
        yield from _problem((*path, "command"), _missing(spec.command[0], directory, files))
    if spec.user is not None:
        yield from _user(path, spec, directory, files)
    if spec.log is not None:
        yield from _problem((*path, "log"), _unwritable(spec.log))


def _attributes(
    path: KeyPath, attributes: ProcessAttributes | None, tried: dict[ProcessAttributes, str | None]
) -> Iterator[Problem]:
    """What a process of this one's cannot have. ``tried``: what is known already."""
    for key in ("nice", "oom_score_adj", "rlimits"):
        one = ProcessAttributes(**{key: getattr(attributes, key)})
        if one not in tried:
            tried[one] = launch.refused(one)
        yield from _problem((*path, key), tried[one])


def _executables(command: str, directory: str | None, search: str | None) -> list[str]:
    """The files that the command may name. ``search``: the PATH; None: that of this process."""
    path = os.environ.get("PATH", os.defpath) if search is None else search
    folders = [directory or os.getcwd()] if "/" in command else path.split(os.pathsep)
    files = [os.path.normpath(os.path.join(each, command)) for each in folders]
    return [file for file in files if os.path.isfile(file) and os.access(file, os.X_OK)]


def _missing(command: str, directory: str | None, files: list[str]) -> str | None:
    """Why the command, which names these files, cannot be started; None: it can."""
    if files:
        why = interpreter_fault(files[0])  # the first on the PATH is the one that is run
        return None if why is None else f"{quoted(files[0], 200)} cannot be run: {why}"
    if "/" not in command:
        return f"no command {quoted(command)} is found on the PATH"
    file = os.path.normpath(os.path.join(directory or os.getcwd(), command))
    if not os.path.exists(file):
        return f"there is no file {quoted(file, 200)}"
    return f"{quoted(file, 200)} cannot be executed"


def _user(path: KeyPath, spec: ProgramSpec, directory: str | None, files: list[str]) -> Iterator[Problem]:
    """Whether the program may be started as its user, who may do what its process needs first."""
    name = spec.user or ""
    try:
        user = find_user(name)
    except LookupError:
        yield Problem((*path, "user"), f"there is no user {quoted(name)} on this host")
        return
    if os.geteuid() == user.pw_uid:
        return
    if not may_run_as(name):
        yield Problem((*path, "user"), f"only root may start a program as {quoted(name)}")
        return
    if directory is not None and (closed := obstacle(user, directory)) is not None:
        yield Problem((*path, "cwd"), _denied(name, "enter", directory, closed))
        return
    obstacles = [obstacle(user, file) for file in files]
    if files and None not in obstacles:
        yield Problem((*path, "command"), _denied(name, "execute", files[0], obstacles[0] or files[0]))


def _cannot_feed(name: str, given: str | None) -> str | None:
    """Why a program that runs as this user cannot feed a supervisor at the ``given`` address; None: it can."""
    try:
        user = find_user(name)
        directory = address.resolve(given).directory
        if user.pw_uid == os.geteuid() or directory is None:
            return None
        theirs = address.resolve(address.directory_of_user(directory, user.pw_uid)).text
    except LookupError:
        return None  # that is a fault of its own
    except AddressRefused as fault:
        return f"user {quoted(name)} cannot feed: {fault}"
    closed = obstacle(user, os.path.dirname(os.path.dirname(theirs)))
    if closed is None:
        return None
    return (
        f"user {quoted(name)} cannot feed: it may not enter {quoted(closed, 200)}, where the supervisor's address "
        f"{quoted(directory, 200)} is. Choose another `address`, or leave `timeout` out (its end is judged all the "
        "same)"
    )


def feeding_directories(config: Config) -> dict[str, str]:
    """By the name or number of each other user that programs run as: where they feed."""
    found = {}
    for spec in config.programs:
        with contextlib.suppress(LookupError, AddressRefused):
            directory = address.resolve(config.settings.address).directory
            if spec.user is not None and directory is not None:
                uid = find_user(spec.user).pw_uid
                if uid != os.geteuid():
                    found[spec.user] = address.directory_of_user(directory, uid)
    return found


def _denied(user: str, what: str, path: str, obstacle: str) -> str:
    why = "" if obstacle == path else f": it may not enter {quoted(obstacle, 200)}"
    return f"user {quoted(user)} may not {what} {quoted(path, 200)}{why}"


def _no_address(given: str) -> str | None:
    """Why a supervisor of this process's user cannot have this address, as it would say itself; None: it can."""
    if given.startswith("tcp://"):
        return "must be a directory; who feeds over tcp is heard by `listen`, with `keys`"
    directory = address.resolve(given).directory or ""
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
    tables: list[tuple[KeyPath, WatchFields | GroupTable]] = [*parsed.watchdogs, *parsed.programs, *parsed.groups]
    for path, table in tables:
        yield from (((*path, "ladder", place), step) for place, step in enumerate(table.ladder) if step)
        if isinstance(table, WatchFields):
            many = isinstance(table.on_give_up, list)
            for place, step in enumerate(table.last_steps):
                if step:
                    yield ((*path, "on_give_up", place) if many else (*path, "on_give_up")), step


def _commands_of_checks(parsed: Parsed) -> Iterator[tuple[KeyPath, Exec]]:
    """Every check that runs a command, with its place."""
    tables: list[tuple[KeyPath, WatchdogTable | ProgramTable]] = [*parsed.watchdogs, *parsed.programs]
    for path, table in tables:
        checks = table.check if isinstance(table.check, list) else [table.check]
        many = isinstance(table.check, list)
        placed = [
            ((*path, "check", place) if many else (*path, "check"), each) for place, each in enumerate(checks)
        ]
        placed.append(((*path, "ready"), getattr(table, "ready", None)))
        yield from ((where, each) for where, each in placed if isinstance(each, Exec))


def _imports(parsed: Parsed, config: Config) -> Iterator[Problem]:
    wanted: dict[KeyPath, Wanted] = {
        **{("callbacks", name): Wanted(target, False) for name, target in parsed.callbacks.items()},
        **{("actions", name): Wanted(target, True) for name, target in parsed.actions.items()},
    }
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
            apprise: Any = importlib.import_module("apprise")
            for name, urls in config.notify:
                for place, url in enumerate(urls, 1):
                    if not apprise.Apprise().add(url.reveal()):
                        text = (
                            f"apprise does not take URL {place} of {len(urls)}; see https://appriseit.com/services/"
                        )
                        yield Problem(("notify", name), text)
    except Exception as fault:  # noqa: BLE001  # another's code with another's input; its text may hold the URL
        yield Problem(("notify",), f"apprise failed with {type(fault).__name__}")
    finally:
        logger.setLevel(level)
