"""Ping keys: each feeds one name, and nothing else; they are kept, changed and revoked."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from banken.address import resolve
from banken.errors import AddressRefused, Refused
from banken_supervisor.web import ping_keys
from banken_supervisor.web.ping_keys import PingKeys, all_keys, keys_file, make_key, revoke_key
from web.kit import Street, Web


def test_a_key_is_made_once_and_works_until_it_is_revoked(tmp_path: Path) -> None:
    """The same each time; ``new`` makes another; what is read has the change at once. Its file is its owner's."""
    at = resolve(tmp_path / "s")
    path = keys_file(at)
    assert path is not None
    keys = PingKeys(path)
    assert keys.name_of("") is None
    key = make_key(at, "job/1", new=False)
    assert len(key) >= 22
    assert make_key(at, "job/1", new=False) == key
    assert os.stat(path).st_mode & 0o777 == 0o600
    other = make_key(at, "other", new=False)
    assert (keys.name_of(key), keys.name_of(other), keys.name_of(key[:-1])) == ("job/1", "other", None)
    newer = make_key(at, "job/1", new=True)
    assert (keys.name_of(key), keys.name_of(newer)) == (None, "job/1")
    assert all_keys(at) == {"job/1": newer, "other": other}
    assert revoke_key(at, "job/1")
    assert not revoke_key(at, "job/1")
    assert (keys.name_of(newer), keys.name_of(other)) == (None, "other")
    assert os.listdir(tmp_path / "s") == ["ping-keys"]


def test_keys_made_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    """Each writer has the file to itself."""
    at = resolve(tmp_path / "s")
    threads = [
        threading.Thread(target=make_key, args=(at, f"n{n}"), kwargs={"new": False}, daemon=True) for n in range(20)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(all_keys(at)) == sorted(f"n{n}" for n in range(20))


def test_a_file_that_is_not_ours_alone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readable by others, a link, a directory; and there is a limit."""
    at = resolve(tmp_path / "s")
    key = make_key(at, "a", new=False)
    file = Path(keys_file(at) or "")
    file.chmod(0o640)
    for each in (lambda: make_key(at, "b", new=False), lambda: PingKeys(str(file)).name_of(key)):
        with pytest.raises(AddressRefused, match="mode 0640"):
            each()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AddressRefused, match="cannot be read"):
        PingKeys(str(file)).name_of(key)
    file.unlink()
    file.mkdir()
    with pytest.raises(AddressRefused, match="ping-keys"):
        make_key(at, "b", new=False)
    file.rmdir()
    monkeypatch.setattr(ping_keys, "KEYS_MAX", 2)
    for name in "ab":
        make_key(at, name, new=False)
    with pytest.raises(Refused, match="--revoke"):
        make_key(at, "c", new=False)
    with pytest.raises(AddressRefused, match="not on this host"):
        make_key(resolve("tcp://127.0.0.1:7767"), "a", new=False)


@pytest.mark.process
@pytest.mark.xdist_group("web-pings")
def test_a_key_feeds_its_name_and_nothing_else(web: Web, street: Street) -> None:
    """By the command that prints it; without the token; each word of a ping; revoked, it is refused at once."""
    at = resolve(street.address)
    key = street.banken("ping-key", "keyed/1").strip()
    assert web.bare("GET", f"/p/{key}?timeout=26h").status == 200
    assert street.row("keyed/1")["timeout"] == 93_600.0
    assert web.bare("POST", f"/p/{key}/start", body="running").status == 200
    assert street.row("keyed/1")["status"] == "running"
    assert web.bare("GET", f"/p/{key}/3").status == 200
    assert street.row("keyed/1")["incident"]["reason"] == "exit status 3"
    assert web.bare("HEAD", f"/p/{key}/0").status == 200
    assert street.row("keyed/1")["state"] == "alive"
    for path, status in (
        (f"/p/{key}/", 404),
        (f"/p/{key}/other", 404),
        (f"/p/{key}/0/0", 404),
        (f"/p/{key}/..%2Fother", 404),
        (f"/p/{key}?name=other", 400),
        (f"/p/{key}%00", 403),
        ("/ping/keyed%2F1", 401),
    ):
        assert web.bare("GET", path).status == status, path
    assert street.rows("other*") == {}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        assert web.bare("GET", f"/p/{key}", headers).status == 403
    assert web.bare("GET", f"/p/{key}", {"Host": "evil.example"}).status == 421
    assert web.bare("GET", "/api/v1/summary", {"X-Banken-Token": key}).status == 401
    assert revoke_key(at, "keyed/1")
    found = web.bare("GET", f"/p/{key}")
    assert (found.status, "banken ping-key NAME" in found.text) == (403, True)
    assert key not in web.process.log()
    assert "keyed" not in street.banken("ping-key")
    assert "has no ping key" in street.banken("ping-key", "keyed/1", "--revoke", code=1)
