"""The application of the celery worker, whose own heartbeat, every two seconds, touches a file."""

from pathlib import Path

from celery import Celery
from celery.signals import heartbeat_sent

app = Celery("tasks", broker="redis://127.0.0.1:17379/0")
app.conf.broker_connection_retry_on_startup = True


@heartbeat_sent.connect
def beat(**_more):
    """Sent by the worker's main process."""
    Path("data/celery/beat").touch()
