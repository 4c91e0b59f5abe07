"""``systemd``: a unit is active and has not failed, by systemctl's word."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import Field

from banken.process_identity import process_start
from banken_supervisor.actions import options
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.outcome import TEXT_MAX, Outcome, joined
from banken_supervisor.checks.progress import Progress
from banken_supervisor.checks.subject import Subject
from banken_supervisor.text.quoting import quoted
from banken_supervisor.text.sanitize import last_lines

PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "MainPID", "StatusText", "NRestarts")

_unit = re.compile(
    r"[A-Za-z0-9:_.\\@-]{1,240}\.(?:service|socket|timer|mount|automount|target|path|swap|slice|scope)"
)
_number = re.compile(r"\d{1,10}", re.ASCII)


def unit(value: object) -> str:
    """The name of a unit; without an ending, of a service."""
    given = options.text(value, longest=255, what="the name of a unit")
    full = given if "." in given else f"{given}.service"
    if full.startswith("-") or not _unit.fullmatch(full):
        raise ValueError(f'{quoted(given)} is no name of a unit; allowed is one such as "postgresql.service"')
    return full


class Systemd(CheckFields):
    """Active, and not failed."""

    kind: ClassVar[str] = "systemd"

    systemd: Annotated[str, *options.kind(unit, options.STRING)] = Field(description="The unit.")
    user: bool = Field(False, description="Of the user's own manager.")

    @property
    def label(self) -> str:
        return f"systemd {self.systemd}"

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """Ask systemctl for its properties."""
        from banken_supervisor.checks.command import Command, run_command

        progress.text = "systemctl has not answered"
        manager = ("--user",) if self.user else ()
        properties = f"--property={','.join(PROPERTIES)}"
        command = ("systemctl", *manager, "show", properties, "--", self.systemd)
        seen = await run_command(Command(command, self.limit), subject)
        if seen.status != 0:
            said = joined(last_lines(seen.output, 2), TEXT_MAX)
            return Outcome(False, said or f"systemctl: exit status {seen.status}")
        found = dict(line.partition("=")[::2] for line in seen.output.splitlines() if "=" in line)
        return self._judge(found)

    def _judge(self, found: dict[str, str]) -> Outcome:
        load, active, sub = (found.get(key, "") for key in ("LoadState", "ActiveState", "SubState"))
        if load != "loaded":
            return Outcome(False, f"{self.systemd} is {load or 'not known'}")
        said = f": {found['StatusText']}" if found.get("StatusText") else ""
        if active not in ("active", "reloading"):
            result = found.get("Result", "success")
            why = "" if result == "success" else f", by {result}"
            return Outcome(False, f"{self.systemd} is {active} ({sub}){why}{said}")
        number = found.get("MainPID", "")
        pid = int(number) if _number.fullmatch(number) else 0
        start = process_start(pid) if pid else 0
        return Outcome(True, f"{active} ({sub}){said}", process=(pid, start) if start else None)
