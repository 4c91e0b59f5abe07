"""What another user made, or may write, is not used: config files that nobody named, journals, addresses."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from banken.errors import AddressRefused, Refused
from banken_supervisor import cli, config
from banken_supervisor.actions.options import secret_from
from banken_supervisor.config import ConfigFaults
from banken_supervisor.files.trusted_files import doubt_about, open_file, read_file
from banken_supervisor.journal import schema
from banken_supervisor.journal.schema import JournalRefused
from banken_supervisor.programs.log_files import rotate
from banken_supervisor.programs.run_records import RunRecords
from banken_supervisor.runtime.lock import AddressLock
from banken_supervisor.text.secret import SecretRefused
from banken_supervisor.web.token_file import given_token

NOBODY = 65534


def test_what_is_ones_own_is_trusted_and_what_is_not_there_raises_no_doubt(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(0o664)
    (tmp_path / "link").symlink_to(file)
    for path in (file, tmp_path / "link", tmp_path, tmp_path / "none", tmp_path / "no" / "way", file / "x"):
        assert doubt_about(path) is None, path
    assert doubt_about("/etc/passwd") is None  # root's
    assert doubt_about("/") is None


def test_a_file_is_found_by_its_whole_path_where_the_working_directory_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs, files of variables and records of programs, while the supervisor's own start directory was replaced."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    fd, made = open_file(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    os.close(fd)
    assert made
    with pytest.raises(FileNotFoundError):
        open_file("log", os.O_RDONLY)


def test_a_config_that_all_may_write_is_used_only_if_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "banken.toml"
    file.touch()
    file.chmod(0o666)
    environment = {"HOME": str(tmp_path)}
    with pytest.raises(
        ConfigFaults, match=r"^banken.toml: every user may write it \(mode 0666\), .* -c if you mean it"
    ):
        config.find(None, environment)
    assert config.find("banken.toml", environment) == Path("banken.toml")
    assert config.find(None, {**environment, "BANKEN_CONFIG": "banken.toml"}) == Path("banken.toml")
    file.chmod(0o644)
    assert config.find(None, environment) == Path("banken.toml")


def test_a_journal_that_all_may_write_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    schema.begin(str(path))
    schema.check_trusted(str(path))
    for name in ("journal.db", "journal.db-wal", "journal.db.lock"):
        one = tmp_path / name
        one.touch()
        one.chmod(0o646)
        with pytest.raises(JournalRefused, match=rf"{name} is left alone: every user may write it"):
            schema.check_trusted(str(path))
        one.chmod(0o600)


def test_what_every_user_may_replace_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory on its way that all may write, but for one like /tmp."""
    place = tmp_path / "open" / "inner"
    place.mkdir(parents=True)
    place.parent.chmod(0o1777)
    monkeypatch.chdir(place)
    place.joinpath("banken.toml").touch()
    schema.begin(str(place / "journal.db"))
    environment = {"HOME": str(tmp_path)}
    assert config.find(None, environment) is not None
    schema.check_trusted(str(place / "journal.db"))
    AddressLock(str(place / "a")).release()
    place.parent.chmod(0o777)
    why = f"every user may replace it, because {place.parent} has mode 0777"
    with pytest.raises(ConfigFaults, match=why):
        config.find(None, environment)
    with pytest.raises(JournalRefused, match=why):
        schema.check_trusted(str(place / "journal.db"))
    with pytest.raises(AddressRefused, match=why):
        AddressLock(str(place / "a"))
    (made, faults) = config.examine("banken.toml")
    assert made is not None
    assert not faults
    assert [why in each.text for each in made.warnings] == [True]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what another user owns")
