"""``exec``: run a command; exit status 0 is a pass. Or a plugin of Nagios, whose statuses say more."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from banken_supervisor.actions import options
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.outcome import TEXT_MAX, Outcome, joined
from banken_supervisor.checks.progress import Progress
from banken_supervisor.checks.subject import Subject
from banken_supervisor.engine.exit_status import exit_text
from banken_supervisor.files.users import find_user
from banken_supervisor.text.quoting import quoted
from banken_supervisor.text.sanitize import last_lines, line, redact

ARGUMENTS_MAX = 256

NAME_MAX = 100
"""Characters of the command's name in a reason."""

LINES = 3
"""Last lines of the output that say why."""

_NAGIOS = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}

_command = partial(options.command, most=ARGUMENTS_MAX)


def _user(name: str) -> str:
    try:
        find_user(name)
    except LookupError:
        raise ValueError(f"{quoted(name)} is no user of this host") from None
    return name


class Exec(CheckFields):
    """Exit status 0."""

    kind: ClassVar[str] = "exec"

    exec: Annotated[tuple[str, ...], *options.kind(_command, options.COMMAND)] = Field(
        description="The program and its arguments; no shell runs it."
    )
    user: Annotated[str, AfterValidator(_user)] | None = Field(None, description="As whom it runs.")
    env: Annotated[dict[str, str], *options.variables()] = Field(
        {}, repr=False, description="Variables that it gets; ${NAME} is taken from the supervisor's environment."
    )
    cwd: options.PathField = Field("/", description="Where it runs.")
    nagios: bool = Field(
        False,
        description="A plugin of Nagios: status 1 is a warning, and passes; its first line says why.",
    )

    @property
    def label(self) -> str:
        return f"exec {' '.join(self.exec)}"[:120]

    @property
    def hidden(self) -> tuple[str, ...]:
        """Values of the environment may be secrets."""
        return tuple(value for value in self.env.values() if len(value) > 3)

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """Run it. Its end is awaited, not that of what it leaves behind, which is killed."""
        from banken_supervisor.checks.blocking import reach
        from banken_supervisor.checks.command import Command, run_command

        progress.text = f"the file system of {self.exec[0]}, or of {self.cwd}, does not answer"
        paths = [self.cwd] if self.cwd != "/" else []  # that one answers: no thread for it
        paths += [os.path.join(self.cwd, self.exec[0])] if "/" in self.exec[0] else []
        await reach(*paths)
        progress.text = f"{self.exec[0]} has not ended"
        seen = await run_command(Command(self.exec, self.limit, self.user, self.env, self.cwd), subject)
        if seen.status is None:
            return Outcome(False, seen.output)
        if self.nagios:
            return _nagios(self.exec[0], seen.status, seen.output)
        ended = f"{line(self.exec[0], NAME_MAX)}: {exit_text(seen.status)}"
        lines = last_lines(redact(seen.output, self.hidden), LINES)  # a secret is hidden before it may be cut
        said = f": {joined(lines, TEXT_MAX - len(ended) - 2)}" if lines else ""
        return Outcome(seen.status == 0, f"{ended}{said}")


def _nagios(command: str, status: int, output: str) -> Outcome:
    """Its first line, without the figures for graphs that follow a ``|``."""
    first = next((each for each in output.splitlines() if each.strip()), "").partition("|")[0].strip()
    word = _NAGIOS.get(status)
    if word is None:
        said = f": {first}" if first else ""
        return Outcome(False, f"{command}: {exit_text(status)} is none of a plugin{said}")
    return Outcome(status <= 1, first if word in first else f"{word}{': ' if first else ''}{first}")
