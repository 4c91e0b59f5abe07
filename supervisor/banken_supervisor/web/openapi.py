"""The OpenAPI document, and a page that shows it: both made of the list of operations."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import banken

READING = ("GET",)


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked: where, how, and what comes of it."""

    path: str
    endpoint: Callable[[Request], Awaitable[Response]]
    tag: str
    summary: str
    methods: tuple[str, ...] = READING
    about: str = ""
    query: tuple[tuple[str, str, str], ...] = ()
    """(name, JSON type, what it is)"""
    body: tuple[tuple[str, str, str], ...] = ()
    """keys of the JSON object that is sent: (name, JSON type, what it is)"""
    media: str = "application/json"
    """what is answered"""
    faults: tuple[tuple[int, str], ...] = ()
    token: bool = False
    """whether the token is wanted"""

    def route(self) -> Route:
        """Where the application finds it."""
        return Route(self.path, self.endpoint, methods=list(self.methods))


_PATH_PARTS = {
    "name": "the name; a / within it is written %2F",
    "id": "the incident's id",
    "status": "0 to 255",
    "file": "the watchdog's name and `.svg`",
    "path": "a file of the page",
}

_FAULTS = {
    400: "something that was given is not allowed; `error` says what is",
    401: "the token is missing or wrong",
    403: "it came from a page of another site",
    421: "the Host header is not on the list",
    503: "no supervisor answers, or too much is asked at once",
}


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        for method in each.methods:
            paths.setdefault(each.path, {})[method.lower()] = _described(each, method)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "banken",
            "version": banken.__version__,
            "description": "What the web process answers. Times are seconds since 1970 (UTC), durations seconds.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-Banken-Token"},
            },
            "schemas": {
                "Fault": {
                    "type": "object",
                    "properties": {"error": {"type": "string", "description": "what was wrong, what is allowed"}},
                    "required": ["error"],
                }
            },
        },
    }


def _described(each: Operation, method: str) -> dict[str, Any]:
    names = re.findall(r"\{(\w+)(?::\w+)?\}", each.path)
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "description": _PATH_PARTS[name],
        }
        for name in names
    ] + [
        {"name": name, "in": "query", "schema": {"type": kind}, "description": what}
        for name, kind, what in each.query
    ]
    schema = {"type": "object"} if each.media == "application/json" else {"type": "string"}
    faults = {**{code: text for code, text in _FAULTS.items() if code != 401 or each.token}, **dict(each.faults)}
    in_json = each.path.startswith("/api/")
    fault = {"application/json": {"schema": {"$ref": "#/components/schemas/Fault"}}} if in_json else {
        "text/plain": {"schema": {"type": "string"}}
    }  # fmt: skip
    told: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}_{each.path}").strip("_"),
        "tags": [each.tag],
        "summary": each.summary,
        "responses": {
            "200": {"description": "done", "content": {each.media: {"schema": schema}}},
            **{str(code): {"description": text, "content": fault} for code, text in sorted(faults.items())},
        },
    }
    if each.about:
        told["description"] = each.about
    if parameters:
        told["parameters"] = parameters
    if each.body and method == "POST":
        keys = {name: {"type": kind, "description": what} for name, kind, what in each.body}
        told["requestBody"] = {"content": {"application/json": {"schema": {"type": "object", "properties": keys}}}}
    if each.token:
        told["security"] = [{"bearer": []}, {"header": []}]
    return told


def page(found: dict[str, Any]) -> str:
    """The document for people: one page of plain HTML that loads nothing but the style of the page."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        "<title>banken: the API</title><link rel=stylesheet href=/static/api.css>",
        f"<main><h1>banken: the API</h1><p>{escape(found['info']['description'])} The same for programs: ",
        "<a href=/api/v1/openapi.json>openapi.json</a>. <a href=/>The page</a>.</p>",
    ]
    tag = None
    for path, methods in found["paths"].items():
        for method, each in methods.items():
            if each["tags"][0] != tag:
                tag = each["tags"][0]
                parts.append(f"<h2>{escape(tag)}</h2>")
            parts.append(_section(path, method, each))
    return "".join(parts) + "</main>"


def _section(path: str, method: str, each: dict[str, Any]) -> str:
    token = " <em>wants the token</em>" if "security" in each else ""
    parts = [
        f"<section><h3><code><b>{method.upper()}</b> {escape(path)}</code></h3>",
        f"<p>{escape(each['summary'])}.{token}</p>",
    ]
    if "description" in each:
        parts.append(f"<p>{escape(each['description'])}</p>")
    given = [(p["name"], p["in"], p["schema"]["type"], p["description"]) for p in each.get("parameters", ())]
    keys = each.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    given += [(name, "body", key["type"], key["description"]) for name, key in keys.get("properties", {}).items()]
    if given:
        rows = "".join(
            f"<tr><th scope=row><code>{escape(name)}</code><td>{escape(place)}<td>{escape(kind)}<td>{escape(what)}"
            for name, place, kind, what in given
        )
        parts.append(f"<table><thead><tr><th>name<th>in<th>type<th>what<tbody>{rows}</table>")
    answers = "".join(
        f"<li><b>{code}</b> {escape(answer['description'])} <small>({escape(', '.join(answer['content']))})</small>"
        for code, answer in each["responses"].items()
    )
    return "".join([*parts, f"<details><summary>Answers</summary><ul>{answers}</ul></details></section>"])
