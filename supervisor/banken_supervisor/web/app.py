"""The application put together."""

from __future__ import annotations

import contextlib
import mimetypes
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from banken_supervisor.web.backend import Backend, Settings
from banken_supervisor.web.gate import Gate
from banken_supervisor.web.operations import OPERATIONS
from banken_supervisor.web.problems import HANDLERS, Problem

STATIC = Path(__file__).parent / "static"

# The system's own table may say something else, and a browser takes no script of the wrong type.
for _ending, _type in {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}.items():
    mimetypes.add_type(_type, _ending)


class PageFiles(StaticFiles):
    """The page's files, asked about anew each time: a newer banken has newer ones (an ETag makes that cheap)."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers.setdefault("Cache-Control", "no-cache")
        return answer


async def _index(request: Request) -> Response:
    file = STATIC / "index.html"
    if not file.is_file():
        raise Problem(404, "the page is not installed; /api/ lists what can be asked")
    return FileResponse(file, media_type="text/html", headers={"Cache-Control": "no-cache"})


async def _api(request: Request) -> Response:
    return RedirectResponse("/api/")


def application(settings: Settings) -> Starlette:
    """All of it, for an ASGI server."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.backend = Backend(settings)
        try:
            yield
        finally:
            app.state.backend.close()

    app = Starlette(
        routes=[
            *(operation.route() for operation in OPERATIONS),
            Route("/", _index),
            Route("/api", _api),
            Mount("/static", PageFiles(directory=STATIC, check_dir=False)),
        ],
        middleware=[Middleware(Gate, settings=settings)],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    # `curl -f .../ping/NAME/` takes a redirection for a success, and nothing would have been fed.
    app.router.redirect_slashes = False
    return app
