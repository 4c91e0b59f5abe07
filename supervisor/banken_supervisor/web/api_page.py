"""The OpenAPI document as a page: plain HTML that loads nothing but a style sheet of its own."""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape
from itertools import groupby
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

router = APIRouter(include_in_schema=False)


@router.get("/api")
async def redirect() -> Response:
    return RedirectResponse("/api/")


@router.get("/api/")
async def page(request: Request) -> Response:
    """All operations with their parameters and answers."""
    return HTMLResponse(_page(request.app))


@lru_cache(maxsize=1)
def _page(app: FastAPI) -> str:
    found = app.openapi()
    operations = [(path, method, each) for path, ways in found["paths"].items() for method, each in ways.items()]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        "<title>banken: the API</title><link rel=icon href=/static/favicon.svg>",
        "<link rel=stylesheet href=/static/api.css>",
        f"<main><h1>banken: the API</h1><p>{escape(found['info']['description'])} The same for programs: ",
        "<a href=/api/v1/openapi.json>openapi.json</a>. <a href=/>The page</a>.</p>",
    ]
    for tag, each in groupby(operations, key=lambda operation: operation[2]["tags"][0]):
        parts += [f"<h2>{escape(tag)}</h2>", *(_section(*operation) for operation in each)]
    return "".join(parts) + "</main>"


def _section(path: str, method: str, each: dict[str, Any]) -> str:
    token = " <em>needs the token</em>" if "security" in each else ""
    given = [(p["name"], p["in"], p.get("description", "")) for p in each.get("parameters", ())]
    body = each.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    given += [(key, "body", it.get("description", "")) for key, it in body.get("properties", {}).items()]
    rows = "".join(
        f"<tr><th scope=row><code>{escape(name)}</code><td>{place}<td>{_text(what)}" for name, place, what in given
    )
    answers = "".join(
        f"<li><b>{code}</b> {_text(answer['description'])} <small>({escape(', '.join(answer['content']))})</small>"
        for code, answer in each["responses"].items()
    )
    return (
        f"<section><h3><code><b>{method.upper()}</b> {escape(path)}</code></h3>"
        f"<p>{_text(each['description'])}{token}</p>"
        + (f"<table><thead><tr><th>name<th>in<th>what<tbody>{rows}</table>" if rows else "")
        + f"<details><summary>Answers</summary><ul>{answers}</ul></details></section>"
    )


def _text(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))
