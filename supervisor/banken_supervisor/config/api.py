"""What others call: load, examine, and the example."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Iterable
from importlib import resources
from pathlib import Path

from banken_supervisor.config import building, deep, parsing, reading, semantics
from banken_supervisor.config.faults import ConfigFaults, Fault, Problem
from banken_supervisor.config.lines import placed
from banken_supervisor.config.reading import Unreadable
from banken_supervisor.config.settings import Config
from banken_supervisor.files.trusted_files import doubt_about_code


def load(path: str | os.PathLike[str], *, callbacks: Collection[str] = ()) -> Config:
    """The config in the file, whole; ConfigFaults has all that is wrong with it.

    ``callbacks``: names that the caller binds itself (``Supervisor.callback``), besides the file's [callbacks].
    Nothing is run and nothing imported; files are read only for secrets.
    """
    config, faults = examine(path, callbacks=callbacks, thorough=False)
    if faults or config is None:
        raise ConfigFaults(faults)
    return config


def examine(
    path: str | os.PathLike[str],
    *,
    callbacks: Collection[str] = (),
    thorough: bool = True,
    more: Callable[[Config], Iterable[Problem]] = lambda config: (),
) -> tuple[Config | None, list[Fault]]:
    """(what could be made of the file, what is wrong with it). None: nothing. A Config beside faults has gaps.

    ``thorough``: also with what it needs: commands, directories, users, and modules, which are imported in
    processes of their own with a time limit (``deep``). ``more``: finds what else is wrong.
    """
    source = Path(path)
    absolute = Path(os.path.abspath(source))
    try:
        text = reading.read(source)
        data = reading.parse(text)
    except Unreadable as fault:
        return None, placed(source, "", [Problem((), *fault.args)])
    parsed, found = parsing.parse(data, str(absolute.parent))
    found.extend(semantics.problems(parsed, callbacks))
    config = building.build(absolute, parsed, empty=not data)
    doubts = placed(source, text, semantics.doubts(parsed))
    if (why := doubt_about_code(source)) is not None:  # it was named, so it is meant: `find` refuses others
        doubts.insert(0, Fault(str(source), None, "", f"{why}, and it says which commands are run"))
    else:
        doubts += _modules_of_others(config)
    config = dataclasses.replace(config, warnings=tuple(doubts))
    if thorough:
        found.extend(deep.problems(parsed, config))
    found.extend(more(config))
    return config, placed(source, text, found)


def _modules_of_others(config: Config) -> list[Fault]:
    """Warnings of modules beside the file that another user made, or may write or replace."""
    targets = [target for _, target in (*config.callbacks, *config.actions)]
    modules = sorted({target.partition(":")[0].partition(".")[0] for target in targets})
    found = [
        os.path.join(config.directory, *parts)
        for each in modules
        for parts in ((f"{each}.py",), (each, "__init__.py"))
    ]
    return [
        Fault(path, None, "", f"{why}, and its code is run") for path in found if (why := doubt_about_code(path))
    ]


def example() -> str:
    """A commented file that has no fault anywhere."""
    return resources.files("banken_supervisor.config").joinpath("example.toml").read_text(encoding="utf-8")
