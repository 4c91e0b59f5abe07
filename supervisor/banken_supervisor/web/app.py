"""The FastAPI application."""

from __future__ import annotations

import contextlib
import mimetypes
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

import banken
from banken_supervisor.web import api, api_page, badges, pings, stream
from banken_supervisor.web.backend import Backend, Settings
from banken_supervisor.web.errors import HANDLERS
from banken_supervisor.web.peers import Connections
from banken_supervisor.web.refusals import Refusals
from banken_supervisor.web.security import SecurityMiddleware

STATIC = Path(__file__).parent / "static"

# The system's own table may say something else, and a browser runs no script of the wrong type.
for _ending, _type in {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}.items():
    mimetypes.add_type(_type, _ending)


class PageFiles(StaticFiles):
    """The page's files. Browsers revalidate them each time: a newer banken has newer ones."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers.setdefault("Cache-Control", "no-cache")
        return answer


async def _index(request: Request) -> Response:
    return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})


def application(settings: Settings, connections: Connections) -> FastAPI:
    """The application for an ASGI server whose protocol keeps ``connections``."""
    refusals = Refusals()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.backend = Backend(settings)
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
    app.mount("/static", PageFiles(directory=STATIC, check_dir=False))
    return app
