"""``http``: a request, and what its answer must be: status, text or JSON of the body, a certificate that lasts."""

from __future__ import annotations

import re
from time import monotonic
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from banken_supervisor.actions import options
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.json_values import path_of
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.progress import Progress
from banken_supervisor.checks.subject import Subject
from banken_supervisor.checks.tcp import is_host, is_ip
from banken_supervisor.checks.templates import Template, has_variable, is_secret, template
from banken_supervisor.text.quoting import kind_of, quoted

HEADERS_MAX = 50

REDIRECTS_MAX = 10

URL_ALLOWED = "allowed is http://HOST/… or https://HOST/…, in ASCII and without blanks"

_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_visible = re.compile(r"[!-~]+")
_range = re.compile(r"\s*([1-5]\d\d)\s*(?:-\s*([1-5]\d\d)\s*)?", re.ASCII)
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"})
"""Headers that are not the config's to set."""


def statuses(value: object) -> tuple[tuple[int, int], ...]:
    """``"200-299, 401"``, or one number."""
    allowed = 'allowed are statuses and ranges, such as 200, "200, 404" or "200-299, 401"'
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"must be a status or a text, not {kind_of(value)}; {allowed}")
    found = []
    for part in options.text(value, longest=200, what="a status").split(","):
        match = _range.fullmatch(part)
        if match is None or (match[2] and match[1] > match[2]):
            raise ValueError(f"{quoted(value)} is no status; {allowed}")
        found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(found)


def url(value: object, info: ValidationInfo) -> Template:
    """An address. ValueError repeats nothing of it."""
    given = template(value, info)
    text = given.text
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        good = parts.scheme in ("http", "https") and parts.port != 0 and (is_ip(host) or is_host(host))
        written = urlsplit(given.written)
        parameters = parse_qsl(written.query, keep_blank_values=True)
    except ValueError:
        raise ValueError(f"is no address; {URL_ALLOWED}") from None
    if not good or not _visible.fullmatch(text) or len(text) > options.URL_MAX:
        raise ValueError(f"is no address; {URL_ALLOWED}, at most {options.URL_MAX:,} characters")
    if "@" in written.netloc and not has_variable(written.netloc.rpartition("@")[0]):
        raise ValueError("holds a password; take it from the environment: https://user:${PASSWORD}@HOST/…")
    literal = next((key for key, each in parameters if each and is_secret(key) and not has_variable(each)), None)
    if literal is not None:
        raise ValueError(f"holds a secret in {quoted(literal)}; take it from the environment: {literal}=${{NAME}}")
    return given


def checked_headers(value: object, info: ValidationInfo) -> dict[str, Template]:
    """Headers by name. Those that hold secrets take them from the environment."""
    if not isinstance(value, dict):
        raise ValueError(f'must be a table of texts, such as {{ Accept = "text/plain" }}, not {kind_of(value)}')
    if len(value) > HEADERS_MAX:
        raise ValueError(f"has {len(value)} headers; at most {HEADERS_MAX} are allowed")
    found = {}
    for key, each in value.items():
        if not _token.fullmatch(key):
            raise ValueError(f"{quoted(key)} is no name of a header")
        if key.lower() in _OURS:
            hint = "; write host = … for another host" if key.lower() == "host" else ""
            raise ValueError(f"{key} is not to be set here{hint}")
        try:
            made = template(each, info)
        except ValueError as fault:
            raise ValueError(f"{key}: {fault}") from None
        if is_secret(key) and not has_variable(made.written):
            raise ValueError(f"{key} holds a secret; take it from the environment: ${{NAME}}")
        if not all(" " <= c <= "~" or c == "\t" for c in made.text):
            raise ValueError(f"{key} must be ASCII without line ends")
        found[key] = made
    return found


def expected(value: object) -> dict[str, Any]:
    """What the body must hold as JSON: paths, and for each the value, or a comparison of numbers."""
    if not isinstance(value, dict) or not value:
        raise ValueError('must be a table of paths and values, such as { "status.db" = "ok", queue = "< 100" }')
    for path, each in value.items():
        path_of(path)
        if not isinstance(each, (str, int, float, bool)):
            raise ValueError(f"{quoted(path)} must be a text, a number, true or false, not {kind_of(each)}")
    return dict(value)


