"""Tasks of huey, with processes for workers; each sends a task when it starts."""

from __future__ import annotations

import os

from huey import SqliteHuey
from signs import connected, tell

from banken import client

huey = SqliteHuey("jobs", filename="huey.db")


@huey.on_startup()
def watch() -> None:
    """In each worker."""
    connected()
    client.watchdog(f"huey-{os.getpid()}", 30).feed()
    job()


@huey.task()
def job() -> None:
    """Any of the workers does it."""
    client.feed(f"huey-{os.getpid()}")
    tell("job")
