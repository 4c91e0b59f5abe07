"""Web applications: ASGI with and without a lifespan, WSGI with one watchdog a worker or one for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from typing import Any

from signs import connected

from banken import Watchdog, client

TIMEOUT = 30


async def with_lifespan(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Its event loop feeds, from the start to the shutdown that the server announces."""
    if scope["type"] != "lifespan":
        await answer(send)
        return
    await receive()
    dog = client.watchdog(f"api-{os.getpid()}", TIMEOUT)

    async def feed() -> None:
        while True:
            dog.feed()
            await asyncio.sleep(0.05)

    feeding = asyncio.create_task(feed())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    feeding.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await feeding
    dog.stop()
    await send({"type": "lifespan.shutdown.complete"})


async def without_lifespan(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Each request feeds."""
    assert scope["type"] == "http"
    connected()
    client.feed(f"api-{os.getpid()}")
    await answer(send)


async def answer(send: Any) -> None:
    """200, and nothing more."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """One request is work of its worker's watchdog; ``/hang`` never ends."""
    assert DOG is not None
    with DOG.work(environ["PATH_INFO"], limit=TIMEOUT):
        if environ["PATH_INFO"] == "/hang":
            time.sleep(1000)
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]


DOG: Watchdog | None = None


def watch_worker(number: int) -> None:
    """In each worker of gunicorn: a watchdog of its own, or one for all, which a thread feeds."""
    global DOG
    connected()
    if os.environ["WATCHED"] == "each":
        DOG = client.watchdog(f"web-{number}", TIMEOUT)
        DOG.idle()
        return
    DOG = dog = client.watchdog("web", TIMEOUT, feeders="any")

    def feed() -> None:
        while True:
            dog.feed()
            time.sleep(0.05)

    threading.Thread(target=feed, daemon=True).start()
