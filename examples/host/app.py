"""The application that gunicorn serves: its health says which process answered."""

import json
import os


def app(environ, start_response):
    """WSGI."""
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"status": "ok", "pid": os.getpid()}).encode()]
