"""One run of ``banken demo``: its processes, what they and the supervisor tell, and that nothing of it remains."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import click

from banken.control import Control
from banken.errors import Unreachable
from banken_supervisor.cli import demo_workers, exit_codes
from banken_supervisor.cli.demo_report import Record
from banken_supervisor.cli.printing import Table, clean, fancy
from banken_supervisor.cli.process import private_directory
from banken_supervisor.operator_client.event_follower import EventFollower
from banken_supervisor.processes import own_modules
from banken_supervisor.text.durations import format_s

START_WITHIN_S = 20.0
LOOK_S = 0.1
"""How long a signal may wait to be seen."""

LEAVE_S = 3.0
"""Seconds that the processes have to end by themselves when their stdin ends, before they are killed."""

SILENT_S = 1.8
"""How long the worker that recovers is silent: past its timeout of a second."""

LOG_TAIL = 2000

COLOURS = {"steady": "green", "hangs": "red", "killed": "magenta", "recovers": "cyan"}
"""The workers', by role."""


class Stage:
    """Everyone who acts, in ``directory``. All have one stdin, at whose end they leave, and one stdout."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stdin, self._leave = os.pipe()
        self.told, self._stdout = os.pipe()
        """``told``: readable when there is something new"""
        os.set_blocking(self.told, False)
        self._rest = b""
        self._log = os.path.join(directory, "log")
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("BANKEN_")}
        self._env["BANKEN_ADDRESS"] = directory

    def enter(self, role: str, *args: float) -> None:
        """Start one process."""
        with open(self._log, "ab") as log:
            # In a session of its own: Ctrl-C in the terminal goes to the demo alone, which sees to the others.
            self.processes[role] = subprocess.Popen(  # noqa: S603  # our own interpreter, our own module
                own_modules.command(demo_workers.__name__, role, *map(str, args)),
                stdin=self._stdin,
                stdout=self._stdout,
                stderr=log,
                env=self._env,
                start_new_session=True,
            )

    def read(self) -> Iterator[dict[str, Any]]:
        """What the processes told since the last call."""
        with contextlib.suppress(BlockingIOError):
            while True:
                *lines, self._rest = (self._rest + os.read(self.told, 65536)).split(b"\n")
                yield from map(json.loads, lines)

    def log_tail(self) -> str:
        """The end of what the processes wrote to stderr."""
        with open(self._log, encoding="utf-8", errors="replace") as file:
            return file.read()[-LOG_TAIL:]

    def clear(self) -> None:
        """End every process."""
        os.close(self._leave)
        until = time.monotonic() + LEAVE_S
        for process in self.processes.values():
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Demo:
    """One run of it."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.hang_after = 0.15 * seconds
        self.kill_after = 0.3 * seconds
        self.silent_after = 0.2 * seconds
        self.silences = int((seconds - 0.5) / (self.silent_after + SILENT_S))
        self.record = Record(demo_workers.TIMEOUT_S)
        self._caught: list[int] = []
        """signals that would end the demo are noted instead, so that nothing is left behind at any point"""
        self._colours = fancy()
        self._began = self._wall_began = 0.0
        self._unshown: list[dict[str, Any]] = []
        """callbacks that ran for a verdict whose event has not come yet"""

    def run(self) -> int:
        """Everything; the exit code. Whatever happens, the stage is cleared."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: self._caught.append(number))
        with private_directory("banken-") as directory:
            stage = Stage(directory)
            try:
                reason = self._play(stage)
            except Unreachable:
                reason = "the supervisor did not answer"
            finally:
                stage.clear()
            tail = stage.log_tail()
        if self._caught:
            click.echo("interrupted: every process was ended and the directory removed", err=True)
            return 128 + self._caught[0]
        missing = [reason] if reason else self.record.missing()
        if not reason:
            self._conclude(missing)
        if missing:
            click.echo(f"\nNot as promised: {'; '.join(missing)}.", err=True)
            if tail:
                click.echo(
                    "The last that the processes wrote:\n" + "\n".join(map(clean, tail.splitlines())), err=True
                )
            return exit_codes.NOT_SO
        return exit_codes.OK

    def _play(self, stage: Stage) -> str | None:
        """From the first process to the last figure; why it could not be, if so."""
        stage.enter("supervisor")
        end = time.monotonic() + START_WITHIN_S
        with EventFollower(stage.directory) as following, Control(stage.directory, START_WITHIN_S) as control:
            while not following.connected:
                if self._caught or time.monotonic() > end or stage.processes["supervisor"].poll() is not None:
                    return "the supervisor did not start"
                following.wait(LOOK_S)
            control.request("ping")  # the subscription was read before this was answered
            self._began, self._wall_began = time.monotonic(), time.time()
            stage.enter("steady")
            stage.enter("hangs", self.hang_after)
            stage.enter("killed")
            stage.enter("recovers", self.silent_after, SILENT_S, self.silences)
            self._introduce(stage)
            if not self._watch(stage, following):
                return "the workers did not start"
            self.record.summary = control.request("summary")
        return None

    def _watch(self, stage: Stage, following: EventFollower) -> bool:
        """Follow until the time is up; whether all workers came to feed."""
        started: float | None = None
        while not self._caught:
            now = time.monotonic()
            if started is None:
                if len(self.record.fed) == len(COLOURS):
                    started = now
                elif now - self._began > START_WITHIN_S:
                    return False
            elif now - started > self.seconds:
                return True
            events = following.wait(LOOK_S, [stage.told])
            for told in stage.read():
                self._heard(stage, told)
            for event in events:
                self._happened(event)
            self._show_callbacks()
        return False

    def _heard(self, stage: Stage, told: dict[str, Any]) -> None:
        """What one of the processes told of itself."""
        record, role = self.record, told["role"]
        if "fed" in told:
            fed = record.fed.setdefault(role, [])
            fed.append(told["fed"])
            # Right after a feed, when it sleeps: its note of that feed is here, and the next one is far.
            if role == "killed" and record.killed is None and fed[-1] - fed[0] >= self.kill_after:
                record.killed = time.monotonic()
                stage.processes[role].kill()
                self._say(time.monotonic(), role, "is killed: kill -9", dim=True)
        elif "incident" in told:
            record.runs.append(told)
            self._unshown.append(told)
        elif "did" in told:
            self._say(time.monotonic(), role, told["did"], dim=True)
        else:
            record.cost = told

    def _happened(self, event: dict[str, Any]) -> None:
        """What the supervisor published."""
        at, name = self._began + event["time"] - self._wall_began, event.get("name", "")
        match event["type"]:
            case "first-fed":
                self._say(at, name, f"feeds for the first time (pid {event['pid']})")
            case "expired":
                self.record.verdicts[event["incident"]] = event
                why = f"silent for {event['silence']:.3f} s"
                why = "its process is gone" if event["cause"] == "exited" else why
                self._say(at, name, f"EXPIRED ({event['cause']}): {why}", "red")
            case "recovered":
                self.record.recovered.append(name)
                self._say(
                    at, name, f"RECOVERED: it feeds again, {event['lasted']:.3f} s after the verdict", "green"
                )
            case "stalled":
                text = f"lost {format_s(event['lost'])} of its own; no worker's timeout counts it"
                self._say(at, "supervisor", text, "yellow")

    def _show_callbacks(self) -> None:
        """Show the runs whose verdict was shown."""
        for told in [each for each in self._unshown if each["incident"] in self.record.verdicts]:
            self._unshown.remove(told)
            text = f"callback {demo_workers.CALLBACK} runs in the supervisor"
            late = self.record.lateness(told)
            if told["run"] > 1:
                text = text.replace("runs", "runs again") + f" (run {told['run']}: still silent)"
            elif late is not None:
                what = "its end" if self.record.by_end(told) else "the true deadline"
                text += f", {late * 1000:.2f} ms after {what}"
            self._say(told["at"], told["name"], text)

    def _introduce(self, stage: Stage) -> None:
        times = {1: "once", 2: "twice"}.get(self.silences, f"{self.silences} times")
        what = {
            "supervisor": "owns the timers",
            "steady": f"feeds every {format_s(demo_workers.FEED_EVERY_S)}, to the end",
            "hangs": f"deadlocks after {format_s(self.hang_after)}",
            "killed": f"is killed (kill -9) after {format_s(self.kill_after)}",
            "recovers": f"falls silent after {format_s(self.silent_after)}, for {format_s(SILENT_S)}, {times}, "
            "and comes back",
        }
        table = Table(("process", "pid", "what it does"), (1,), lambda one: (one[0], str(one[1].pid), what[one[0]]))
        click.echo(f"One supervisor, four workers, for {self.seconds} seconds. Ctrl-C ends it.\n")
        click.echo("\n".join(f"  {line}" for line in table.lines(stage.processes.items())))
        click.echo(
            f"\nEach worker promised to feed at least every {format_s(self.record.timeout)}. When one does not, "
            f"the callback {demo_workers.CALLBACK!r}\nruns in the supervisor, and again every "
            f"{format_s(demo_workers.INTERVAL_S)} of silence.\n"
        )

    def _say(self, at: float, who: str, text: str, colour: str | None = None, *, dim: bool = False) -> None:
        """One line: seconds since the workers were started, who, what. ``at``: monotonic time."""
        when, name = f"{max(0.0, at - self._began):7.3f} s", clean(who).ljust(10)
        if self._colours:
            name = click.style(name, fg=COLOURS.get(who))
            text = click.style(text, fg=colour, dim=dim, bold=colour is not None)
        click.echo(f"{when}  {name}  {text}")

    def _conclude(self, missing: list[str]) -> None:
        figures = self.record.figures()
        width = max(len(label) for label, _ in figures)
        click.echo("\nMeasured in this run:\n")
        for label, value in figures:
            click.echo(f"  {label.ljust(width)}  {click.style(value, bold=True) if self._colours else value}")
        if not missing:
            click.echo(
                "\nThe hang, the kill and the recovery were noticed; the steady worker was never accused.\n"
                "Next: `banken run` in one terminal, `banken status` and `banken events` in another, and in your\n"
                'worker: from banken import client; client.feed("worker-1")'
            )
