"""Real daemons on the loopback, each with a directory of its own, ended after use."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.checks.kit import free_port

START_S = 20.0


class Daemon(NamedTuple):
    """A daemon that answers."""

    process: subprocess.Popen[bytes]
    port: int
    directory: Path

    def stop(self) -> None:
        """It and all that it started hang."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


def needs(*commands: str) -> None:
    """Skip, loudly, where a command is missing."""
    for command in commands:
        if shutil.which(command) is None:
            pytest.skip(f"needs {command}")


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def directory(owner: str | None = None) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="bk-"))
    if owner is not None and not os.geteuid():
        account = pwd.getpwnam(owner)
        os.chown(made, account.pw_uid, account.pw_gid)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def daemon(
    command: Sequence[str], port: int, where: Path, user: str | None = None, pid_file: str = ""
) -> Iterator[Daemon]:
    """One that stays in the foreground, once its port takes connections, and it has written its pid file."""
    log = where / "log"
    as_user = {} if user is None or os.geteuid() else {"user": user, "group": user, "extra_groups": []}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, cwd=where, **as_user)
    try:
        until = time.monotonic() + START_S
        while not answers(port) or (pid_file and not _has_text(where / pid_file)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)
        yield Daemon(process, port, where)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(10)


def _has_text(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _nobody() -> list[str]:
    return [] if os.geteuid() else ["-u", "nobody"]


@contextmanager
def redis(port: int | None = None) -> Iterator[Daemon]:
    needs("redis-server")
    port = port or free_port()
    with directory() as where:
        command = ["redis-server", "--port", str(port), "--save", "", "--unixsocket", str(where / "redis.sock")]
        with daemon(command, port, where) as running:
            yield running


@contextmanager
def memcached() -> Iterator[Daemon]:
    needs("memcached")
    port = free_port()
    with directory() as where:
        with daemon(["memcached", "-l", "127.0.0.1", "-p", str(port), *_nobody()], port, where) as running:
            yield running


@contextmanager
def nginx(locations: str = 'location / { return 200 "ok\\n"; }', more: str = "") -> Iterator[Daemon]:
    """``locations``: of its server. ``more``: in its server."""
    needs("nginx")
    port = free_port()
    with directory() as where:
        for each in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
            (where / each).mkdir()
        temporary = "".join(
            f"{key}_temp_path {where}/{folder};"
            for key, folder in (
                ("client_body", "body"), ("proxy", "proxy"), ("fastcgi", "fastcgi"), ("uwsgi", "uwsgi"),
                ("scgi", "scgi"),
            )
        )  # fmt: skip
        conf = where / "nginx.conf"
        user = "" if os.geteuid() else "user root;"
        conf.write_text(
            f"daemon off; {user} worker_processes 1; pid {where}/pid; error_log {where}/error.log;"
            f"events {{}} http {{ access_log off; {temporary}"
            f"server {{ listen 127.0.0.1:{port}; {more} {locations} }} }}"
        )
        with daemon(["nginx", "-p", str(where), "-c", str(conf)], port, where, pid_file="pid") as running:
            yield running


@contextmanager
def haproxy(backend: int) -> Iterator[Daemon]:
    needs("haproxy")
    port = free_port()
    with directory() as where:
        conf = where / "haproxy.cfg"
        conf.write_text(
            "defaults\n mode http\n retries 0\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n"
            f"frontend f\n bind 127.0.0.1:{port}\n default_backend b\n"
            f"backend b\n server s 127.0.0.1:{backend} check inter 100ms fall 1 rise 1\n"
        )
        with daemon(["haproxy", "-db", "-f", str(conf)], port, where) as running:
            yield running


@contextmanager
def postgres(max_connections: int = 20) -> Iterator[Daemon]:
    found = sorted(glob("/usr/lib/postgresql/*/bin"))
    if not found:
        pytest.skip("needs postgresql")
    port = free_port()
    with directory("postgres") as where:
        data = where / "data"
        as_user = {} if os.geteuid() else {"user": "postgres", "group": "postgres", "extra_groups": []}
        subprocess.run(
            [f"{found[-1]}/initdb", "-A", "trust", "--no-sync", "-U", "postgres", "-D", str(data)],
            check=True, capture_output=True, timeout=60, cwd=where, **as_user,
        )  # fmt: skip
        command = [
            f"{found[-1]}/postgres", "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1",
            "-c", f"unix_socket_directories={where}", "-c", f"max_connections={max_connections}", "-c", "fsync=off",
        ]  # fmt: skip
        with daemon(command, port, where, "postgres") as running:
            yield running
