"""The process: where it listens, how it ends, and that it harms nobody."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from click import ClickException

from banken.errors import Refused
from banken_supervisor.cli.run import command as run_command
from banken_supervisor.cli.web import command as web_command
from banken_supervisor.cli.web_child import WebChild
from banken_supervisor.cli.web_options import WebOptions
from banken_supervisor.web.listen_address import host_name, hosts, listen_address
from process.kit import START_S, Home, until
from process.ladder_kit import Command
from web.kit import Answer, Street, Web

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("web-process")]


def refused(*args: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """(exit code, stderr) of a ``banken`` that is to fail at once."""
    done = subprocess.run(
        [sys.executable, "-m", "banken_supervisor", *args],
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_the_token_is_its_owners(street: Street, web: Web) -> None:
    """0600, made once, not in the log, and the same for the next process."""
    file = Path(street.address) / "web-token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert web.token not in web.process.log()
    assert len(web.token) >= 32
    token = web.token
    assert street.web().token == token


def test_a_token_of_ones_own(street: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file, or from the environment; a refusal says where it is, but never what."""
    file = tmp_path / "token"
    file.write_text("a-token-of-my-own\n")
    monkeypatch.setattr(Web, "own_token", "a-token-of-my-own")
    web = street.web("--token-file", file)
    assert f"cat {file}" in web.bare("GET", "/metrics").text
    assert "of-my-own" not in web.process.log()
    monkeypatch.setenv("BANKEN_TOKEN", "another-token-of-mine")
    monkeypatch.setattr(Web, "own_token", "another-token-of-mine")
    web = street.web()
    assert "$BANKEN_TOKEN" in web.bare("GET", "/metrics").text
    assert web.ask("POST", "/api/v1/programs/none/start").status == 404
    assert web.ask("POST", "/api/v1/programs/none/start", {"X-Banken-Token": "a-token-of-my-own"}).status == 401


@pytest.mark.parametrize("command", [["web"], ["run", "--web", "127.0.0.1:0"]])
def test_a_terminal_is_told_the_whole_address(address: str, command: list[str]) -> None:
    """With the token after the #, for a browser."""
    ours, its = os.openpty()
    listen = [] if "--web" in command else ["--listen", "127.0.0.1:0"]
    run = [sys.executable, "-m", "banken_supervisor", *command, *listen, "--address", address]
    with subprocess.Popen(run, stdout=its, stderr=its, stdin=subprocess.DEVNULL) as process:
        os.close(its)
        said = b""
        try:
            while not re.search(rb"banken serves http://127\.0\.0\.1:\d+/#token=\S+ .*\n", said):
                assert select.select([ours], [], [], START_S)[0], said
                said += os.read(ours, 4096)
        finally:
            process.terminate()
            os.close(ours)
    assert f"#token={(Path(address) / 'web-token').read_text().strip()} ".encode() in said


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--listen", "0.0.0.0:0"], 2, "token of your own"),
        (["--listen", "[::]:0"], 2, "token of your own"),
        (["--listen", "0.0.0.0:0", "--token-file", "{token}"], 2, "--host NAME"),
        (["--listen", "7768"], 2, "HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], 2, "PORT from 0 to 65535"),
        (["--listen", "::1:7768"], 2, "brackets"),
        (["--listen", "203.0.113.7:0", "--token-file", "{token}"], 6, "no such address"),
        (["--host", "http://watch.example.org/"], 2, "without http://"),
        (["--host", "*"], 2, "watch.example.org"),
        (["--host", ""], 2, "no host name"),
        (["--token-file", "{missing}"], 2, "cannot be read"),
        (["--token-file", "{short}"], 2, "16 to 512"),
        (["--read-token-file", "{missing}"], 2, "cannot be read"),
        (["--read-token-file", "{token}", "--token-file", "{token}"], 2, "make another one"),
        (["--allow", "nobody"], 2, "--socket FILE"),
        (["--allow", "no-such-user", "--socket", "{short}"], 2, "no user of this host"),
        (["--allow", "@no-such-group", "--socket", "{short}"], 2, "no group of this host"),
        (["--socket", "{short}"], 6, "no socket"),
    ],
)
def test_what_cannot_be_is_told(address: str, tmp_path: Path, args: list[str], code: int, said: str) -> None:
    """In one line, with what is allowed."""
    (tmp_path / "token").write_text("x" * 20)
    (tmp_path / "short").write_text("x")
    files = {name: str(tmp_path / name) for name in ("token", "short", "missing")}
    found, text = refused("web", "--address", address, *(each.format(**files) for each in args))
    assert (found, len(text.splitlines())) == (code, 1), text
    assert said in text


