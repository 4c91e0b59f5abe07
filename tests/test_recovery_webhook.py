"""Webhooks against real servers on loopback: what arrives, and what a bad server can do."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import logging
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from banken_supervisor.actions import build
from banken_supervisor.actions import webhook as module
from banken_supervisor.actions.target import CUT
from banken_supervisor.engine.ladder import Backoff
from banken_supervisor.processes.incident_end import IncidentEnd, StopReason
from http_kit import Answer, Server, status
from recovery_kit import run, subject

RAW = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(RAW).decode()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers, and ends them all."""
    servers: list[Server] = []

    def start(answer: Answer, context: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(answer, context))
        return servers[-1]

    yield start
    for each in servers:
        each.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between attempts."""
    monkeypatch.setattr(module, "BACKOFF", Backoff(0.02, 0.1))


def verify(headers: dict[str, str], body: bytes) -> None:
    """What a receiver does, after the specification and without our code."""
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 30
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    good = base64.b64encode(hmac.digest(RAW, signed, hashlib.sha256)).decode()
    version, _, signature = headers["webhook-signature"].partition(",")
    assert version == "v1"
    assert hmac.compare_digest(signature, good)


def test_what_arrives_is_a_signed_cloud_event(serve: Callable[..., Server]) -> None:
    """One POST with the path and query of the URL, a CloudEvent with all facts, and a signature that verifies."""
    server = serve(status(204))
    action = build("webhook", {"url": f"{server.url}/hooks/a?b=c", "secret": SECRET})
    about = subject(level="critical", step=2, run=3, link="https://x/1", evidence={"headline": "f (job.py:42)"})
    done = run(action, about)
    assert (done.ok, done.data["attempts"], done.data["status"]) == (True, 1, 204)
    [(path, headers, body)] = server.seen
    assert path == "/hooks/a?b=c"
    verify(headers, body)
    assert headers["content-type"].startswith("application/cloudevents+json")
    event = json.loads(body)
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", "banken.incident.open", "worker-3")
    assert event["id"] == headers["webhook-id"] == "i-worker-3-2-3"
    assert event["source"].startswith("banken://")
    assert event["time"] == "2026-09-21T14:13:20.250+00:00"
    data = event["data"]
    assert (data["cause"], data["silence"], data["level"], data["step"]) == ("timeout", 12.34, "critical", 2)
    assert data["evidence"] == {"headline": "f (job.py:42)"}
    assert data["recovered"] is False


def test_it_has_the_fence_of_its_leader(serve: Callable[..., Server]) -> None:
    """Of a cluster's: in a header, and in what is signed. Without a cluster there is none."""
    server = serve(status(200))
    for fence in (None, 42):
        assert run(build("webhook", {"url": server.url}), subject(fence=fence)).ok
    (_, alone, first), (_, led, second) = server.seen
    assert "banken-fence" not in alone
    assert "fence" not in json.loads(first)["data"]
    assert led["banken-fence"] == "42"
    assert json.loads(second)["data"]["fence"] == 42


def test_a_recovery_says_so_under_another_id(serve: Callable[..., Server]) -> None:
    """The notice of recovery has its own type and id, and is sent though its incident has ended."""
    server = serve(status(200))
    ended = IncidentEnd()
    ended.end(StopReason.STOPPING)
    assert run(build("webhook", {"url": server.url}), subject(recovered=True), None, ended).ok
    event = json.loads(server.seen[0][2])
    assert (event["type"], event["id"]) == ("banken.incident.recovered", "i-worker-3-0-recovered")
    assert "webhook-signature" not in server.seen[0][1]


def test_the_id_of_a_recovery_is_the_same_whoever_sends_it() -> None:
    """A former leader and the next one may know of different runs of the step."""
    assert len({module.message_id(subject(recovered=True, run=run)) for run in (1, 3)}) == 1
    assert len({module.message_id(subject(run=run)) for run in (1, 3)}) == 2


def test_it_is_tried_again_with_the_same_id(serve: Callable[..., Server]) -> None:
    """500 twice, then 200: three attempts with one id, each signed."""
    server = serve(lambda handler, number: status(500 if number <= 2 else 200)(handler, number))
    done = run(build("webhook", {"url": server.url, "secret": SECRET}), subject())
    assert (done.ok, done.data["attempts"]) == (True, 3)
    assert len({headers["webhook-id"] for _, headers, _ in server.seen}) == 1
    assert len({body for _, _, body in server.seen}) == 1
    for _, headers, body in server.seen:
        verify(headers, body)


@pytest.mark.parametrize(
    ("code", "attempts"), [(503, 3), (429, 3), (408, 3), (400, 1), (401, 1), (404, 1), (410, 1)]
)
def test_what_is_worth_another_attempt(serve: Callable[..., Server], code: int, attempts: int) -> None:
    """5xx, 429 and 408 are tried again, as often as was told; another no is a no, and its words are kept."""
    server = serve(status(code, b"go away \x1b[31m\xff" + b"x" * 5000))
    done = run(build("webhook", {"url": server.url, "retries": 2}), subject())
    assert (done.ok, len(server.seen)) == (False, attempts)
    assert f"answered {code}: go away \\x1b[31m\\xff" in done.text.replace("\\\\", "\\")
    assert len(done.text) < 600


