"""Two scenes that chance seldom stages: a flood from many connections, and an I/O thread that stands still."""

from __future__ import annotations

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity

from .mail import SECOND, Connection, Finding, Mail
from .simulated_host import SimulatedHost


class Quiet(SimulatedHost):
    """No trouble but what the scene brings: no probe is lost."""

    def __init__(self) -> None:
        super().__init__(1, Declaration())
        self.random.random = lambda: 0.5  # type: ignore[method-assign]

    def feed(self, connection: Connection, name: str, number: int, timeout: float, copies: int = 1) -> None:
        """One process feeds one name now, without coalescing."""
        who = ProcessIdentity(b"one-boot", number, number, number.to_bytes(4, "big"))
        message = Message(Kind.FEED, name, who, 0.0, Declaration(timeout, 5.0, 5.0), ())
        self.arrive(connection, Mail(message, encode(message), copies))


def flood(connections: int, *, timeout: float = 0.2, burst_s: float = 0.2) -> list[Finding]:
    """A burst of 6,000 feeds from each of many connections; one of the workers also feeds a name in time.

    Its feeds stand behind its own share of the flood, in the kernel and in the queue.
    """
    host = Quiet()
    ways = [host.connect() for _ in range(connections)]

    def victim() -> None:
        host.feed(ways[0], "victim", 1, timeout)
        host.after(int(timeout * 0.8 * SECOND), victim)

    def bulk(number: int) -> None:
        if host.at < (1.0 + burst_s) * SECOND:
            host.feed(ways[number - 1], f"bulk{number}", number, 600.0, 1500)
            host.after(60_000, bulk, number)

    host.start()
    host.after(1_000, victim)
    for number in range(1, connections + 1):
        host.after(SECOND + 3 * number, bulk, number)
    host.run(3 * SECOND)
    return host.oracle.findings


def io_starved(milliseconds: int) -> list[Finding]:
    """The I/O thread alone stands still for so long while a worker feeds in time."""
    host = Quiet()
    way = host.connect()

    def worker() -> None:
        host.feed(way, "worker", 1, 0.5)
        host.after(300_000, worker)

    host.start()
    host.after(1_000, worker)
    host.after(2 * SECOND, host.starve_io, milliseconds * 1_000)
    host.run(8 * SECOND)
    return host.oracle.findings
