"""The FastAPI application."""

from __future__ import annotations

import contextlib
import hashlib
import mimetypes
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

import banken
from banken_supervisor.web import api, api_page, badges, pings, stream
from banken_supervisor.web.backend import Backend, Settings
from banken_supervisor.web.errors import HANDLERS
from banken_supervisor.web.peers import Connections
from banken_supervisor.web.refusals import Refusals
from banken_supervisor.web.security import SecurityMiddleware

STATIC = Path(__file__).parent / "static"

PIECE_BYTES = 32_768
"""Bytes of a file that are written to a connection at once."""

# The system's own table may say something else, and a browser runs no script of the wrong type.
for _ending, _type in {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}.items():
    mimetypes.add_type(_type, _ending)


class PageFile(Response):
    """One of the page's files, from memory: reading the disk takes threads, which slow clients could use up.
    Browsers revalidate it each time: a newer banken has newer ones."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        self._etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {"Cache-Control": "no-cache", "ETag": self._etag}
        super().__init__(content, headers=headers, media_type=mimetypes.guess_type(path)[0])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if Headers(scope=scope).get("if-none-match") == self._etag:
            await Response(status_code=304, headers={"Cache-Control": "no-cache", "ETag": self._etag})(
                scope, receive, send
            )
            return
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        for place in range(
            0, len(self.body), PIECE_BYTES
        ):  # so that what a client does not read is not kept for it
            piece = bytes(self.body[place : place + PIECE_BYTES])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@cache
def _page_files() -> dict[str, PageFile]:
    return {str(path.relative_to(STATIC)): PageFile(path) for path in STATIC.rglob("*") if path.is_file()}


async def _index(request: Request) -> Response:
    return _page_files()["index.html"]


async def _page_file(request: Request) -> Response:
    found = _page_files().get(request.path_params["path"])
    if found is None:
        raise HTTPException(404)
    return found


def application(settings: Settings, connections: Connections) -> FastAPI:
    """The application for an ASGI server whose protocol keeps ``connections``."""
    refusals = Refusals()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.backend, app.state.refusals = Backend(settings), refusals
        try:
            yield
        finally:
            refusals.close()
            app.state.backend.close()

    app = FastAPI(
        title="banken",
        version=banken.__version__,
        description="What the web process answers. Times are seconds since 1970 (UTC), durations are seconds.",
        license_info={"name": "MIT", "identifier": "MIT"},
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its pages load scripts from another host; api_page.py has one of our own
        redoc_url=None,
        # `curl -f …/ping/NAME/` takes a redirection for a success, and nothing would have been fed.
        redirect_slashes=False,
        middleware=[Middleware(SecurityMiddleware, settings=settings, connections=connections, refusals=refusals)],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
        # Names and statuses are not for the exporters of other software.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    for each in (stream.router, api.router, pings.router, badges.router, api.health, api_page.router):
        app.include_router(each)
    app.add_route("/", _index, include_in_schema=False)
    app.add_route("/static/{path:path}", _page_file, include_in_schema=False)
    return app
