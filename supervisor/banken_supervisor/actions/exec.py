"""``exec``: run a command, with the incident in its environment and as JSON on its stdin.

A list of arguments and never a shell. The command leads a session of its own; one that takes too long is ended with
all that it started, whatever session that is in. What a command that ends in time leaves behind runs on: it may
have restarted a service. The end of the incident does not end the command: an unfinished repair is
worse than an unneeded one.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from functools import partial
from typing import IO, Annotated, Any, ClassVar

from pydantic import Field

from banken_supervisor.actions import incident_text, options
from banken_supervisor.actions.base import Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.actions.running_command import TERM_S, RunningCommand
from banken_supervisor.engine.exit_status import exit_text, signal_name
from banken_supervisor.processes.command_words import why_not
from banken_supervisor.text.sanitize import line

OUTPUT_MAX = 64 * 1024
"""Bytes of output that are kept, stdout and stderr together."""

ARGUMENTS_MAX = 256

NAMED_MAX = 10
"""Processes that are named where they got away."""

DRAIN_S = 0.5
"""Seconds that output is read after the command's end: a process that it forked may hold the pipe for ever."""


_command = partial(options.command, most=ARGUMENTS_MAX)
_output_max = partial(options.size, most=256 * 1024, shown="256 KiB")


class Exec(Action, options.Table):
    """Run a command, the incident in its environment and as JSON on its stdin."""

    name: ClassVar[str] = "exec"
    outside: ClassVar[bool] = True

    command: Annotated[tuple[str, ...], *options.kind(_command, options.COMMAND)] = Field(
        description="The program and its arguments; no shell runs it."
    )
    env: Annotated[dict[str, str], *options.variables()] = Field(
        {},
        repr=False,
        description="Variables that it gets; ${NAME} is taken from the supervisor's environment. Of those that the "
        "file's secrets are read from it gets no others.",
    )
    timeout: Annotated[float, *options.seconds(0.1, 3600)] = Field(
        30.0, description="Then it and all that it started are killed."
    )
    output_max: Annotated[int, *options.kind(_output_max, options.SIZE)] = Field(
        OUTPUT_MAX, description="How much of its output is kept; at most 256KiB."
    )

    def model_post_init(self, context: Any, /) -> None:
        self.__dict__["limit_s"] = self.timeout + TERM_S + DRAIN_S + 10

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        """Run it until it ends or its time is over. Exit status 0 is success."""
        with _input(json.dumps(incident_text.facts(target)).encode() + b"\n") as stdin:
            environment = incident_text.environment(target, self.env, context.withheld)
            try:
                # The operator's own command, from the config only.
                started = RunningCommand.start(
                    self.command,
                    self.output_max,
                    environment,
                    stdin=stdin,
                    stderr=subprocess.STDOUT,
                )
            except OSError as fault:
                why = why_not(self.command, fault, environment, None)
                return Outcome(False, f"{self.command[0]!r} cannot be started: {why}")
        with started as running:
            return self._outcome(running)

    def _outcome(self, running: RunningCommand) -> Outcome:
        timed_out = not running.wait(self.timeout)
        if timed_out:
            running.kill()
        running.drain(DRAIN_S)
        code = running.reap()
        output = running.output.text()
        data = {"timed_out": timed_out, "output": output, "output_bytes": running.output.total}
        command = self.command[0]
        if code is None and running.is_lost:
            why = "the program that this supervisor is in has collected it, or ignores SIGCHLD"
            return Outcome(False, f"{command} has ended, and how is not known: {why}", data)
        if code is None:
            return Outcome(False, f"{command} outlived SIGKILL after its {self.timeout:g} s", data)
        if running.got_away:
            left = ", ".join(running.got_away[:NAMED_MAX])
            text = (
                f"{command} took longer than {self.timeout:g} s and was killed, but not all that it started: {left}"
            )
            return Outcome(False, text, data)
        data |= {"status": code} if code >= 0 else {"signal": signal_name(-code)}
        if timed_out:
            return Outcome(False, f"{command} took longer than {self.timeout:g} s and was killed", data)
        last = line(output.strip().rpartition("\n")[2], 200) if code else ""
        return Outcome(code == 0, f"{command}: {exit_text(code)}{': ' if last else ''}{last}", data)


def _input(data: bytes) -> IO[bytes]:
    """A file that holds ``data``, in memory where the system can: a pipe would be filled while it is read."""
    memory = hasattr(os, "memfd_create")
    file = os.fdopen(os.memfd_create("incident"), "w+b") if memory else tempfile.TemporaryFile()  # noqa: SIM115
    file.write(data)
    file.seek(0)
    return file
