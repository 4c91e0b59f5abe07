"""``http`` against nginx, haproxy, TLS of every kind, and servers that do what no server should."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import threading
from pathlib import Path

import pytest
from tests.checks import certificates, daemons, hostile
from tests.checks.kit import fails, footprint, free_port, made, many, nothing_left, passes

from banken.errors import Refused
from banken_supervisor.config.checks import parse_checks
from process.kit import until

FAST = {"every": "1s", "limit": "300ms"}
HEALTH = '{"status": "ok", "db": {"connections": 12, "up": true}, "queues": [{"length": 3}]}'


@pytest.mark.process
def test_nginx_passes_fails_hangs_recovers_and_ends() -> None:
    """Its workers stopped, as the issue has it: it accepts, and never answers."""
    locations = (
        'location / { return 200 "all is ok\\n"; } location /down { return 503 "database\\n is gone\\n"; }'
        f"location /json {{ default_type application/json; return 200 '{HEALTH}'; }}"
        "location /old { return 302 /; } location /round { return 301 /round; }"
    )
    with daemons.nginx(locations) as nginx:
        at = f"http://127.0.0.1:{nginx.port}"
        ok = {"http": f"{at}/health", **FAST, "contains": "is ok"}
        with nothing_left():
            assert passes(ok).startswith("200 OK in ")
            text = fails({"http": f"{at}/down", **FAST})
            assert text == "503 Service Temporarily Unavailable, 200-299 was expected: database is gone"
            passes({"http": f"{at}/down", **FAST, "status": "200, 500-503"})
            text = fails({**ok, "contains": "fine"})
            assert text == '200 OK, but "fine" is not in its body, which begins with "all is ok\\n"'
            passes({"http": f"{at}/old", **FAST, "contains": "is ok"})
            passes({"http": f"{at}/old", **FAST, "status": 302})
            assert "redirects are not followed" in fails({"http": f"{at}/old", **FAST, "redirects": 0})
            assert "more than 5 redirects are not followed" in fails({"http": f"{at}/round", **FAST})
            passes({"http": f"{at}/", **FAST, "method": "HEAD"})
        right = {"status": "ok", "db.connections": "< 90", "db.up": True, "$.queues[0].length": 3}
        values = {"http": f"{at}/json", **FAST, "json": right}
        passes(values)
        assert 'status: "degraded" was expected, "ok" came' in fails({**values, "json": {"status": "degraded"}})
        assert 'db.connections: "< 10" was expected, 12 came' in fails(
            {**values, "json": {"db.connections": "< 10"}}
        )
        assert "queues[1].length: 3 was expected, and it is not there" in fails(
            {**values, "json": {"queues[1].length": 3}}
        )
        assert "JSON was expected, and the body is none" in fails({**values, "http": f"{at}/"})
        nginx.stop()
        try:
            assert fails(ok) == "no result within 0.3 s: connected, but no answer came"
        finally:
            nginx.go_on()
        passes(ok)
        nginx.kill()
        until(lambda: fails(ok) == "Connection refused", "nobody is reset who connects while it ends")


@pytest.mark.process
def test_haproxy_says_that_its_server_is_gone() -> None:
    with daemons.nginx() as nginx, daemons.haproxy(nginx.port) as haproxy:
        check = {"http": f"http://localhost:{haproxy.port}/", "every": "5s"}
        passes(check)
        nginx.kill()
        assert fails(check).startswith("503 Service Unavailable, 200-299 was expected: ")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, certificates.Certificate]:
    where = tmp_path_factory.mktemp("ca")
    return where, certificates.authority(where)


def _tls(certificate: certificates.Certificate) -> str:
    return f"ssl_certificate {certificate.certificate}; ssl_certificate_key {certificate.key};"


@pytest.mark.process
def test_certificates(authority: tuple[Path, certificates.Certificate]) -> None:
    """Of an own CA: that lasts, that ends soon, that has ended, of another name, of a CA that is not ours."""
    where, ca = authority
    good, old = (certificates.signed(where, ca, "localhost", days) for days in (20, -1))
    port, old_port = free_port(), free_port()
    more = (
        f"listen 127.0.0.1:{port} ssl; {_tls(good)} location / {{ return 200 ok; }} }}"
        f"server {{ listen 127.0.0.1:{old_port} ssl; {_tls(old)}"
    )
    with daemons.nginx(more=more) as nginx:
        check = {"http": f"https://localhost:{port}/x", "ca_file": ca.certificate, "limit": "3s", "expires": "14d"}
        with nothing_left():
            assert re.search("valid for another (19d23h|20d)$", passes(check))
            text = fails({**check, "expires": "30d"})
            assert re.fullmatch("its certificate ends in (19d23h|20d); 30d were expected", text)
            assert "certificate has expired" in fails({**check, "http": f"https://localhost:{old_port}/x"})
            assert "IP address mismatch" in fails({**check, "http": f"https://127.0.0.1:{port}/x"})
            passes({**check, "http": f"https://127.0.0.1:{port}/x", "host": "localhost"})
            assert "not trusted: unable to get local issuer certificate" in fails(
                {"http": check["http"], "limit": "3s"}
            )
            assert "what answers speaks no TLS" in fails({**check, "http": f"https://localhost:{nginx.port}/"})
            plain = {"http": f"http://localhost:{port}/", "limit": "3s"}
            assert "400 Bad Request" in fails(plain)


def test_a_tls_server_that_never_answers() -> None:
    with hostile.deaf() as port, nothing_left():
        text = fails({"http": f"https://127.0.0.1:{port}/", **FAST})
    assert text == "no result within 0.3 s: connected, but TLS does not begin"


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


def test_a_byte_a_second_is_ended_by_the_limit() -> None:
    """In its head, and in its body."""
    answer = HEAD + b"x" * 1000
    with hostile.serving(lambda sock, over: hostile.dripping(sock, over, answer, 0.05)) as port:
        check = {"http": f"http://127.0.0.1:{port}/", **FAST, "contains": "ok"}
        assert fails(check) == "no result within 0.3 s: connected, but the head of its answer does not end"
    with hostile.serving(lambda sock, over: (sock.sendall(HEAD), hostile.dripping(sock, over))[1]) as port:
        check = {"http": f"http://127.0.0.1:{port}/", **FAST, "contains": "ok"}
        assert fails(check) == "no result within 0.3 s: 200 OK, but its body does not end"
        passes({"http": f"http://127.0.0.1:{port}/", **FAST})  # its status is all that was asked for


def test_https_to_what_speaks_no_tls() -> None:
    with hostile.serving(hostile.says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        text = fails({"http": f"https://127.0.0.1:{port}/", "limit": "1s"})
    assert text == "connected, but what answers speaks no TLS; is it an http:// address?"


def test_null_in_json_is_there() -> None:
    body = b'HTTP/1.1 200 OK\r\n\r\n{"a": null, "b": {"c": null}}'
    for path, what in (("a", "is null"), ("b.c", "is null"), ("a.b", "is not there"), ("c", "is not there")):
        with hostile.serving(hostile.says(body)) as port:
            text = fails({"http": f"http://127.0.0.1:{port}/", "json": {path: "x"}, "limit": "1s"})
        assert text == f'{path}: "x" was expected, and it {what}'


def test_a_body_without_end_is_read_to_64_kib() -> None:
    """10 GB would be the same; so would a head."""
    with hostile.serving(lambda sock, over: hostile.endless(sock, over, HEAD)) as port, nothing_left():
        check = {"http": f"http://127.0.0.1:{port}/", "limit": "2s"}
        assert "is not in the first 64 KiB of its body" in fails({**check, "contains": "ok"})
        assert "its body has more than 64 KiB" in fails({**check, "json": {"a": 1}})
        passes(check)
    with hostile.serving(lambda sock, over: hostile.endless(sock, over, HEAD[:-2], b"A: b\r\n" * 999)) as port:
        assert "no HTTP/1.1" in fails({"http": f"http://127.0.0.1:{port}/", "limit": "2s"})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "it closed the connection without an answer"),
        (b"\x00\xff\x1b[2J" * 100, "no HTTP/1.1"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 'no HTTP/1.1: illegal status line: "SSH-2.0-OpenSSH_9.2"'),
        (b"HTTP/1.1 200 OK\r\nbad'header\r\n\r\n", """no HTTP/1.1: illegal header line: "bad'header\""""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "no HTTP/1.1: peer closed connection"),
        (HEAD + b"\x00\xff\x1b[2J", "is not in its body, which begins with"),
        (b"HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\n\r\n", "which is no address"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n", "which is no address"),
        (b"HTTP/1.1 302 Found\r\n\r\n", "302 Found, 200-299 was expected"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "it closed the connection without an answer"),
        (b"HTTP/1.1 500 \x1b[2Jbad\r\n\r\n", ""),
    ],
)
def test_answers_that_are_none(answer: bytes, words: str) -> None:
    """Each is said in words that a terminal can show."""
    with hostile.serving(hostile.says(answer)) as port, nothing_left():
        text = fails({"http": f"http://127.0.0.1:{port}/", "contains": "ok", "limit": "1s"})
    assert words in text
    assert text.isprintable()


