"""``banken run``: the standalone supervisor."""

from __future__ import annotations

import contextlib
import os

import click

from banken_supervisor.cli import exits
from banken_supervisor.cli.asking import address_option, option_for
from banken_supervisor.cli.group import Failure


@click.command(short_help="Supervise, in the foreground.")
@address_option
@click.option("--json-logs", is_flag=True, help="Write the log as one JSON object a line.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    show_default=True,
    help="The least important lines that are logged.",
)
def command(address: str | None, json_logs: bool, log_level: str) -> None:
    """Supervise, in the foreground, until SIGTERM or Ctrl-C.

    Those end it in order, within five seconds even when callbacks hang, with exit code 0; a second one ends it
    at once. The log goes to stderr; it does not matter if nobody reads it. One supervisor per address: a second
    one exits with 5 and says who holds it.
    """
    import zmq

    from banken_supervisor.cli import logs, process
    from banken_supervisor.supervisor import Supervisor

    class Announced(Supervisor):
        """Says where it listens once it does."""

        def _open(self) -> None:
            super()._open()
            _announce(self.address.text)

    process.prepare()
    logs.to_stderr(log_level, as_json=json_logs)
    supervisor = Announced(address)
    try:
        supervisor.run()
    except (OSError, zmq.ZMQError) as fault:
        if supervisor._loop is not None:
            raise  # it ran: this is no matter of the address
        raise Failure(f"cannot listen at {supervisor.address.text}: {fault}", exits.ADDRESS_REFUSED) from None


def _announce(address: str) -> None:
    """One line on stdout, past its buffer: if nobody takes it, nothing remains to be complained about."""
    text = (
        f"banken supervises at {address} (pid {os.getpid()}). "
        f"Feed it with: banken feed NAME --timeout 30s{option_for(address)}\n"
    )
    with contextlib.suppress(OSError):
        os.write(1, text.encode("utf-8", "backslashreplace"))