def test_a_token_file_that_others_may_read(address: str) -> None:
    """Is refused; so is a link to somewhere else."""
    os.mkdir(address, 0o700)
    file = Path(address) / "web-token"
    file.write_text("x" * 40)
    file.chmod(0o644)
    code, text = refused("web", "--address", address, "--listen", "127.0.0.1:0")
    assert (code, "only you may read" in text) == (2, True), text
    file.unlink()
    file.symlink_to("/dev/null")
    code, text = refused("web", "--address", address, "--listen", "127.0.0.1:0")
    assert code == 6, text


def test_a_port_that_is_taken(address: str) -> None:
    """Says how to find who has it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, text = refused("web", "--address", address, "--listen", f"127.0.0.1:{port}")
    assert code == 6
    assert f"sport = :{port}" in text


def test_ctrl_c(own: Street) -> None:
    """Ends it in order, and without a word about the request that is cut by it."""
    web = Web(own.address)
    own._closing.append(web)
    with socket.create_connection(("127.0.0.1", web.port), timeout=START_S) as slow:
        head = f"POST /ping/x HTTP/1.1\r\nHost: {web.host}\r\nX-Banken-Token: {web.token}\r\n"
        slow.sendall(f"{head}Content-Length: 5\r\n\r\nab".encode())
        assert web.get("/-/healthy").status == 200  # by now the other one is being read
        web.process.signal(signal.SIGINT)
        code, seconds = web.process.ended(10)
    assert (code, seconds < 5.0) == (0, True)
    assert "Traceback" not in web.process.log()
    assert " error " not in web.process.log()


def test_it_serves_before_there_is_a_supervisor(own: Street) -> None:
    """Says soon that there is none, and finds the one that comes."""
    web = Web(own.address)
    own._closing.append(web)
    assert web.get("/-/healthy").status == 200
    assert all(each in web.stream().until("hello")["error"] for each in (own.address, "banken run"))
    assert web.get("/api/v1/summary").json["up"] is False
    began = time.monotonic()
    assert web.get("/api/v1/summary").json["up"] is False
    assert web.get("/ping/early").status == 503
    assert time.monotonic() - began < 3.0
    own.supervisor()
    web.ready()


@pytest.fixture
def beside(own: Street) -> tuple[Street, Command, Web]:
    """``banken run --web``: the home, the supervisor, and a way to ask the web process beside it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    web_at = f"127.0.0.1:{port}"
    run = Command(
        "run", "--address", own.address, "--no-journal", "--web", web_at, "--open", "--host", "other.example"
    )
    own._closing.append(run)
    web = object.__new__(Web)
    web.address, web.port, web.host, web._streams = own.address, port, f"127.0.0.1:{port}", []
    until(lambda: _asked(web, "/-/ready") == 200, "it serves", START_S)
    return own, run, web


def test_killing_the_web_process_harms_nobody(beside: tuple[Street, Command, Web]) -> None:
    """Another one is started; the supervisor has not even a stall to show, but those of a busy machine."""
    home, run, web = beside
    before, lost, queued = _child(run.pid), home.ask("summary")["lost"], _queued(run.pid)
    os.kill(before, signal.SIGKILL)
    until(lambda: _child(run.pid) not in (0, before), "another one runs", START_S)
    until(lambda: _asked(web, "/-/ready") == 200, "it serves", START_S)
    assert web.bare("GET", "/api/v1/summary", {"Host": "other.example"}).status == 200, "with the same options"
    summary = home.ask("summary")
    assert summary["pid"] == run.pid
    assert summary["lost"] - lost <= sum((_queued(run.pid) - queued).values()) / 1e9 + 0.01
    assert "ended by signal 9" in run.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_supervisor(beside: tuple[Street, Command, Web], number: int) -> None:
    """However that ends."""
    _, run, web = beside
    child = _child(run.pid)
    os.kill(run.pid, number)
    code, _ = run.ended(10)
    assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    until(lambda: not Path(f"/proc/{child}/cmdline").exists() or _zombie(child), "the web process ended", START_S)
    assert _asked(web, "/-/healthy") is None


