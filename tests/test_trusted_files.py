"""What another user made, or may write, is not used: config files that nobody named, journals, addresses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from banken.errors import AddressRefused
from banken_supervisor import config
from banken_supervisor.config import ConfigFaults
from banken_supervisor.files.trusted_files import doubt_about
from banken_supervisor.journal import schema
from banken_supervisor.journal.schema import JournalRefused
from banken_supervisor.runtime.lock import AddressLock

NOBODY = 65534


def test_what_is_ones_own_is_trusted_and_what_is_not_there_raises_no_doubt(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(0o664)
    (tmp_path / "link").symlink_to(file)
    for path in (file, tmp_path / "link", tmp_path, tmp_path / "none", tmp_path / "no" / "way", file / "x"):
        assert doubt_about(path) is None, path
    assert doubt_about("/etc/passwd") is None  # root's
    assert doubt_about("/") is None


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
