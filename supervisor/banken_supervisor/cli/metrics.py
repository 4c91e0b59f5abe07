"""``banken metrics``: what Prometheus wants to know, for a file that a collector reads."""

from __future__ import annotations

import contextlib
import os
import tempfile

import click

from banken.errors import RequestFailed, Unreachable
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import reading_address_option
from banken_supervisor.operator_client.supervisor_client import connect

READABLE = 0o644
"""A collector runs as another user."""


@click.command(short_help="Print the supervisor's metrics for Prometheus.")
@click.option(
    "--names",
    metavar="PATTERN",
    help="Give series of their own to the watchdogs that PATTERN fits (at most 1,000); '' to none.  "
    "[default: to all, if there are at most 1,000]",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write FILE, whole or not at all, for the textfile collector of node_exporter.",
)
@reading_address_option
def command(names: str | None, output: str | None, address: str | None) -> None:
    """Print all metrics in Prometheus' text format, as /metrics of `banken web` gives them.

    Where no supervisor answers, they are `banken_up 0`, and the exit code is 3. From cron, with node_exporter's
    textfile collector:

    \b
      * * * * *  banken metrics -o /var/lib/prometheus/node-exporter/banken.prom
    """
    from banken_supervisor.web.metrics import question, render

    refused: Unreachable | RequestFailed | None = None
    answer = None
    try:
        with connect(address) as control:
            answer = control.request("metrics", **question(names))
    except (Unreachable, RequestFailed) as fault:
        refused = fault
    body, _ = render(answer)
    if output is None:
        click.echo(body.decode(), nl=False)
    else:
        try:
            write(output, body)
        except OSError as fault:
            raise Failure(f"cannot write {output}: {fault.strerror or fault}") from None
    if refused is not None:
        raise refused


def write(path: str, body: bytes) -> None:
    """Write a file whose readers never see a part of it. OSError passes through."""
    directory, name = os.path.split(os.path.abspath(path))
    # Another ending than .prom: the collector must not read it before it has its name.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name[:100]}.", suffix=".new", dir=directory)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, READABLE)
            file.write(body)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