def test_run_takes_the_options_of_web(tmp_path: Path) -> None:
    """And hands them on; without ``--web`` they are a mistake, and so is a wrong one, before anything starts."""
    of_web = {name for each in web_command.params if (name := each.name)}
    of_run = {name for each in run_command.params if (name := each.name)}
    assert of_web - of_run == {"until_eof"}  # its --listen is --web there, where --listen is for workers
    given = WebOptions("127.0.0.1:9", ("a", "b.example"), "/token", "/read", True, "/socket", ("nobody", "@adm"))
    context = web_command.make_context("web", given.arguments())
    assert WebOptions(**{name: context.params[name] for name in WebOptions._fields}) == given
    for args, said in (
        (["--open"], "--open is for the page: it needs --web HOST:PORT"),
        (["--token-file", "x"], "--token-file is for the page"),
        (["--web", ":0", "--host", "*"], "no host name"),
        (["--web", ":0", "--token-file", str(tmp_path / "none")], "cannot be read"),
        (["--web", "0.0.0.0:0"], "token of your own"),
    ):
        with pytest.raises((ClickException, Refused)) as found:
            run_command.main([*args, "--address", str(tmp_path / "s")], standalone_mode=False)
        assert said in str(found.value)


def test_a_web_process_that_cannot_start_harms_nobody(own: Street) -> None:
    """Its port is another's: it is tried again, more and more slowly, and the supervisor supervises."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        run = Command("run", "--address", own.address, "--no-journal", "--web", f"127.0.0.1:{port}")
        own._closing.append(run)
        until(lambda: "another process listens there" in run.log(), "it is told", START_S)
        until(lambda: re.search(r"web process ended \(exit status 6\)", run.log()), "it is told", START_S)
        assert Home.ask(own, "ping")["pid"] == run.pid
        run.signal(signal.SIGTERM)
        assert run.ended(10)[0] == 0


def test_it_is_known_to_be_of_no_program(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However early it is started: else the first stop of a program could end it, as an orphan of that."""
    monkeypatch.delenv("BANKEN_RUN", raising=False)
    child = WebChild(["--address", address, "--listen", "127.0.0.1:0"])
    child.start()
    try:
        process = psutil.Process(until(lambda: child._child and child._child.pid, "it is started"))
        assert until(lambda: "web" in process.cmdline() and process.environ(), "it runs")["BANKEN_RUN"] == ""
    finally:
        child.stop()


def test_listen_addresses() -> None:
    """What may stand in --listen, and which Host headers follow from it."""
    assert listen_address("127.0.0.1:80").loopback
    assert listen_address("[::1]:80").loopback
    assert listen_address("localhost:80").loopback
    assert listen_address(":80") == listen_address("127.0.0.1:80")
    assert not listen_address("0.0.0.0:80").loopback
    assert not listen_address("example.org:80").loopback
    assert listen_address("[::1]:80").text == "[::1]:80"
    for wrong in ("", "80", "x:", "x:y", "::1:80", "x:-1", "x:65536", "x:８０"):
        with pytest.raises(Refused):
            listen_address(wrong)
    assert hosts(listen_address(":0"), 7768, ()) == {"127.0.0.1:7768", "localhost:7768", "[::1]:7768"}
    assert hosts(listen_address("10.0.0.1:81"), 81, (host_name("Watch.example."),)) == {
        "10.0.0.1:81",
        "watch.example",
    }


@pytest.mark.parametrize(
    "text", ["", ".", "a..", "a.:80", "a-", "-a", "a b", "http://a", "a/b", "[::1", "ä.example"]
)
def test_what_no_browser_sends_is_no_host_name(text: str) -> None:
    """It would be taken, and never match."""
    with pytest.raises(Refused):
        host_name(text)


def test_hosts_as_browsers_write_them() -> None:
    """Without the port of http, IPv6 at its shortest, names in lower case; each address of loopback by itself."""
    assert hosts(listen_address("127.0.0.1:80"), 80, ()) >= {"127.0.0.1", "localhost", "[::1]", "127.0.0.1:80"}
    assert "127.0.0.5:7768" in hosts(listen_address("127.0.0.5:7768"), 7768, ())
    assert hosts(listen_address("[2001:DB8:0::1]:80"), 80, ()) == {"[2001:db8::1]:80", "[2001:db8::1]"}
    assert hosts(listen_address("Watch.Example.:81"), 81, ()) == {"watch.example:81"}


def _asked(web: Web, path: str) -> int | None:
    try:
        found: Answer = web.get(path)
    except OSError:
        return None
    return found.status


def _child(pid: int) -> int:
    """The web process of a supervisor; 0: it has none."""
    children = psutil.Process(pid).children()
    return children[0].pid if children else 0


def _queued(pid: int) -> Counter[str]:
    """Nanoseconds that each of its threads, and this whole machine, has waited for a processor that others had."""
    stolen = int(Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")
    found = Counter({"stolen": int(stolen * 1e9)})
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended, or a kernel that does not say
            found[task.name] = int((task / "schedstat").read_text().split()[1])
    return found


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
