"""Keys: the worker's file, access.toml, and the directory that `banken keys` works in."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from banken.errors import KeyRefused
from banken.keys import load
from banken_supervisor.config.faults import ConfigFaults
from banken_supervisor.keys.access import Control, examine
from banken_supervisor.keys.directory import KeyDirectory
from banken_supervisor.runtime.keys_reload import KeysReload

PUBLIC, SECRET = "R^VKys#4f>6L6(KietKYV!c5PC<8lL+=3dOkQ09?", "=Zx<eb17BPx)G<Sh3WoH!{Dv-7g$Cb1nOgOGwB4q"
OTHER = "JuCj61HXD]2F$-N]4&Xn=6DT?S=)i=lDEG(4QDT/"
"""Keys of these tests alone: the same in each process that collects them."""

WHOLE = f'name = "w"\npublic = "{PUBLIC}"\nsecret = "{SECRET}"\n'
HERE = "tcp://127.0.0.1:7767"


def file_with(tmp_path: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path = tmp_path / "w.key"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [WHOLE, "\ufeff" + WHOLE, WHOLE.replace("\n", "\r\n")])
def test_a_key_file_is_read(tmp_path: Path, content: str) -> None:
    """As every editor saves it."""
    key = load(file_with(tmp_path, content + f'[servers]\n"{HERE}" = "{OTHER}"\n'))
    assert (key.name, key.public.decode(), key.secret.decode()) == ("w", PUBLIC, SECRET)
    assert key.servers == {HERE: OTHER.encode()}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        (b"\x00\xff", "is no key file"),
        ("\x00", "is no key file"),
        (WHOLE.encode("utf-16"), "is UTF-16"),
        ("x" * 70_000, "is longer than 65,536 bytes"),
        (WHOLE + "nmae = 1\n", "nmae is no part of a key file; allowed: name, public, secret"),
        (WHOLE.replace('"w"', "3"), "name must be a text"),
        (WHOLE.replace(PUBLIC, PUBLIC[:39]), "public has 39 characters; a key has 40"),
        (WHOLE.replace(SECRET, "é" * 40), "secret is no key: it has a character that is none of Z85's"),
        (WHOLE.replace(SECRET, "%" * 40), "secret is no key"),
        (f'name = "w"\npublic = "{PUBLIC}"\n', "secret is missing"),
        (WHOLE.replace(PUBLIC, OTHER), "do not belong together; make a new pair"),
        (f'name = "w"\npublic = "{SECRET}"\nsecret = "{PUBLIC}"\n', "do not belong together (they are exchanged)"),
        (WHOLE + "servers = 1\n", "servers must be a table"),
        (WHOLE + f'[servers]\n"{HERE}" = "short"\n', f"{HERE} has 5 characters; a key has 40"),
    ],
)
def test_a_key_file_that_cannot_be_used_says_why(tmp_path: Path, content: str | bytes, says: str) -> None:
    """In one line, without the secret."""
    path = file_with(tmp_path, content)
    with pytest.raises(KeyRefused) as refused:
        load(path)
    text = str(refused.value)
    assert text.startswith(f"{path}: ")
    assert says in text
    assert SECRET not in text
    assert "\n" not in text


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    for mode in (0o644, 0o620, 0o602):
        with pytest.raises(KeyRefused, match=r"others may read or write it \(mode 0.*chmod 600"):
            load(file_with(tmp_path, WHOLE, mode))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """None of it blocks: a pipe has no writer."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, says in (
        ("missing", "No such file"), ("pipe", "is no regular file"), (".", "Is a directory"),
        ("link", "No such file"), ("a\0b", "null"),
    ):  # fmt: skip
        with pytest.raises(KeyRefused, match=says):
            load(f"{tmp_path}/{name}")


def test_a_link_of_ones_own_is_followed(tmp_path: Path) -> None:
    """A mounted secret of a container is one."""
    (tmp_path / "link").symlink_to(file_with(tmp_path, WHOLE))
    assert load(tmp_path / "link").name == "w"


@pytest.mark.root
def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    """Or a link that another user made."""
    path = file_with(tmp_path, WHOLE)
    (tmp_path / "link").symlink_to(path)
    os.lchown(tmp_path / "link", 65534, 65534)
    for each in ("link", "w.key"):
        with pytest.raises(KeyRefused, match="belongs to user 65534, who is neither root nor you"):
            load(tmp_path / each)
        os.lchown(path, 65534, 65534)


