"""``banken demo``: one supervisor, four workers, and what becomes of them."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.durations import format_s
from banken_supervisor.cli.printing import clean, columns, fancy

SECONDS_MIN = 5
SECONDS_MAX = 600
START_WITHIN_S = 20.0
LOOK_S = 0.1
"""How long a signal may wait to be seen."""

SILENT_S = 1.8
"""How long the worker that recovers is silent: past its timeout of a second."""

COLOURS = {"steady": "green", "hangs": "red", "killed": "magenta", "recovers": "cyan"}


@click.command(short_help="See it work: a supervisor and four workers, in ten seconds.")
@click.option(
    "--seconds",
    type=click.IntRange(SECONDS_MIN, SECONDS_MAX),
    default=10,
    show_default=True,
    metavar="N",
    help="How long the workers work.",
)
def command(seconds: int) -> int:
    """Start a supervisor and four workers, each a process of its own: one is steady, one hangs, one is killed,
    one recovers. Show live what the supervisor notices and how late, and at the end what was measured.

    Exit code 0 only if the hang, the kill and the recovery were noticed and nobody was accused who had fed. It
    leaves no process and no file behind, after Ctrl-C neither.
    """
    with _signals() as caught:
        return Demo(seconds, caught).run()


class Demo:
    """One run of it."""

    def __init__(self, seconds: int, caught: list[int]) -> None:
        from banken_supervisor.cli.demo_report import Record
        from banken_supervisor.cli.demo_workers import TIMEOUT_S

        self.seconds = seconds
        self.hang_after = 0.15 * seconds
        self.kill_after = 0.3 * seconds
        self.silent_after = 0.2 * seconds
        self.silences = int((seconds - 0.5) / (self.silent_after + SILENT_S))
        self.record = Record(TIMEOUT_S)
        self._caught = caught
        self._colours = fancy()
        self._began = self._wall_began = 0.0
        self._killed = False
        self._unshown: list[dict[str, Any]] = []
        """callbacks that ran for a verdict whose event has not come yet"""

    def run(self) -> int:
        """Everything; the exit code. Whatever happens, the stage is cleared."""
        from banken.errors import Unreachable
        from banken_supervisor.cli.demo_processes import Stage

        with Stage() as stage:
            try:
                reason = self._play(stage)
            except Unreachable:
                reason = "the supervisor did not answer"
            tail = stage.log_tail()
        if self._caught:
            click.echo("interrupted: every process was ended and the directory removed", file=sys.stderr)
            return 128 + self._caught[0]
        missing = [reason] if reason else self.record.missing()
        if not reason:
            self._conclude()
        if missing:
            click.echo(f"\nNot as promised: {'; '.join(missing)}.", file=sys.stderr)
            if tail:
                click.echo(
                    "The last that the processes wrote:\n" + "\n".join(map(clean, tail.splitlines())), err=True
                )
            return exit_codes.NOT_SO
        return exit_codes.OK

    def _play(self, stage: Any) -> str | None:
        """From the first process to the last figure; why it could not be, if so."""
        from banken.control import Control
        from banken_supervisor.operator_client.event_follower import EventFollower

        supervisor = stage.enter("supervisor")
        with Control(stage.directory, timeout=LOOK_S) as control:
            if not self._answers(control, supervisor):
                return None if self._caught else "the supervisor did not start"
            control.timeout = START_WITHIN_S
            with EventFollower(stage.directory) as following:
                while not following.connected and not self._caught:
                    following.wait(LOOK_S)
                control.request("ping")  # the subscription was read before this was answered
                self._began, self._wall_began = time.monotonic(), time.time()
                stage.enter("steady")
                stage.enter("hangs", self.hang_after)
                stage.enter("killed")
                stage.enter("recovers", self.silent_after, SILENT_S, self.silences)
                self._introduce(stage)
                if not self._watch(stage, following):
                    return None if self._caught else "the workers did not start"
            self.record.summary = control.request("summary")
        return None

    def _answers(self, control: Any, supervisor: Any) -> bool:
        from banken.errors import Unreachable

        end = time.monotonic() + START_WITHIN_S
        while time.monotonic() < end and supervisor.process.poll() is None and not self._caught:
            with contextlib.suppress(Unreachable):
                control.request("ping")
                return True
        return False

    def _watch(self, stage: Any, following: Any) -> bool:
        """Follow until the time is up; whether all workers came to feed."""
        started: float | None = None
        while not self._caught:
            now = time.monotonic()
            if started is None:
                if len(self.record.fed) == len(stage.actors) - 1:
                    started = now
                elif now - self._began > START_WITHIN_S:
                    return False
            elif now - started > self.seconds:
                return True
            talking = [actor for actor in stage.actors.values() if not actor.ended]
            events = following.wait(LOOK_S, [actor.fileno() for actor in talking])
            for actor in talking:
                for told in actor.read():
                    self._heard(actor, told)
            for event in events:
                self._happened(event)
            self._show_callbacks()
        return False

    def _heard(self, actor: Any, told: dict[str, Any]) -> None:
        """What one of the processes told of itself."""
        from banken_supervisor.cli.demo_report import Run

        record = self.record
        if "fed" in told:
            record.fed.setdefault(actor.role, []).append(told["fed"])
            # Right after a feed, when it sleeps: its note of that feed is here, and the next one is far.
            fed_for = told["fed"] - record.fed[actor.role][0]
            if actor.role == "killed" and fed_for >= self.kill_after and not self._killed:
                self._killed = True
                record.ended[actor.role] = time.monotonic()
                actor.process.kill()
                self._say(time.monotonic(), "killed", "is killed: kill -9", dim=True)
        elif "ran" in told:
            record.runs.append(Run(told["name"], told["incident"], told["run"], told["at"]))
            self._unshown.append(told)
        elif "did" in told:
            self._say(time.monotonic(), actor.role, told["did"], dim=True)
        elif "cost_ns" in told:
            record.cost_ns, record.cost_feeds = told["cost_ns"], told["feeds"]
            record.cost_travelled = told["travelled"]

    def _happened(self, event: dict[str, Any]) -> None:
        """What the supervisor published."""
        from banken_supervisor.cli.demo_report import Verdict

        at, name = self._began + event["time"] - self._wall_began, event.get("name", "")
        match event["type"]:
            case "first-fed":
                self._say(at, name, f"feeds for the first time (pid {event['pid']})")
            case "expired":
                self.record.verdicts.append(Verdict(name, event["incident"], event["cause"]))
                why = f"silent for {event['silence']:.3f} s"
                why = "its process is gone" if event["cause"] == "exited" else why
                self._say(at, name, f"EXPIRED ({event['cause']}): {why}", "red")
            case "recovered":
                self.record.recovered.append(event["incident"])
                self._say(
                    at, name, f"RECOVERED: it feeds again, {event['lasted']:.3f} s after the verdict", "green"
                )
            case "stalled":
                text = f"lost {format_s(event['lost'])} of its own; no worker's timeout counts it"
                self._say(at, "supervisor", text, "yellow")

    def _show_callbacks(self) -> None:
        """Show the runs whose verdict was shown."""
        shown = {verdict.incident for verdict in self.record.verdicts}
        for told in [told for told in self._unshown if told["incident"] in shown]:
            self._unshown.remove(told)
            run = next(r for r in self.record.runs if (r.incident, r.run) == (told["incident"], told["run"]))
            late = self.record.lateness(run)
            if run.run > 1:
                text = f"callback {told['ran']} runs again in the supervisor (run {run.run}: still silent)"
            elif late is None:
                text = f"callback {told['ran']} runs in the supervisor"
            else:
                what = "its end" if self.record.by_end(run) else "the true deadline"
                text = f"callback {told['ran']} runs in the supervisor, {late * 1000:.2f} ms after {what}"
            self._say(run.at, run.name, text)

    def _introduce(self, stage: Any) -> None:
        from banken_supervisor.cli import demo_workers

        what = {
            "supervisor": "owns the timers",
            "steady": f"feeds every {format_s(demo_workers.FEED_EVERY_S)}, to the end",
            "hangs": f"deadlocks after {format_s(self.hang_after)}",
            "killed": f"is killed (kill -9) after {format_s(self.kill_after)}",
            "recovers": f"falls silent after {format_s(self.silent_after)}, for {format_s(SILENT_S)}, "
            f"{_times(self.silences)}, and comes back",
        }
        table = columns(
            ("process", "pid", "what it does"),
            [(role, str(actor.process.pid), what[role]) for role, actor in stage.actors.items()],
            frozenset({1}),
        )
        click.echo(f"One supervisor, four workers, for {self.seconds} seconds. Ctrl-C ends it.\n")
        click.echo("\n".join(f"  {line}" for line in table))
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

    def _conclude(self) -> None:
        figures = self.record.figures()
        width = max(len(label) for label, _ in figures)
        click.echo("\nMeasured in this run:\n")
        for label, value in figures:
            click.echo(f"  {label.ljust(width)}  {click.style(value, bold=True) if self._colours else value}")
        if not self.record.missing():
            click.echo(
                "\nThe hang, the kill and the recovery were noticed; the steady worker was never accused.\n"
                "Next: `banken run` in one terminal, `banken status` and `banken events` in another, and in your\n"
                'worker: from banken import client; client.feed("worker-1")'
            )


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Signals that would end the demo are noted instead, so that nothing is left behind at any point."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
