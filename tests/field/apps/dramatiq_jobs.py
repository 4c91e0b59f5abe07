"""Actors of dramatiq. Each process watches itself, and sends one job."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from signs import connected, tell

from banken import client

NAME = f"dramatiq-{os.getpid()}"


class Watched(dramatiq.Middleware):
    """What a user adds."""

    def after_process_boot(self, broker: Any) -> None:
        """The process is there."""
        connected()
        client.watchdog(NAME, 30)

    def after_worker_boot(self, broker: Any, worker: Any) -> None:
        """It takes jobs."""
        job.send()


broker = RedisBroker(url=f"unix://{os.environ['REDIS']}", middleware=[Watched()])
dramatiq.set_broker(broker)


@dramatiq.actor
def job() -> None:
    """Any of the processes does it."""
    client.feed(NAME)
    tell("job")
