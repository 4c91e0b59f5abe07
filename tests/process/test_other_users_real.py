"""Programs that run as another user feed their own names, and nothing that such a user does reaches further."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from banken.address import directory_of_user, resolve
from banken.client.sender import Sender
from banken.control import Control
from banken.errors import AddressRefused
from banken.process_identity import boot_id, process_start
from banken.protocol.codec import encode
from banken.protocol.messages import Kind, Message, ProcessIdentity
from banken_supervisor.evidence.announced_dumps import NotAnnounced, ask, find, sweep
from banken_supervisor.processes.handle import ProcessHandle
from process.kit import START_S, Child, connect, until
from process.run_kit import Running, running, table

pytestmark = [pytest.mark.process, pytest.mark.root]

NOBODY, DAEMON = 65534, 1

SLEEPS = ["sleep", "3067"]
WEB = table("web", SLEEPS, user="nobody", timeout="1s", grace="20s")
KILLS = '[[watchdog]]\nname = "web/kill-*"\ntimeout = "1s"\nladder = [{ do = "kill", wait = "0s" }]\n'


@pytest.fixture(scope="module")
def one() -> Iterator[Running]:
    """A supervisor whose place other users may enter, not its address; a program of another user, and a root's.

    One for all tests: each has watchdogs of its own.
    """
    with running(KILLS + WEB + table("db", SLEEPS)) as made:
        made.place.chmod(0o755)
        made.up("web")
        yield made


def worker(one: Running, names: str = "web", *, uid: int = NOBODY, dumps: str = "") -> Child:
    """A process of another user that feeds, as one that the program starts does."""
    child = one.home.worker("other_user", uid, names, 1.0, 0.05, dumps)
    if dumps:
        assert child.hear() == {"dumps": True}
    child.hear()
    return child


def feed(one: Running) -> Path:
    return Path(directory_of_user(one.address, NOBODY), "feed")


def is_alive(one: Running, name: str) -> None:
    until(lambda: one.home.row(name).get("state") == "alive", f"{name} is alive", START_S)


def test_it_feeds_its_own_names_and_its_silence_is_noticed(one: Running) -> None:
    """What it says of other names is refused, counted and told; its process is known, and its end noticed."""
    environ = Path(f"/proc/{one.up('web')}/environ").read_bytes()
    assert f"BANKEN_ADDRESS={feed(one).parent}\0".encode() in environ
    good = worker(one, "web,web/1,web@2")
    for name in ("web", "web/1", "web@2"):
        is_alive(one, name)
    before = one.home.refused().get("user", 0)
    bad = one.home.worker("other_user", NOBODY, "db,other,website", 1.0, 0.05)
    until(lambda: one.home.refused().get("user", 0) > before + 10, "it is refused", START_S)
    until(lambda: f"user {NOBODY} may not speak of 'db'" in one.log.read_text(), "it is told", START_S)
    assert not one.home.rows("other") | one.home.rows("website")
    assert one.home.row("db")["state"] != "alive"
    bad.kill()
    good.signal(signal.SIGSTOP)
    for name in ("web", "web/1"):
        until(lambda name=name: one.home.row(name)["state"] == "expired", f"{name} expired", START_S)
    good.signal(signal.SIGCONT)
    for name in ("web", "web/1"):
        is_alive(one, name)
    good.kill()
    cause = until(lambda: (one.home.row("web/1").get("incident") or {}).get("cause"), "its end is noticed", START_S)
    assert cause == "exited"


def test_nobody_else_gets_in_and_the_user_not_further(one: Running) -> None:
    """The directory is the supervisor's own: its user can enter it, and put, remove and replace nothing there."""
    directory = feed(one).parent
    modes = {
        path: (stat.S_IMODE(path.lstat().st_mode), path.lstat().st_uid)
        for path in (Path(one.address), directory.parent, directory, directory / "feed", directory / "dumps")
    }
    assert list(modes.values()) == [(0o700, 0), (0o711, 0), (0o711, 0), (0o600, NOBODY), (0o700, NOBODY)]
    for uid, allowed in ((NOBODY, ["feed"]), (DAEMON, [])):
        reached = _as_user(
            uid,
            f"for each in {[str(feed(one)), f'{one.address}/feed', f'{one.address}/control']!r}:\n"
            "    if socket.socket(socket.AF_UNIX).connect_ex(each) == 0: print(os.path.basename(each))\n"
            f"for each in (os.unlink, os.rmdir, os.mkdir):\n"
            f"    for path in {[str(feed(one)), str(feed(one)) + 'x', str(directory / 'dumps')]!r}:\n"
            "        try: each(path)\n"
            "        except OSError: pass\n"
            "        else: print(each, path)\n",
        )
        assert reached == allowed, uid
    said = _as_user(
        NOBODY,
        "try: Control(where, 0.1).request('ping')\n"
        "except Unreachable as fault: print(fault)\n"
        "try: journals.place(None, where + '/journal.db')\n"
        "except Failure as fault: print(fault)\n",
        f"from banken.control import Control, Unreachable\nfrom banken_supervisor.cli import journals\n"
        f"from banken_supervisor.cli.group import Failure\nwhere = {one.address!r}\n",
    )
    assert " ".join(said).count("only its supervisor's own user may") == 2, said
    with pytest.raises(AddressRefused, match=r"takes only feeds, .* at .*/a$"):
        Control(str(directory))