def test_what_lies_in_a_directory_of_another_user_is_not_run_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who owns a directory, or one above it, can put another file in its place, and a module beside it."""
    place = tmp_path / "theirs" / "inner"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    place.joinpath("banken.toml").write_text('[callbacks]\nf = "hooks:f"\ng = "parts.deep:g"\n')
    environment = {"HOME": str(tmp_path)}
    assert config.find(None, environment) == Path("banken.toml")
    os.chown(place.parent, NOBODY, NOBODY)
    why = f"user {NOBODY} may replace it, because {place.parent} is theirs"
    with pytest.raises(ConfigFaults, match=why):
        config.find(None, environment)
    assert config.find("banken.toml", environment) == Path("banken.toml")
    made, _ = config.examine("banken.toml", thorough=False)
    assert made is not None
    assert [why in each.text for each in made.warnings] == [True]

    os.chown(place.parent, 0, 0)
    (place / "parts").mkdir()
    for name in ("hooks.py", "parts/__init__.py", "not_named.py"):
        (place / name).touch()
        os.chown(place / name, NOBODY, NOBODY)
    made, _ = config.examine("banken.toml", thorough=False)
    assert made is not None
    assert [each.file for each in made.warnings] == [str(place / "hooks.py"), str(place / "parts" / "__init__.py")]
    text = f"it belongs to user {NOBODY}, who is neither root nor you, and its code is run"
    assert {each.text for each in made.warnings} == {text}


READERS: tuple[Callable[[Path], object], ...] = (
    lambda file: secret_from(str(file)),
    lambda file: given_token(str(file)),
    lambda file: read_file(file, 100),
)


@pytest.mark.parametrize("read", READERS, ids=["secret", "token", "file"])
def test_secrets_come_from_files_that_no_other_user_may_write(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    file = tmp_path / "secret"
    file.write_text("a secret of one's own\n".replace(" ", "-"))
    file.chmod(0o644)
    assert read(file)
    file.chmod(0o606)
    with pytest.raises((SecretRefused, Refused, PermissionError), match=r"every user may write it \(mode 0606\)"):
        read(file)
    if os.geteuid() == 0:
        file.chmod(0o600)
        os.chown(file, NOBODY, NOBODY)
        with pytest.raises((SecretRefused, Refused, PermissionError), match=f"it belongs to user {NOBODY}"):
            read(file)


def test_what_may_hold_secrets_is_for_its_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records of programs and an exported journal, whatever the umask is."""
    schema.begin(str(tmp_path / "journal.db"))
    before = os.umask(0)
    try:
        records = RunRecords(str(tmp_path))
        records.prepare()
        records.intend("p", "0" * 32)
        records.hold("p", held=True)
        export = tmp_path / "export.jsonl"
        words = ["journal", "export", "--journal", str(tmp_path / "journal.db"), "-o", str(export)]
        monkeypatch.setattr(sys, "argv", ["banken", *words])
        assert cli._run() == 0
    finally:
        os.umask(before)
    capsys.readouterr()
    files = [export, *tmp_path.joinpath("programs").iterdir()]
    assert [stat.S_IMODE(each.stat().st_mode) for each in files] == 3 * [0o600]


@pytest.mark.root
def test_a_rotation_cuts_no_file_that_a_user_has_put_there(tmp_path: Path) -> None:
    """In the place of its log: a second name of root's file, a link to it; as ``NAME.new`` and ``NAME.1``, too."""
    place, victim = tmp_path / "users", tmp_path / "victim"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    log = place / "log"
    victim.write_text("root's")

    def lines() -> None:
        log.write_text("its own\n" * 10)
        os.chown(log, NOBODY, NOBODY)

    for put in (os.link, os.symlink):
        put(victim, log)
        with pytest.raises(OSError):
            rotate(str(log), 10, 2, (NOBODY,))
        log.unlink()
        for name in ("log.new", "log.1"):
            lines()
            put(victim, place / name)
            rotate(str(log), 10, 2, (NOBODY,))
            assert log.stat().st_size == 0
            for each in place.iterdir():
                each.unlink()
        assert victim.read_text() == "root's"


@pytest.mark.root
def test_what_belongs_to_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("banken.toml", "journal.db"):
        (tmp_path / name).touch()
        os.chown(tmp_path / name, NOBODY, NOBODY)
    with pytest.raises(ConfigFaults, match=f"it belongs to user {NOBODY}"):
        config.find(None, {"HOME": str(tmp_path)})
    with pytest.raises(JournalRefused, match=f"it belongs to user {NOBODY}"):
        schema.check_trusted("journal.db")


@pytest.mark.root
def test_nothing_is_reached_over_a_link_of_another_user(tmp_path: Path) -> None:
    """Neither a journal nor an address, though what lies behind the link is one's own."""
    mine, link = tmp_path / "mine", tmp_path / "link"
    mine.mkdir(0o700)
    link.symlink_to(mine)
    schema.begin(str(mine / "journal.db"))
    AddressLock(str(link / "a")).release()
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(JournalRefused, match=f"'link' on its way is a link that user {NOBODY} can change"):
        schema.check_trusted(str(link / "journal.db"))
    with pytest.raises(AddressRefused, match=f"is a link that user {NOBODY} can change"):
        AddressLock(str(link / "a"))


@pytest.mark.root
@pytest.mark.parametrize("inside", [True, False])
def test_check_tells_whether_a_program_of_another_user_can_feed(address: str, inside: bool) -> None:
    """Not where it may not enter the directory in which the address is, or the path is too long for a socket."""
    place = Path(address).parent
    place.chmod(0o755)
    where = place if inside else place / "closed"
    where.mkdir(mode=0o700, exist_ok=True)
    long = where / ("x" * (90 - len(str(where))))
    file = place / "banken.toml"
    for user, timeout, there, told in (
        ("nobody", 'timeout = "5s"', where / "a", not inside),
        (65534, 'timeout = "5s"', where / "a", not inside),
        ("nobody", 'timeout = "5s"', long, True),
        ("nobody", "", long, False),
        ("root", 'timeout = "5s"', long, False),
    ):
        file.write_text(
            f'[supervisor]\naddress = "{there}"\n'
            f'[[program]]\nname = "p"\ncommand = ["/bin/sleep", "1"]\nuser = {user!r}\n{timeout}\nlog = "p.log"\n'
        )
        _, faults = config.examine(file)
        assert [each.key for each in faults] == ["program[0].timeout"] * told
        assert all("cannot feed" in each.text for each in faults)