class Seen:
    """A server that remembers what it was asked."""

    def __init__(self, answer: bytes = HEAD) -> None:
        self.requests: list[bytes] = []
        self.answer = answer

    def __call__(self, sock: socket.socket, over: threading.Event) -> None:
        self.requests.append(sock.recv(65536))
        sock.sendall(self.answer)


def test_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Method, headers and Host; secrets of the environment, which nothing shows."""
    monkeypatch.setenv("CHECK_TOKEN", "t0psecret")
    seen = Seen(b"HTTP/1.1 401 No t0psecret\r\n\r\nt0psecret is wrong")
    with hostile.serving(seen) as port:
        raw = {
            "http": f"http://admin:${{CHECK_TOKEN}}@127.0.0.1:{port}/a?token=${{CHECK_TOKEN}}",
            "headers": {"Authorization": "Bearer ${CHECK_TOKEN}", "X-Test": "1"},
            "method": "POST",
            "host": "example.org",
            "limit": "1s",
        }
        text = fails(raw)
        del raw["headers"]
        fails(raw)
    first, second = (each.decode() for each in seen.requests)
    assert first.startswith("POST /a?token=t0psecret HTTP/1.1\r\nHost: example.org\r\n")
    assert "authorization: bearer t0psecret\r\n" in first.lower()
    assert "x-test: 1" in first.lower()
    assert "content-length: 0" in first.lower()
    assert "authorization: basic ywrtaw46ddbwc2vjcmv0\r\n" in second.lower()
    assert text == "401 No ***, 200-299 was expected: *** is wrong"
    check = made({**raw, "headers": {"X-Api-Key": "${CHECK_TOKEN}"}})
    assert "t0psecret" not in repr(check) + str(check.secret_free()) + check.label
    assert "token=${CHECK_TOKEN}" in check.label


def test_a_redirect_to_another_host_gets_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECK_TOKEN", "t0psecret")
    other = Seen()
    with hostile.serving(other) as there:
        first = Seen(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\n\r\n" % there)
        with hostile.serving(first) as here:
            headers = {"Authorization": "Bearer ${CHECK_TOKEN}"}
            passes({"http": f"http://127.0.0.1:{here}/", "headers": headers, "limit": "1s"})
    assert b"t0psecret" in first.requests[0]
    assert b"t0psecret" not in other.requests[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"http": "127.0.0.1:80"}, "http: is no address; allowed is http://HOST"),
        ({"http": "ftp://h/"}, "http: is no address"),
        ({"http": "http://h:0/"}, "http: is no address"),
        ({"http": "http://h/a b"}, "http: is no address"),
        ({"http": "http://user:pw@h/"}, "http: holds a password; take it from the environment"),
        ({"http": "http://h/?api_key=abc"}, 'http: holds a secret in "api_key"; take it from the environment'),
        ({"http": "http://h/${NOT_SET_HERE}"}, "http: the environment variable NOT_SET_HERE is not set"),
        ({"headers": {"Authorization": "Bearer abc"}}, "headers: Authorization holds a secret"),
        ({"headers": {"Host": "x"}}, "headers: Host is not to be set here; write host = "),
        ({"headers": {"A b": "x"}}, 'headers: "A b" is no name of a header'),
        ({"headers": {"A": "x\r\nB: c"}}, "headers: A must be ASCII without line ends"),
        ({"headers": "x"}, "headers: must be a table of texts"),
        ({"status": "20"}, 'status: "20" is no status; allowed are statuses and ranges'),
        ({"status": [200, 404]}, 'status: must be a status or a text, not an array; allowed are .*"200, 404"'),
        ({"status": "299-200"}, "status: .* is no status"),
        ({"method": "BREW"}, "method: .*allowed: "),
        ({"expires": "14d"}, "expires: an http:// address has no certificate"),
        ({"method": "HEAD", "contains": "x"}, "method HEAD: its answer has no body"),
        ({"json": {}}, "json: must be a table of paths and values"),
        ({"json": {"a..b": 1}}, 'json: "a..b" is no path'),
        ({"json": {"a": [1]}}, "json: .*must be a text, a number, true or false, not an array"),
        ({"redirects": 11}, "redirects: 11 is not allowed; at most 10"),
        ({"http": "https://h/", "ca_file": "/etc/hostname"}, "ca_file: cannot be used: it holds no certificate"),
    ],
)
def test_what_is_wrong_is_said(more: dict[str, object], words: str) -> None:
    """And no secret is repeated."""
    with pytest.raises(Refused, match=words) as caught:
        parse_checks({"http": "http://h/", **more})
    assert "abc" not in str(caught.value)


@pytest.mark.process
def test_hanging_checks_leave_nothing_behind() -> None:
    runs = int(os.environ.get("CHECK_RUNS", "1000"))
    with hostile.deaf() as port:
        check = made({"http": f"http://127.0.0.1:{port}/", "limit": "100ms"})
        asyncio.run(many(check, 10, 10))
        before = footprint()
        outcomes = asyncio.run(many(check, runs, 250))
        after = footprint()
    assert {outcome.passed for outcome in outcomes} == {False}
    assert len(after[0]) == len(before[0])
    assert after[1:] == before[1:]
    print(f"{runs} runs: {len(before[0])} descriptors before, {len(after[0])} after")
