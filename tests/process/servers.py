"""Real servers that never heard of banken, as programs of one supervisor: redis, memcached and PostgreSQL."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from process.kit import until
from process.ladder_kit import LONG, House

NAMES = ("redis-server", "memcached", "postgres")


def binary(name: str) -> str | None:
    """The server's program; None: it is not installed. Debian has PostgreSQL's beside the path."""
    found = shutil.which(name)
    return found or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None)


def refused(name: str) -> str | None:
    """Why this server cannot run here; None: it can."""
    if binary(name) is None:
        return f"{name} is not installed; .ci/run installs it"
    return "PostgreSQL refuses root" if name == "postgres" and os.geteuid() == 0 else None


def prepared(name: str, place: Path) -> tuple[list[str], Path]:
    """Its command, and the socket at which it serves. ``place``: a directory that exists."""
    program, path = binary(name), place / "server"
    assert program is not None
    if name == "redis-server":
        return [program, "--port", "0", "--save", "", "--unixsocket", str(path)], path
    if name == "memcached":
        return [program, *(["-u", "root"] if os.geteuid() == 0 else []), "-s", str(path)], path
    data = place / "data"
    initdb = [
        os.path.join(os.path.dirname(os.path.realpath(program)), "initdb"),
        "-D",
        data,
        "-A",
        "trust",
        "-N",
        "--locale",
        "C",
    ]
    subprocess.run(initdb, check=True, capture_output=True, timeout=LONG * 2)
    return [program, "-D", str(data), "-k", str(place), "-h", "", "-F"], place / ".s.PGSQL.5432"


def serves(path: Path) -> bool:
    """Whether it takes connections."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def table(kind: str, name: str, **keys: object) -> str:
    """A table of the config; JSON is TOML for what is used here but tables in tables."""
    lines = [f"{key} = {value if isinstance(value, str) else json.dumps(value)}" for key, value in keys.items()]
    return "\n".join([f"[[{kind}]]", f'name = "{name}"', *lines, ""])


def noticed_within(house: House, name: str) -> tuple[float, float]:
    """kill -9 of a program's process: seconds until its incident was published, and until it was heard of here."""
    pid = until(lambda: house.program(name)["pid"], f"{name} runs", LONG)
    events = house.events()
    wall, began = time.time(), time.monotonic()
    os.kill(pid, signal.SIGKILL)
    found = events.until(LONG, "expired", name)
    assert found["cause"] == "exited"
    events.close()
    return found["time"] - wall, found["heard"] - began


def runs_again(house: House, name: str) -> None:
    """Wait until it runs."""
    until(lambda: house.program(name)["state"] == "running", f"{name} runs again", LONG)


def end(house: House) -> None:
    """Close the house, and end its programs: redis hides the environment by which others are found."""
    ran = hasattr(house, "run_by")
    pids = [row["pid"] for row in house.ask("programs")["rows"] if row["pid"]] if ran else []
    house.close()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