def test_it_cannot_have_a_process_of_another_user_killed(one: Running) -> None:
    """A feed that claims another process, then silence: the ladder kills that one only if it is the user's."""
    names = "web/kill-roots", "web/kill-own"
    with subprocess.Popen(["sleep", "3071"]) as roots, subprocess.Popen(["sleep", "3072"], user=NOBODY) as own:
        try:
            sender = Sender(resolve(str(feed(one).parent)))
            for name, process in zip(names, (roots, own), strict=True):
                who = ProcessIdentity(boot_id(), process.pid, process_start(process.pid), b"lies")
                assert sender.send(encode(Message(Kind.FEED, name, who, 0.0, None)), START_S, insist=True)
            sender.close()
            for name in names:
                until(lambda name=name: one.home.row(name).get("state") == "expired", f"{name} expired", START_S)
            assert own.wait(START_S) == -signal.SIGTERM
            until(lambda: _acted(one, names[0]), "its ladder has run", START_S)
            assert roots.poll() is None
        finally:
            own.kill()
            roots.kill()


def test_a_stopped_supervisor_convicts_nobody(one: Running) -> None:
    """What was sent meanwhile is read before a verdict, at its socket, too."""
    child = worker(one, ",".join(f"web/stop-{number}" for number in range(10)))
    is_alive(one, "web/stop-9")
    pid = one._started[-1].pid
    os.kill(pid, signal.SIGSTOP)
    time.sleep(1.3)
    os.kill(pid, signal.SIGCONT)
    until(lambda: one.home.row("web/stop-9")["left"] > 0.8, "its feeds are read again", START_S)
    assert {row["incidents"] for row in one.home.rows("web/stop-*").values()} == {0}
    child.kill()


def test_it_goes_on_over_a_restart_and_is_found_without_its_record(one: Running) -> None:
    """kill -9 of the supervisor: the program is adopted, by its mark alone if need be, and its worker feeds on."""
    worker(one, "web/kept")
    is_alive(one, "web/kept")
    pid = one.up("web")
    one._started[-1].kill()
    one._started[-1].wait(10)
    Path(one.address, "programs", "web.json").unlink()
    one.run()
    is_alive(one, "web/kept")
    row = one.program("web")
    assert (row["pid"], row["adopted"]) == (pid, True)
    worker(one, "web/new")
    is_alive(one, "web/new")
    assert one.home.row("web/kept")["incidents"] == 0


def test_what_was_removed_is_made_again(one: Running) -> None:
    """The socket, the user's directory, and all users' directories: old and new workers feed."""
    worker(one, "web/old")
    for number, path in enumerate((feed(one), feed(one).parent, feed(one).parent.parent)):
        # What is made again in the middle of it may keep a directory.
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        until(lambda: feed(one).exists() and feed(one).lstat().st_uid == NOBODY, "it is bound again", START_S)
        until(lambda: f"are bound again: ../a.users/{NOBODY}/feed" in one.log.read_text(), "it is told", START_S)
        worker(one, f"web/{number}")
        is_alive(one, f"web/{number}")
    assert one.home.row("web/old")["incidents"] == 0