def access_faults(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "access.toml"
    path.write_text(text)
    return [str(fault).removeprefix(f"{path}:") for fault in examine(path)[1]]


def test_all_faults_of_the_access_file_are_told_at_once(tmp_path: Path) -> None:
    """Each with its line and its key."""
    text = f"""
[[key]]
name = "a"
public = "{PUBLIC}"
feed = ["ok-*", "not ok", 3]
control = "some"

[[key]]
name = "a/b"
public = "{PUBLIC[:10]}"
fed = ["x"]

[[kay]]
"""
    found = access_faults(tmp_path, text)
    assert [line.split(": ")[0] + " " + line.split(": ")[1] for line in found] == [
        "5 key[0].feed[1]",
        "5 key[0].feed[2]",
        "9 key[1].name",
        "10 key[1].public",
        "11 key[1].fed",
        "13 kay",
    ]
    assert "did you mean feed? allowed: control, feed, name, public" in found[4]


def test_two_keys_of_one_name_and_one_key_twice_are_faults(tmp_path: Path) -> None:
    one = f'[[key]]\nname = "a"\npublic = "{PUBLIC}"\n'
    assert access_faults(tmp_path, one + one.replace(PUBLIC, OTHER)) == [
        "5: key[1].name: key 1 of this file has this name already"
    ]
    assert access_faults(tmp_path, one + one.replace('"a"', '"b"')) == [
        "6: key[1].public: 'a' is this key already; one key has one name"
    ]
    assert access_faults(tmp_path, one + 'control = "ful"\n')[0].endswith("allowed: none, read, full")


def test_a_key_may_feed_what_its_patterns_fit(tmp_path: Path) -> None:
    path = tmp_path / "access.toml"
    path.write_text(f'[[key]]\nname = "a"\npublic = "{PUBLIC}"\nfeed = ["w-*", "x"]\n')
    found, faults = examine(path)
    assert not faults
    may = found[PUBLIC.encode()]
    assert [name for name in ("w-1", "w-", "x", "x1", "aw-1", "w") if may.may_feed(name)] == ["w-1", "w-", "x"]
    assert may.control is Control.NONE


def test_a_pair_is_made_whole_and_never_twice(tmp_path: Path) -> None:
    """The worker's file knows the server's key; the secret is nobody else's."""
    keys = KeyDirectory(tmp_path / "keys")
    with pytest.raises(KeyRefused, match="must have exactly one key of a server, and has: none; `banken keys new"):
        keys.new("w", address=HERE)
    server = load(keys.new("watch", server=True))
    before = os.umask(0)
    try:
        path = keys.new("w", address=HERE)
    finally:
        os.umask(before)
    assert load(path).servers == {HERE: server.public}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o700
    assert keys.public("w").key == load(path).public
    with pytest.raises(KeyRefused, match="exists already"):
        keys.new("w", address=HERE)
    assert sorted(each.name for each in keys.path.iterdir()) == ["w.key", "w.pub", "watch.key", "watch.pub"]
    three = [f"tcp://watch-{number}:7767" for number in range(3)]
    assert load(keys.new("of-three", address=",".join(three))).servers == dict.fromkeys(three, server.public)
    for address, says in (
        ("/run/banken", "keys are for supervisors at tcp"),
        (f"{HERE},/run/banken", "/run/banken.*: keys are for supervisors at tcp"),
        ("tcp://", "is no address"),
    ):
        with pytest.raises(ValueError, match=says):
            keys.new("x", address=address)


def test_allow_and_revoke_keep_what_else_is_in_the_file(tmp_path: Path) -> None:
    """Comments too; the last one may go, and come back."""
    keys = KeyDirectory(tmp_path)
    for name in ("a", "b"):
        keys.new(name)
        keys.allow(name, [name], None)
    keys.access_file.write_text("# ours\n" + keys.access_file.read_text())
    keys.allow("a", ["a-*"], Control.READ)
    assert {each.name: (each.feed, each.control.value) for each in keys.allowed().values()} == {
        "a": (("a-*",), "read"),
        "b": (("b",), "none"),
    }
    keys.revoke("a")
    keys.revoke("b")
    assert keys.allowed() == {}
    assert keys.access_file.read_text().startswith("# ours\n")
    keys.allow("a", ["a"], None)
    assert [each.name for each in keys.allowed().values()] == ["a"]
    with pytest.raises(KeyRefused, match="there is nothing to revoke"):
        keys.revoke("b")
    with pytest.raises(KeyRefused, match="there is no key 'c' in .*; there are: a, b"):
        keys.allow("c", ["c"], None)
    assert stat.S_IMODE(keys.access_file.stat().st_mode) == 0o600


def test_an_access_file_with_a_fault_is_not_written_over(tmp_path: Path) -> None:
    keys = KeyDirectory(tmp_path)
    keys.new("a")
    keys.access_file.write_text("[[key]]\n")
    with pytest.raises(ConfigFaults):
        keys.allow("a", ["a"], None)
    assert keys.access_file.read_text() == "[[key]]\n"


def test_an_access_file_that_others_may_write_lets_nobody_in(tmp_path: Path) -> None:
    keys = KeyDirectory(tmp_path)
    keys.new("a")
    keys.allow("a", ["a"], None)
    keys.access_file.chmod(0o602)
    with pytest.raises(ConfigFaults, match=r"is not used: every user may write it \(mode 0602\)"):
        keys.allowed()


def test_a_directory_that_others_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(KeyRefused, match="only you or root may be able to write it"):
        KeyDirectory(tmp_path).new("a")


def test_a_reload_has_the_number_that_it_was_given_however_soon_it_begins(tmp_path: Path) -> None:
    """Its thread may be done before the number is returned."""
    done: list[Callable[[], None]] = []
    reload = KeysReload(
        tmp_path / "none", lambda: lambda: None, done.append, lambda event: None, lambda read: read()
    )
    assert [reload.ask(), reload.ask()] == [1, 2]
    for each in done:
        each()
    assert (reload.last["number"], reload.is_pending) == (2, False)


def test_a_directory_has_one_key_of_a_server(tmp_path: Path) -> None:
    """A second one is refused, and nothing is made. Where there are two all the same, it is said what to remove."""
    keys = KeyDirectory(tmp_path / "keys")
    keys.new("watch", server=True)
    with pytest.raises(KeyRefused, match=r"has a server's key already: watch; .* remove watch\.key and watch\.pub"):
        keys.new("watch2", server=True)
    assert keys.names() == ["watch"]
    keys.new("worker", address=HERE)
    other = KeyDirectory(tmp_path / "other")
    other.new("watch2", server=True)
    (other.path / "watch2.pub").rename(keys.path / "watch2.pub")
    with pytest.raises(KeyRefused, match=r"and has: watch, watch2; remove NAME\.key and NAME\.pub of the others"):
        keys.new("late", address=HERE)
