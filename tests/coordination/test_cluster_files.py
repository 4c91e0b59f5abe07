"""A file of [cluster] that cannot be used: the start says which, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from banken.errors import KeyRefused
from banken_supervisor.coordination.settings import ClusterSettings

from .certificates_kit import Authority

SETTINGS = ClusterSettings("plant", "watch-1", ("https://127.0.0.1:2379",))


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """It was said to be a fault of the address at which the supervisor listens."""
    ours = Authority(tmp_path / "ours")
    (cert, key), (_, other) = ours.issue("one"), ours.issue("two")
    (tmp_path / "empty").touch()
    replace(SETTINGS, ca=ours.cert, cert=cert, key=key).store().close()
    for settings, says in (
        (replace(SETTINGS, ca=str(tmp_path)), f'ca "{tmp_path}" cannot be used: Is a directory'),
        (replace(SETTINGS, ca=str(tmp_path / "no")), "No such file"),
        (replace(SETTINGS, ca=str(tmp_path / "empty")), f'ca "{tmp_path}/empty" cannot be used: NO_CERT'),
        (replace(SETTINGS, cert=cert, key=other), f'cert "{cert}" and key "{other}" cannot be used: KEY_VALUES'),
        (replace(SETTINGS, cert=cert, key=cert), "and key"),
    ):
        with pytest.raises(KeyRefused) as refused:
            settings.store()
        assert says in str(refused.value)
        assert str(refused.value).startswith("[cluster] ")
