"""A server that answers what checks ask: HTTP with 200 and "ok", anything else with +PONG.

Says ``{"port": N}`` when it listens, and ends on SIGTERM.
"""

from __future__ import annotations

import asyncio

from common import exit_on_sigterm, say

BODY = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


class Answers(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(BODY if data.startswith(b"GET") else b"+PONG\r\n")
        self._transport.close()


async def main() -> None:
    """Listen until it is ended."""
    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0, backlog=4096)
    say(port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


exit_on_sigterm()
asyncio.run(main())
