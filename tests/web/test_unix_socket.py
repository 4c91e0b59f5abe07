"""The Unix socket: who may use it, and how it comes and goes."""

from __future__ import annotations

import grp
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from banken.errors import AddressRefused
from banken_supervisor.web.peers import NOBODY as NONE_BESIDE
from banken_supervisor.web.unix_socket import UnixSocket
from process.kit import START_S
from web.kit import Street, Web

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("web-process")]

NOBODY = 65_534
ASKING = """
import os, socket, sys
where, uid, group, what = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
os.setgroups([group]); os.setgid(uid); os.setuid(uid)
one = socket.socket(socket.AF_INET if where.isdecimal() else socket.AF_UNIX)
try:
    one.connect(("127.0.0.1", int(where)) if where.isdecimal() else where)
except OSError as fault:
    sys.exit(type(fault).__name__)
one.sendall(f"GET {what} HTTP/1.1\\r\\nHost: 127.0.0.1:{where}\\r\\nConnection: close\\r\\n\\r\\n".encode())
print(b"".join(iter(lambda: one.recv(65536), b"")).decode())
"""


def ask(path: Path, what: str, *, more: str = "Accept: */*") -> str:
    """What we get."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(START_S)
        one.connect(str(path))
        one.sendall(f"GET {what} HTTP/1.1\r\nHost: any\r\n{more}\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: one.recv(65536), b"")).decode()


def ask_as(uid: int, where: Path | int, what: str, group: int = NOBODY) -> str:
    """What a process of this user, who is in this group too, gets; the fault's name if it cannot connect."""
    command = [sys.executable, "-c", ASKING, str(where), str(uid), str(group), what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_S)
    return done.stdout or done.stderr.strip()


def test_our_own_user_needs_no_token(web: Web, street: Street) -> None:
    """Pings, reading and the page, by any host's name; other sites' pages get nothing here either. A second process
    of the same address serves without the socket, and says so."""
    path = Path(web.address, "web")
    assert path.stat().st_mode & 0o777 == 0o600
    for what in ("/ping/by-socket", "/api/v1/summary", "/", "/metrics"):
        assert ask(path, what).startswith("HTTP/1.1 200 "), what
    assert street.row("by-socket")["state"] == "alive"
    assert ask(path, "/ping/by-socket", more="Origin: http://evil.example").startswith("HTTP/1.1 403 ")
    second = street.web()
    assert f"{path}: another process listens there" in second.process.log()
    second.process.signal(signal.SIGTERM)
    second.process.ended(10)
    assert ask(path, "/-/ready").startswith("HTTP/1.1 200 ")


def test_a_socket_comes_and_goes(tmp_path: Path) -> None:
    """That of a process that ended is replaced, that of a living one not; no file of another kind is touched."""
    path = tmp_path / "s"
    first = UnixSocket(str(path), NONE_BESIDE)
    with pytest.raises(AddressRefused, match="another process listens there"):
        UnixSocket(str(path), NONE_BESIDE)
    first.bound.close()  # without removing it, as after kill -9
    second = UnixSocket(str(path), NONE_BESIDE)
    first.remove()
    assert path.exists(), "it is another one's by now"
    second.remove()
    second.bound.close()
    assert not path.exists()
    path.write_text("kept")
    with pytest.raises(AddressRefused, match="no socket"):
        UnixSocket(str(path), NONE_BESIDE)
    assert path.read_text() == "kept"
    with pytest.raises(AddressRefused, match="too long"):
        UnixSocket(str(tmp_path / ("x" * 120)), NONE_BESIDE)


@pytest.mark.root
def test_other_users_get_nothing_unless_they_are_allowed(own: Street) -> None:
    """By directory and mode; where a socket is for others too, by the kernel's word."""
    own.supervisor()
    own.web()
    assert ask_as(NOBODY, Path(own.address, "web"), "/ping/x") == "PermissionError"
    own.place.chmod(0o711)
    path = own.place / "socket"
    web = own.web("--socket", path, "--allow", "daemon", "--allow", "@adm")
    assert ask_as(1, path, "/ping/by-daemon").startswith("HTTP/1.1 200 ")
    assert ask_as(NOBODY, path, "/ping/by-group", grp.getgrnam("adm").gr_gid).startswith("HTTP/1.1 200 ")
    found = ask_as(NOBODY, path, "/ping/by-nobody")
    assert found.startswith("HTTP/1.1 403 ")
    assert f"user {NOBODY} may not use this socket; `banken web --allow USER`" in found
    assert ask_as(NOBODY, path, "/api/v1/summary").startswith("HTTP/1.1 403 ")
    assert set(own.rows("by-*")) == {"by-daemon", "by-group"}
    web.close()


@pytest.mark.root
def test_another_user_over_tcp_is_named_in_the_log(own: Street) -> None:
    """By the kernel's word; nothing is served to it, nothing is fed or failed by it."""
    own.supervisor()
    web = own.web()
    assert web.get("/ping/trainer").status == 200
    for what in ("/ping/trainer/fail", "/ping/stranger", "/api/v1/watchdogs", "/metrics"):
        assert ask_as(NOBODY, web.port, what).startswith("HTTP/1.1 401 "), what
    assert own.row("trainer")["state"] == "alive"
    assert not own.rows("stranger")
    assert f"1 with no token; the last came from user {NOBODY}" in web.process.log()
