"""A Celery worker with processes of its own; it sends itself the tasks that the test asks for."""

from __future__ import annotations

import os
import time
from typing import Any

from billiard import current_process
from celery import Celery
from celery.signals import worker_process_init, worker_ready
from signs import connected, tell

from banken import Watchdog, client

app = Celery("celery_jobs", broker=f"redis+socket://{os.environ['REDIS']}")
app.conf.broker_connection_retry_on_startup = False

DOG: list[Watchdog] = []
HANGS = os.environ["TASKS"] == "hang"


@worker_process_init.connect
def watch(**_: Any) -> None:
    """In each process of the pool. 155: it has done its share of tasks.

    SIGTERM is not clean here: it ends a process that is past its hard time limit.
    """
    connected()
    slot = f"celery-{current_process().index}"
    DOG[:] = [client.watchdog(f"{slot}-{os.getpid()}" if HANGS else slot, 30, clean=[0, 155])]
    DOG[0].idle()


@app.task
def job(number: int) -> None:
    """A task is work of its process."""
    with DOG[0].work("job", limit=30):
        time.sleep(0.01)
    tell(f"job {number} {os.getpid()}")


@app.task(time_limit=1)
def hang() -> None:
    """It never ends, and Celery kills its process after a second."""
    with DOG[0].work("hang", limit=30):
        time.sleep(1000)


@worker_ready.connect
def send(**_: Any) -> None:
    """The worker takes tasks now."""
    if HANGS:
        hang.delay()
    else:
        for number in range(int(os.environ["TASKS"])):
            job.delay(number)
