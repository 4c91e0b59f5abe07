"""APScheduler: jobs in threads, or in processes. SIGTERM ends it in order."""

from __future__ import annotations

import os
import signal
import sys
import time

from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.schedulers.blocking import BlockingScheduler
from signs import connected

from banken import client


def job() -> None:
    """It feeds, where it runs; and lasts for longer than its interval, so that each of two processes has one."""
    client.feed(f"job-{os.getpid()}")
    time.sleep(0.15)


if __name__ == "__main__":
    executors = {"threads": ThreadPoolExecutor, "processes": ProcessPoolExecutor}
    scheduler = BlockingScheduler(executors={"default": executors[sys.argv[1]](2)})
    scheduler.add_job(job, "interval", seconds=0.1, max_instances=3)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    connected()
    client.watchdog("scheduler", 30).feed()
    try:
        scheduler.start()
    except SystemExit:
        scheduler.shutdown()