def test_redirects_are_not_followed(serve: Callable[..., Server]) -> None:
    """A redirect is a failure at once, and nobody else hears of the incident."""
    other = serve(status(200))
    server = serve(status(307, Location=other.url))
    done = run(build("webhook", {"url": server.url}), subject())
    assert not done.ok
    assert "redirects are not followed" in done.text
    assert (len(server.seen), other.seen) == (1, [])


def test_a_server_may_ask_for_a_pause_within_bounds(serve: Callable[..., Server]) -> None:
    """Retry-After is honoured; a pause that does not fit into the time ends the attempts at once."""
    server = serve(
        lambda handler, number: status(*((429, b"") if number == 1 else (200, b"")), Retry_After="1")(handler, 1)
    )
    assert run(build("webhook", {"url": server.url}), subject()).ok
    assert server.at[1] - server.at[0] >= 1.0
    patient = serve(status(503, Retry_After="100000"))
    began = time.monotonic()
    done = run(build("webhook", {"url": patient.url, "timeout": 20}), subject())
    assert (done.ok, len(patient.seen)) == (False, 1)
    assert "no time for another attempt" in done.text
    assert time.monotonic() - began < 15


def _drips(line: bytes) -> Answer:
    """Sends one byte every 20 ms, for ever."""

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        handler.wfile.write(line)
        for _ in range(1500):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.02)

    return answer


def _silent(handler: BaseHTTPRequestHandler, number: int) -> None:
    time.sleep(8)


def _endless_hundreds(handler: BaseHTTPRequestHandler, number: int) -> None:
    for _ in range(1500):
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        handler.wfile.flush()
        time.sleep(0.02)


@pytest.mark.parametrize(
    "answer",
    [_silent, _drips(b""), _drips(b"HTTP/1.1 200 OK\r\nX: "), _endless_hundreds],
    ids=["silent", "drips its status", "drips its headers", "endless 100s"],
)
def test_a_server_that_holds_us_is_left_in_time(serve: Callable[..., Server], answer: Answer) -> None:
    """A server that is silent, or sends a byte now and then, holds the action no longer than its time in all."""
    server = serve(answer)
    began = time.monotonic()
    done = run(build("webhook", {"url": server.url, "timeout": 1.0}), subject())
    seconds = time.monotonic() - began
    assert not done.ok
    assert "no whole answer within the time given" in done.text
    assert 0.9 <= seconds <= 5.0


def test_the_body_of_an_answer_is_not_waited_for(serve: Callable[..., Server]) -> None:
    """Once a server has said 200 it has taken the message, though its body never ends; a 500's endless body costs a
    second and does not stop the next attempt."""
    server = serve(_drips(b"HTTP/1.1 200 OK\r\n\r\n"))
    began = time.monotonic()
    assert run(build("webhook", {"url": server.url, "timeout": 20}), subject()).ok
    assert time.monotonic() - began < 5
    dripping = _drips(b"HTTP/1.1 500 Oh\r\n\r\n")
    server = serve(lambda handler, number: (dripping if number == 1 else status(200))(handler, number))
    assert run(build("webhook", {"url": server.url, "timeout": 20}), subject()).ok


@pytest.mark.parametrize(
    "words", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n", b"\0" * 100_000]
)
def test_what_is_no_http_is_a_failure_or_an_answer(words: bytes) -> None:
    """A port that hangs up or speaks something else is told as such; nothing is raised."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):  # the end of the test
                while True:
                    peer, _ = listener.accept()
                    with peer, contextlib.suppress(ConnectionError):
                        peer.recv(65536)
                        peer.sendall(words)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        done = run(build("webhook", {"url": url, "timeout": 5, "retries": 1}), subject())
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        assert not thread.is_alive()
    assert done.ok == words.startswith(b"HTTP")
    assert done.text


def test_nobody_listens() -> None:
    """A refused connection is tried again and then told, with the port and without the path."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = run(build("webhook", {"url": f"http://127.0.0.1:{port}/secret-path", "retries": 2}), subject())
    assert (done.ok, done.data["attempts"]) == (False, 3)
    assert f"127.0.0.1:{port}" in done.text
    assert "refused" in done.text
    assert "secret-path" not in done.text


def test_an_incident_that_ended_is_not_announced_any_longer(serve: Callable[..., Server], monkeypatch: Any) -> None:
    """While an attempt is waited for, the end of the incident ends the action at once."""
    monkeypatch.setattr(module, "BACKOFF", Backoff(10.0, 20.0))
    for reason, text in (
        (StopReason.ENDED, "not tried again, for the incident has ended"),
        (StopReason.HANDED_OVER, "not tried again, for this supervisor leads no longer"),
    ):
        ended = IncidentEnd()
        server = serve(lambda handler, number, end=ended.end, why=reason: (end(why), status(500)(handler, number)))
        began = time.monotonic()
        done = run(build("webhook", {"url": server.url, "timeout": 60}), subject(), None, ended)
        assert (done.ok, len(server.seen)) == (False, 1)
        assert text in done.text
        assert done.data.get(CUT, False) is (reason is StopReason.HANDED_OVER)
        assert time.monotonic() - began < 8


