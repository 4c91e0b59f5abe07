"""An RQ worker, which forks a process for each job; ``python rq_jobs.py`` does three jobs and ends in order."""

from __future__ import annotations

import sys

from redis import Redis
from rq import Queue, Worker
from signs import connected, tell, until_there

from banken import client


def job(number: int) -> None:
    """The last one works until the file ``finish`` is there."""
    connected()
    dog = client.watchdog("job", 30)
    dog.feed()
    tell(f"job {number}")
    if number == 3:
        until_there("finish")


if __name__ == "__main__":
    from rq_jobs import job as by_name  # as RQ finds it

    queue = Queue(connection=Redis(unix_socket_path=sys.argv[1]))
    for each in (1, 2, 3):
        queue.enqueue(by_name, each)
    Worker([queue], connection=queue.connection).work(burst=True)
