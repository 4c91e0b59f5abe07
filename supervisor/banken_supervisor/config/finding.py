"""Where the config file is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from banken_supervisor.config.faults import ConfigFaults, Fault
from banken_supervisor.files.trusted_files import doubt_about_code

NAME = "banken.toml"
SYSTEM = Path("/etc/banken") / NAME


def find(
    explicit: str | os.PathLike[str] | None = None, environment: Mapping[str, str] | None = None
) -> Path | None:
    """The config file to use; None: there is none.

    ``explicit`` (``-c``), else ``$BANKEN_CONFIG``, else the first of ``places()`` that exists. What was named is
    returned whether it exists or not: to pass over it in silence would run with another file than was meant.
    ConfigFaults: another user made that file, or may write or replace it, and nobody named it.
    """
    source = os.environ if environment is None else environment
    named = explicit if explicit is not None else source.get("BANKEN_CONFIG") or None
    if named is not None:
        return Path(os.path.expanduser(named))
    found = next((place for place in places(source) if os.path.lexists(place)), None)
    if found is not None and (why := doubt_about_code(found)) is not None:
        text = f"{why}, and it says which commands are run: name it with -c if you mean it, or remove it"
        raise ConfigFaults([Fault(str(found), None, "", text)])
    return found


def places(environment: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Where a config file is looked for when none is named, in this order."""
    source = os.environ if environment is None else environment
    home = source.get("XDG_CONFIG_HOME") or os.path.join(source.get("HOME") or os.path.expanduser("~"), ".config")
    return Path(NAME), Path(home) / "banken" / NAME, SYSTEM