@pytest.mark.parametrize("recovered", [False, True])
@pytest.mark.parametrize("fence", [None, 7])
def test_where_the_supervisor_stops_it_is_tried_once_more_at_once(
    serve: Callable[..., Server], monkeypatch: Any, recovered: bool, fence: int | None
) -> None:
    """In the pause after an attempt: the next supervisor does not send it. The text does not say that the incident
    has ended, which is open, and the news of an end is not sent again and again without a pause either. The
    supervisor waits for it: who does not answer then is left soon. In a cluster the next leader sends it, but for
    the news of an end."""
    monkeypatch.setattr(module, "BACKOFF", Backoff(10.0, 20.0))
    for last, ok in ((status(200), True), (status(503), False), (_silent, False)):
        ended = IncidentEnd()

        def answer(handler: BaseHTTPRequestHandler, number: int, last: Answer = last, end: Any = ended.end) -> None:
            (status(500) if number == 1 else last)(handler, number)
            end(StopReason.STOPPING)

        server = serve(answer)
        action = build("webhook", {"url": server.url, "timeout": 60, "retries": 9})
        began = time.monotonic()
        done = run(action, replace(subject(recovered=recovered), fence=fence), None, ended)
        assert (done.ok, len(server.seen)) == (ok, 2)
        assert done.data.get(CUT, False) is (not ok and fence is not None and not recovered)
        assert ok or "not tried again, for the supervisor stops" in done.text
        assert time.monotonic() - began < 8


def test_the_proxies_of_the_environment_are_not_used(serve: Callable[..., Server], monkeypatch: Any) -> None:
    """http_proxy of whoever started the supervisor changes nothing."""
    proxy, server = serve(status(200)), serve(status(200))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    assert run(build("webhook", {"url": server.url}), subject()).ok
    assert (len(server.seen), proxy.seen) == (1, [])


def test_a_secret_file_is_read_anew(serve: Callable[..., Server], tmp_path: Path) -> None:
    """The secret may stand in a file, with a newline; a changed file holds for the next run, a bad one is told."""
    file = tmp_path / "secret"
    file.write_text("whsec_" + base64.b64encode(b"another key, 24 bytes or more").decode())
    server = serve(status(200))
    action = build("webhook", {"url": server.url, "secret_file": str(file)})
    file.write_text(SECRET + "\n")
    assert run(action, subject()).ok
    verify(*server.seen[0][1:])
    assert SECRET in action.hidden
    file.write_text("nonsense")
    with pytest.raises(ValueError, match="is no secret"):
        run(action, subject())


def test_nothing_secret_is_logged(serve: Callable[..., Server], caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, neither path nor secret is written, be the answer a yes, a no or an odd one."""
    caplog.set_level(logging.DEBUG)

    def odd(handler: BaseHTTPRequestHandler, number: int) -> None:
        handler.wfile.write(b"HTTP/1.1 500 Oh\r\nno colon here\r\nX : y\r\n\r\n")

    for answer in (status(200), status(500), odd):
        server = serve(answer)
        done = run(build("webhook", {"url": f"{server.url}/token-1234", "secret": SECRET, "retries": 1}), subject())
        assert "token-1234" not in repr(done)
        assert SECRET not in repr(done)
    assert "token-1234" not in caplog.text
    assert SECRET not in caplog.text


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, an hour or so old at most."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    names = ["-subj", "/CN=banken test", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", cert]
    subprocess.run([*made, *names], check=True, capture_output=True)
    return cert, key


def test_certificates_are_checked(serve: Callable[..., Server], certificate: tuple[Path, Path]) -> None:
    """A certificate that nobody vouches for is refused; with ``ca_file`` it is taken, but not for another name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = serve(status(200), context)
    trusting = {"ca_file": str(certificate[0]), "retries": 0}
    refused = run(build("webhook", {"url": server.url, "retries": 0}), subject())
    assert not refused.ok
    assert "certificate" in refused.text.lower()
    assert run(build("webhook", {"url": server.url, **trusting}), subject()).ok
    other = run(build("webhook", {"url": f"https://localhost:{server.port}/", **trusting}), subject())
    assert not other.ok
    assert len(server.seen) == 1


def test_a_tls_server_that_drips_is_left_in_time(
    serve: Callable[..., Server], certificate: tuple[Path, Path]
) -> None:
    """The deadline holds through TLS as well."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = serve(_drips(b"HTTP/1.1 200 OK\r\nX: "), context)
    began = time.monotonic()
    done = run(build("webhook", {"url": server.url, "timeout": 1, "ca_file": str(certificate[0])}), subject())
    assert not done.ok
    assert time.monotonic() - began < 5


def test_a_tls_handshake_that_is_not_answered_is_left_in_time() -> None:
    """A port that takes connections and says nothing holds a https webhook no longer than its time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        began = time.monotonic()
        done = run(build("webhook", {"url": url, "timeout": 1}), subject())
        assert not done.ok
        assert time.monotonic() - began < 5