def test_it_is_dumped_and_no_link_of_its_user_is_followed(one: Running) -> None:
    """Its announcement is its own file; what it puts in its place is not opened, connected to, cut or removed."""
    child = worker(one, dumps="yes")
    dumps = feed(one).parent / "dumps"
    with ProcessHandle.open_pid(child.pid) as process:
        found = find(one.address, process)
        assert (found.owner, Path(found.path).parent) == (NOBODY, dumps)
        assert ask(found, process, 5.0)["threads"]
        victim = one.place / "victim"
        victim.write_text("root's")
        os.rename(found.path, one.place / "real")
        os.symlink(victim, found.path)
        os.rename(f"{found.path}.ask", f"{dumps}/real.ask")
        with pytest.raises(NotAnnounced, match="cannot be read: Too many levels of symbolic links"):
            find(one.address, process)
        for target in (f"{dumps}/real.ask", f"{one.address}/control"):
            os.symlink(target, f"{found.path}.ask")
            os.chown(f"{found.path}.ask", NOBODY, NOBODY, follow_symlinks=False)
            with pytest.raises(NotAnnounced, match="no thread of it answers"):
                ask(found, process, 5.0)
            os.unlink(f"{found.path}.ask")
        os.unlink(found.path)
        os.link(victim, found.path)
        with pytest.raises(NotAnnounced, match=f"is not a regular file of user {NOBODY}"):
            find(one.address, process)
        child.kill()
    os.mkfifo(dumps / "2-1")
    assert sweep(one.address) >= 2
    assert not list(dumps.glob(f"{child.pid}-*"))
    assert victim.read_text() == "root's"


def test_commands_feed_there_and_say_what_is_not_possible(one: Running) -> None:
    """``banken feed`` in a script that runs as that user; what needs an answer ends at once, with the reason."""
    environment = {"PATH": os.environ["PATH"], "BANKEN_ADDRESS": str(feed(one).parent), "HOME": "/"}

    def banken(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "banken_supervisor", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    assert banken("feed", "web/cli", "--status", "at work").returncode == 0
    until(lambda: one.home.row("web/cli").get("status") == "at work", "it was fed", START_S)
    assert banken("fail", "web/cli", "no disk").returncode == 0
    until(lambda: one.home.row("web/cli")["state"] == "expired", "it failed", START_S)
    for words in (("status",), ("pause", "web"), ("incidents",), ("web",), ("run",)):
        done = banken(*words)
        assert (done.returncode, "Traceback" in done.stderr) == (6, False), done
        assert one.address in done.stderr


def test_a_callback_of_its_own_is_said_not_to_run(one: Running, caplog: pytest.LogCaptureFixture) -> None:
    """There are no events for it. It feeds all the same, and says so once."""
    from banken.client import Client

    mine = Client(str(feed(one).parent))
    connect(mine)
    dogs = [mine.watchdog(f"web/{number}", timeout=30, callback=print) for number in range(2)]
    for dog in 2 * dogs:
        dog.feed()
    is_alive(one, "web/1")
    assert caplog.text.count("callbacks of this process do not run") == 1
    mine.close()


def test_where_it_cannot_feed_the_program_starts_and_it_is_told(one: Running) -> None:
    """A directory on the way that it may not enter: said before anything is wrong, not by a verdict."""
    one.place.chmod(0o700)
    one.ask("restart", "web")
    until(lambda: "user nobody cannot feed: it may not enter" in one.log.read_text(), "it is told", START_S)
    one.place.chmod(0o755)


def test_a_reload_adds_and_removes_users(one: Running) -> None:
    """A program that is gone has no name any more; a user by number, and one with two programs, have theirs."""
    worker(one)
    is_alive(one, "web")
    config = one.place / "banken.toml"
    more = [table(name, SLEEPS, user=user) for name, user in (("a", DAEMON), ("b", "daemon"), ("c", "root"))]
    config.write_text("".join(more))
    one.home.ask("reload")
    for name in "abc":
        until(lambda name=name: name in _names(one) and one.program(name)["pid"], f"{name} runs", START_S)
    until(lambda: "web" not in _names(one), "web is gone", START_S)
    environ = Path(f"/proc/{one.up('c')}/environ").read_bytes()
    assert f"BANKEN_ADDRESS={one.address}\0".encode() in environ
    before = one.home.refused().get("user", 0)
    worker(one, "a,b", uid=DAEMON)
    for name in "ab":
        is_alive(one, name)
    until(lambda: one.home.refused().get("user", 0) > before, "web is refused", START_S)
    assert not one.home.row("web")


def _as_user(uid: int, code: str, before: str = "") -> list[str]:
    """What Python code prints that runs as this user; ``before``: code that does not."""
    begin = f"import os, socket\n{before}os.setgroups([])\nos.setgid({uid})\nos.setuid({uid})\n"
    done = subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True, timeout=60, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def _acted(one: Running, name: str) -> bool:
    return any(name in line and "kill" in line for line in one.log.read_text().splitlines())


def _names(one: Running) -> set[str]:
    return {row["name"] for row in one.home.ask("programs")["rows"]}
