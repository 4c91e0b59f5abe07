"""gunicorn's settings: two workers, and what a user adds to have them watched."""

from __future__ import annotations

import os
from typing import Any

import web
from banken import client

bind = "unix:web.sock"
workers = 2
pidfile = "web.pid"
graceful_timeout = 5
timeout = int(os.environ.get("GUNICORN_TIMEOUT", "30"))
max_requests = int(os.environ.get("GUNICORN_MAX_REQUESTS", "0"))


def post_worker_init(worker: Any) -> None:
    """The worker is about to take requests."""
    web.watch_worker(worker.age)


def worker_abort(worker: Any) -> None:
    """gunicorn's own timeout: the worker will end with status 0 all the same."""
    client.fail(f"web-{worker.age}", "gunicorn's timeout")