def _host(value: str) -> str:
    name, _, port = value.partition(":")
    if not is_host(name) or (port and not port.isdecimal()):
        raise ValueError(f"{quoted(value)} is no name of a host")
    return value


def checked_ca_file(path: str, info: ValidationInfo) -> str:
    """A file of certificates, read early."""
    import ssl  # not needed without https

    try:
        if options.source(info).read_files:
            ssl.create_default_context(cafile=path)
    except OSError as fault:
        why = "it holds no certificate in PEM" if isinstance(fault, ssl.SSLError) else fault.strerror
        raise ValueError(f"cannot be used: {why}") from None
    return path


_STATUS = {"anyOf": [{"type": "integer", "minimum": 100, "maximum": 599}, options.STRING]}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_VALUES = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}, "minProperties": 1}


class Http(CheckFields):
    """An answer of the right status, with what is expected in its body."""

    kind: ClassVar[str] = "http"

    http: Annotated[Template, *options.kind(url, options.STRING)] = Field(
        description="http://… or https://…; a secret in it only as ${ENV}."
    )
    status: Annotated[tuple[tuple[int, int], ...], *options.kind(statuses, _STATUS)] = Field(
        ((200, 299),), description='Statuses that pass: "200-299, 401".', json_schema_extra={"default": "200-299"}
    )
    contains: str | None = Field(
        None, min_length=1, max_length=options.TEXT_MAX, description="A text in the first 64 KiB of the body."
    )
    json_: Annotated[dict[str, Any], *options.kind(expected, _VALUES)] | None = Field(
        None, alias="json", description='Values in the body: { "status.db" = "ok", "queues[0].waiting" = "< 100" }.'
    )
    expires: Annotated[float, *options.seconds(1, 10 * 365 * 86400)] | None = Field(
        None, description="The certificate must be valid for so much longer: 14d."
    )
    method: Literal["GET", "HEAD", "POST", "PUT", "OPTIONS"] = Field("GET", description="Of the request.")
    headers: Annotated[dict[str, Template], *options.kind(checked_headers, _TEXTS)] = Field(
        {}, description="Of the request; a secret only as ${ENV}."
    )
    host: Annotated[str, AfterValidator(_host)] | None = Field(
        None, max_length=300, description="Sent as Host, and asked for by TLS, in place of the address's."
    )
    ca_file: Annotated[options.PathField, AfterValidator(checked_ca_file)] | None = Field(
        None, description="Certificates to trust instead of the system's."
    )
    redirects: Annotated[int, Field(ge=0, le=REDIRECTS_MAX)] = Field(5, description="Redirects that are followed.")

    @model_validator(mode="after")
    def _secure(self) -> Http:
        if not self.http.text.startswith("https:"):
            for key in ("expires", "ca_file"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key}: an http:// address has no certificate; allowed with https://")
        if self.method == "HEAD" and (self.contains or self.json_):
            raise ValueError("method HEAD: its answer has no body to look at")
        return self

    @property
    def label(self) -> str:
        return f"http {self.http.written.partition('://')[2]}"[:120]

    @property
    def hidden(self) -> tuple[str, ...]:
        """The values of variables in the address and the headers."""
        given = (self.http, *self.headers.values())
        return tuple({value for each in given for value in each.values})

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """Ask, and compare."""
        from banken_supervisor.checks.http_request import Request, ask

        began = monotonic()
        request = Request(
            self.http.text,
            self.method,
            {key: each.text for key, each in self.headers.items()},
            self.host,
            self.ca_file,
            self.redirects,
            self.status,
            bool(self.contains or self.json_),
        )
        answer = await ask(request, progress)
        wrong = answer.wrong or answer.judge(self.expires, self.contains, self.json_)
        if wrong:
            return Outcome(False, wrong)
        return Outcome(True, f"{answer.words} in {(monotonic() - began) * 1000:.0f} ms{answer.lasts}")
