"""``ping``: an ICMP echo comes back. Without rights, where the system lets everyone do so (ping_group_range)."""

from __future__ import annotations

from time import monotonic
from typing import Annotated, ClassVar

from pydantic import Field

from banken_supervisor.actions import options
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.progress import Progress
from banken_supervisor.checks.subject import Subject
from banken_supervisor.checks.tcp import is_host, is_ip
from banken_supervisor.text.quoting import quoted


def host(value: object) -> str:
    """A name or an address."""
    given = options.text(value, longest=253, what="a host")
    if not is_host(given) and not is_ip(given):
        raise ValueError(f'{quoted(given)} is no host; allowed is a name or an address, such as "192.0.2.1"')
    return given


class Ping(CheckFields):
    """An answer."""

    kind: ClassVar[str] = "ping"

    ping: Annotated[str, *options.kind(host, options.STRING)] = Field(description="Name or address of a host.")

    @property
    def label(self) -> str:
        return f"ping {self.ping}"

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """Send one, and again at a third and two thirds of the limit: any answer will do."""
        from banken_supervisor.checks.echo import echo
        from banken_supervisor.checks.names import resolve

        progress.text = f"the address of {self.ping} is looked up"
        family, (address, _) = (await resolve(self.ping, 0))[0]
        progress.text = f"{address} does not answer"
        began = monotonic()
        await echo(family, address, self.limit / 3)
        return Outcome(True, f"{address} answered in {(monotonic() - began) * 1000:.1f} ms")
