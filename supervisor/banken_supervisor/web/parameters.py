"""What requests may contain: names, patterns, bodies; each with its limits."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

from fastapi import Path, Query, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request

from banken.protocol.limits import NAME_PATTERN, SECONDS_MAX, SECONDS_MIN, check_name
from banken_supervisor.text.quoting import quoted, unknown_key
from banken_supervisor.web.errors import Problem

BODY_MAX = 65_536
"""Longest body of a request to the API, bytes."""

BODY_S = 10.0
"""Seconds that a client has for its body."""

PATTERN_MAX = 256
"""Longest pattern, in characters: the supervisor's loop compares it with every name."""

Body = TypeVar("Body", bound=BaseModel)

TOKEN = [Security(HTTPBearer(auto_error=False)), Security(APIKeyHeader(name="X-Banken-Token", auto_error=False))]
"""For the document: the security middleware checks the token."""


def _path_name(text: str) -> str:
    """A name in a path, where the security middleware has left ``%2F`` and ``%25`` as they are."""
    return check_name(unquote(text))


_NAME: dict[str, Any] = {"pattern": f"^{NAME_PATTERN}$"}
"""For the document: ``check_name`` says more when it refuses one."""

Name = Annotated[
    str,
    Path(description="the name; a / within it is written %2F", json_schema_extra=_NAME),
    AfterValidator(_path_name),
]

OptionalName = Annotated[
    str | None,
    Query(description="only this watchdog"),
    AfterValidator(lambda text: check_name(text) if text else None),
]

Pattern = Annotated[
    str | None,
    Query(max_length=PATTERN_MAX, description="a name, or a pattern with * ? [ of at most 256 characters"),
]


async def only_known_keys(request: Request) -> None:
    """A Problem for a query key that the route does not take, or that is given twice: else a misspelt one would be
    ignored, and nobody would notice."""
    described = request.app.openapi()["paths"][request.scope["route"].path]
    method = "post" if request.method == "POST" else "get"
    taken = {each["name"] for each in described[method].get("parameters", ()) if each["in"] == "query"}
    given = [key for key, _ in request.query_params.multi_items()]
    for key in given:
        if key not in taken:
            raise Problem(400, f"query {quoted(key)}: {unknown_key(key, taken)}")
        if given.count(key) > 1:
            raise Problem(400, f"query {key}: given {given.count(key)} times; allowed: once")


class NoBody(BaseModel):
    """An empty body, or an object without keys."""

    model_config = ConfigDict(extra="forbid", strict=True)


class PauseBody(NoBody):
    """How long to pause."""

    seconds: float | None = Field(
        None,
        ge=SECONDS_MIN,
        le=SECONDS_MAX,
        allow_inf_nan=False,
        description="for how long; without it until it is resumed",
    )


async def read_json(request: Request, model: type[Body]) -> Body:
    """The body, which may be empty. FastAPI would read it without a limit, and only with the right Content-Type."""
    body, more = await read_body(request, BODY_MAX, BODY_MAX)
    if more:
        raise Problem(413, f"a body has at most {BODY_MAX} bytes", connection="close")
    try:
        return model.model_validate_json(body.strip() or b"{}")
    except ValidationError as fault:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in fault.errors()]) from None


async def read_body(request: Request, keep: int, drain: int = 0) -> tuple[bytes, bool]:
    """The first ``keep`` bytes, and whether there were more; of more, ``drain`` bytes are read and dropped."""
    kept = bytearray()
    size = 0
    try:
        async with asyncio.timeout(BODY_S):
            async for some in request.stream():
                kept += some[: keep - len(kept)]
                size += len(some)
                if size > keep + drain:
                    break
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {BODY_S:g} s", connection="close") from None
    except ClientDisconnect:
        raise Problem(400, "the client disconnected") from None
    return bytes(kept), size > keep
