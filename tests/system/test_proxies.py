"""A real nginx and a real HAProxy before a real ``banken web``, as docs/howto/nginx.md has them, with TLS."""

from __future__ import annotations

import base64
import http.client
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from process.kit import START_S, until
from web.kit import Street, Web

pytestmark = pytest.mark.process

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "nginx.md"
NAME = "watch.example.org"
USER = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}
INSECURE = ssl.create_default_context()
INSECURE.check_hostname, INSECURE.verify_mode = False, ssl.CERT_NONE


@pytest.fixture
def own(address: str) -> Iterator[Street]:
    made = Street(address)
    try:
        made.supervisor()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a certificate."""
    made = tmp_path_factory.mktemp("proxy")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
    command += ["-keyout", str(made / "key"), "-out", str(made / "certificate")]
    subprocess.run(command, check=True, capture_output=True)
    (made / "both").write_bytes((made / "certificate").read_bytes() + (made / "key").read_bytes())
    return made


def nginx(place: Path, web: Web, port: int) -> list[str]:
    """The page's locations in a server with TLS; the command that runs it."""
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    locations = found[1].replace("127.0.0.1:7768", web.host).replace("the token", web.token)
    locations = locations.replace("/etc/nginx/watch.users", str(place / "users"))
    hashed = subprocess.run(["openssl", "passwd", "-apr1", "secret"], check=True, capture_output=True, text=True)
    (place / "users").write_text(f"ann:{hashed.stdout}")
    temporary = "".join(
        f"{each}_temp_path {place}/{each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {place}/pid; error_log {place}/errors; events {{}}\n"
        f"http {{ access_log off; {temporary}\nserver {{ listen 127.0.0.1:{port} ssl; server_name {NAME};\n"
        f"ssl_certificate {place}/certificate; ssl_certificate_key {place}/key;\n{locations}}} }}\n"
    )
    return ["nginx", "-p", str(place), "-e", f"{place}/errors", "-c", f"{place}/nginx.conf"]


def haproxy(place: Path, web: Web, port: int) -> list[str]:
    """The page's frontend and backend, with a user and timeouts."""
    found = re.search(r"```text\n(frontend.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    ends = found[1].replace("127.0.0.1:7768", web.host).replace("the token", web.token)
    ends = ends.replace("bind :443", f"bind 127.0.0.1:{port}").replace(
        "/etc/haproxy/watch.pem", str(place / "both")
    )
    (place / "haproxy.cfg").write_text(
        "defaults\n    mode http\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n"
        f"userlist users\n    user ann insecure-password secret\n{ends}"
    )
    return ["haproxy", "-db", "-f", str(place / "haproxy.cfg")]


class Front:
    """What a browser sees at the proxy."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=INSECURE, timeout=START_S)

    def status(self, method: str, path: str, headers: dict[str, str], host: str = NAME) -> int:
        """Of the answer; 0: nobody answers."""
        try:
            with closing(self.connection()) as connection:
                connection.request(method, path, headers={"Host": host, **headers})
                return connection.getresponse().status
        except OSError:
            return 0


@pytest.mark.parametrize("proxy", [nginx, haproxy])
def test_the_page_works_behind_it(proxy: Callable[[Path, Web, int], list[str]], place: Path, own: Street) -> None:
    """A user needs the proxy's password and no token; a ping key needs neither. The stream tells of a feed at once.
    What other sites ask, and another name, are refused, and no path leads round the password."""
    if shutil.which(proxy.__name__) is None or shutil.which("openssl") is None:
        pytest.skip(f"no {proxy.__name__} or no openssl here")
    web = own.web("--host", NAME)
    with socket.create_server(("127.0.0.1", 0)) as free:
        front = Front(free.getsockname()[1])
    command = proxy(place, web, front.port)
    key = own.banken("ping-key", f"job-{proxy.__name__}").strip()
    with open(place / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(lambda: front.status("GET", "/api/v1/summary", USER) == 200, "the proxy serves", START_S)
            assert front.status("GET", "/", USER) == 200
            assert [front.status("GET", each, {}) for each in ("/", "/metrics", "/api/v1/stream")] == [401] * 3
            assert front.status("GET", f"/p/{key}", {}) == 200
            assert front.status("POST", "/ping/team%2Fa", USER) == 200
            assert [row["name"] for row in own.ask("status", name="team/a")["rows"]] == ["team/a"]
            theirs = {**USER, "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
            assert front.status("POST", "/api/v1/watchdogs/team%2Fa/release", theirs) == 403
            assert front.status("GET", "/api/v1/summary", USER, host="evil.example") in (404, 421)
            for path in ("/p/../api/v1/summary", "/p/%2e%2e/api/v1/summary", "//p/../api/v1/summary"):
                assert front.status("GET", path, {}) in (400, 401, 403, 404), path
            with closing(front.connection()) as connection:
                connection.request("GET", "/api/v1/stream", headers={"Host": NAME, **USER})
                stream = connection.getresponse()
                assert stream.getheader("content-type", "").startswith("text/event-stream")
                stream.read1(65536)
                name, fed, seen = f"live-{proxy.__name__}", time.monotonic(), b""
                assert front.status("POST", f"/ping/{name}", USER) == 200
                while name.encode() not in seen:
                    seen += stream.read1(65536)
                assert time.monotonic() - fed < 5.0, "it does not wait in the proxy"
        finally:
            process.terminate()
