"""The files that make systemd run the supervisor: a unit, directories, a first config."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from banken.address import LOGINS

NOTIFY_RELOAD, RESTART_STEPS = 253, 254
"""Versions of systemd from which on there are ``Type=notify-reload``, and ``RestartSteps=``."""

ENV, KILL = "/usr/bin/env", "/bin/kill"

ASK_S = 5.0
"""Seconds that systemd may take to say its version."""

MARK = "# Written by `banken install`, which replaces it as long as nobody changes it: "
SUM_LENGTH = 32
"""Characters of the checksum in that line."""

_plain = re.compile(r"[A-Za-z0-9_./:@+=-]+")


@dataclass(frozen=True, slots=True)
class UnitFile:
    """One file to be written. ``keep``: where there is one already, that stays, whoever wrote it."""

    path: Path
    text: str
    keep: bool = False


def systemd_version() -> int | None:
    """Of this host; None: there is no systemd."""
    if (systemctl := shutil.which("systemctl")) is None:
        return None
    try:
        said = subprocess.run(  # noqa: S603  # what the PATH has
            [systemctl, "--version"], capture_output=True, text=True, timeout=ASK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"systemd (\d{1,5})", said.stdout)
    return None if found is None else int(found[1])


def own_command() -> list[str]:
    """What starts this banken again."""
    script = os.path.join(os.path.dirname(sys.executable), "banken")
    return [script] if os.access(script, os.X_OK) else [sys.executable, "-m", "banken_supervisor"]


def system_files(root: Path, version: int | None, command: list[str]) -> list[UnitFile]:
    """For the whole host, as root. ``root``: the directory that will be /."""
    config = "/etc/banken/banken.toml"
    service = {"RuntimeDirectory": "banken", "StateDirectory": "banken", "StateDirectoryMode": "0700"}
    directories = [
        "d /run/banken 0700 root root -",
        "d /run/banken.users 0711 root root -",
        "d /var/lib/banken 0700 root root -",
    ]
    return [
        _marked(root / "etc/systemd/system/banken.service", unit(command, config, version, service, "multi-user")),
        _marked(root / "etc/tmpfiles.d/banken.conf", "\n".join(directories)),
        UnitFile(root / config.lstrip("/"), FIRST_CONFIG, keep=True),
    ]


def user_files(environment: Mapping[str, str], version: int | None, command: list[str]) -> list[UnitFile]:
    """For one user: it runs with that user's systemd."""
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    config = Path(home) / "banken" / "banken.toml"
    # Its journal is in ~/.local/state/banken, which it makes: StateDirectory is another place before systemd 254.
    text = unit(command, str(config), version, {"RuntimeDirectory": "banken"}, "default")
    return [
        _marked(Path(home) / "systemd/user/banken.service", text),
        _marked(Path(home) / "user-tmpfiles.d/banken.conf", "d %t/banken 0700 - - -"),
        UnitFile(config, FIRST_CONFIG, keep=True),
    ]


SYSTEM_PLACES = "/run/banken", "/var/lib/banken/journal.db"
"""The address and the journal of the system's unit."""


def user_places(environment: Mapping[str, str], uid: int) -> tuple[str, str]:
    """The address and the journal of a user's unit. Its runtime directory is its systemd's, and not that of the
    shell in which it was written, which may have none."""
    state = environment.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(LOGINS, str(uid), "banken"), os.path.join(state, "banken", "journal.db")


def unit(command: list[str], config: str, version: int | None, more: Mapping[str, str], target: str) -> str:
    """The text of the unit. ``version``: of systemd, None: a new one. ``more``: further settings of the service."""
    of = NOTIFY_RELOAD if version is None else version
    first = [] if _plain.fullmatch(command[0]) else [ENV]  # systemd takes no other characters in the program's path
    start = " ".join(_word(each) for each in (*first, *command, "run", "-c", config))
    service = {
        # Ready, turning, reloading, stopping: its loop says so itself.
        "Type": "notify-reload" if of >= NOTIFY_RELOAD else "notify",
        "ExecStart": start,
        **({} if of >= NOTIFY_RELOAD else {"ExecReload": f"{KILL} -HUP $MAINPID"}),
        "NotifyAccess": "main",
        "WatchdogSec": "30s",
        "Restart": "always",
        "RestartSec": "1s",
        **({"RestartSteps": "6", "RestartMaxDelaySec": "1min"} if of >= RESTART_STEPS else {}),
        "KillMode": "process",
        "OOMPolicy": "continue",
        "RuntimeDirectoryMode": "0700",
        "RuntimeDirectoryPreserve": "yes",
        **more,
    }
    lines = [f"{key}={value}" for key, value in service.items()]
    return UNIT.format(service="\n".join(lines), target=target)


def _word(text: str) -> str:
    """One word of a command in a unit, see systemd.service(5)."""
    text = text.replace("%", "%%").replace("$", "$$")
    if _plain.fullmatch(text.replace("%", "").replace("$", "")):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


UNIT = """\
[Unit]
Description=banken, a watchdog for many processes
# However often it fails, it is started again.
StartLimitIntervalSec=0

[Service]
# KillMode: programs outlive the supervisor, and the next one adopts them.
# OOMPolicy: if one of them is killed for want of memory, the supervisor is not stopped with it.
# RuntimeDirectoryPreserve: what it knows of running programs stays.
{service}

[Install]
WantedBy={target}.target
"""

FIRST_CONFIG = """\
# The config of banken. Put your programs and watchdogs here, then `banken reload`;
# `banken config example` shows what may stand here, `banken config check` what is wrong.
[supervisor]
"""


def _marked(path: Path, text: str) -> UnitFile:
    text = text if text.endswith("\n") else text + "\n"
    return UnitFile(path, f"{MARK}{_sum(text)}\n{text}")


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:SUM_LENGTH]


def is_ours(text: str) -> bool:
    """Whether ``banken install`` wrote it, and nobody has changed it since."""
    first, _, rest = text.partition("\n")
    return first == MARK + _sum(rest)
