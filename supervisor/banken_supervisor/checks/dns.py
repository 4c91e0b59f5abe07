"""``dns``: a name has records of a type, and the one that is expected."""

from __future__ import annotations

from time import monotonic
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from banken_supervisor.actions import options
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.progress import Progress
from banken_supervisor.checks.subject import Subject
from banken_supervisor.checks.tcp import ENDPOINT_ALLOWED, Endpoint, endpoint, is_host, is_ip
from banken_supervisor.text.quoting import quoted

PORT = 53

RECORDS_MAX = 8
"""Records that a text names."""


def name(value: object) -> str:
    """A name of the DNS; an address has none of its own: its reverse name is ``1.2.0.192.in-addr.arpa``."""
    given = options.text(value, longest=253, what="a name")
    if not is_host(given.rstrip(".") or "a") or is_ip(given):
        raise ValueError(f'{quoted(given)} is no name; allowed is one such as "example.org"')
    return given


def server_address(value: object) -> Endpoint:
    """An address, with a port or without. Not a name: which server would know it?"""
    given = options.text(value, longest=100, what="an address")
    if is_ip(given):
        return Endpoint(given, PORT)
    made = endpoint(given)
    if not is_ip(made.host):
        raise ValueError(
            f'{quoted(given)} is no address of a server; allowed is "192.0.2.1"; or {ENDPOINT_ALLOWED}'
        )
    return made


class Dns(CheckFields):
    """An answer."""

    kind: ClassVar[str] = "dns"

    dns: Annotated[str, *options.kind(name, options.STRING)] = Field(description="The name that is asked for.")
    type: Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] = Field(
        "A", description="Of the records."
    )
    server: Annotated[Endpoint, *options.kind(server_address, options.STRING)] | None = Field(
        None, description="Who is asked, by address; default: those of /etc/resolv.conf."
    )
    expect: str | None = Field(
        None, min_length=1, max_length=options.TEXT_MAX, description="A record that must be there, as dig shows it."
    )

    @property
    def label(self) -> str:
        at = f" at {self.server}" if self.server is not None else ""
        return f"dns {self.dns} {self.type}{at}"

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """Ask once; again over tcp where the answer was cut."""
        from banken_supervisor.checks.dns_query import ask

        began = monotonic()
        where = "the servers of /etc/resolv.conf" if self.server is None else str(self.server)
        progress.text = f"{where} did not answer"
        wrong, records = await ask(self.dns, self.type, self.server, self.limit)
        if wrong is not None:
            return Outcome(False, wrong)
        shown = ", ".join(records[:RECORDS_MAX])
        if self.expect is not None and self.expect not in records:
            return Outcome(False, f"{quoted(self.expect)} was expected, {shown} came")
        return Outcome(True, f"{shown} in {(monotonic() - began) * 1000:.0f} ms")
