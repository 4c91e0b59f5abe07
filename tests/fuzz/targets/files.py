"""The small files of an address: records of programs, the lock's note, keys, tokens, environment files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from banken.address import resolve
from banken.errors import AddressInUse, AddressRefused, Refused
from banken.process_identity import boot_id
from banken_supervisor.operator_client.supervisor_client import lock_holder
from banken_supervisor.processes import environment_file
from banken_supervisor.programs.adoption import _find, stranger
from banken_supervisor.programs.run_records import RunRecord, RunRecords
from banken_supervisor.runtime.lock import _in_use
from banken_supervisor.web.ping_keys import PingKeys
from banken_supervisor.web.token_file import TOKEN_MAX, TOKEN_MIN, stored_token
from fuzz.mutation import changed, damaged
from fuzz.targets import Own, directory
from fuzz.targets.frames import HERE

RECORD = RunRecord("w", "run-1", HERE.decode(), 2**30, 5)._asdict()
NOTE = {"pid": 2**30, "since": "2026-11-24T18:07:11Z"}
KEY = "k" * 24


class Files(Own):
    """The first byte says which file, the rest is what it holds."""

    QUICK = 600

    def __init__(self) -> None:
        super().__init__()
        self._place = directory()
        self._directory = self._place.name
        self._programs = RunRecords(self._directory)
        self._programs.prepare()
        self._files: tuple[tuple[str, Any, Callable[[Path], None]], ...] = (
            ("programs/w.json", RECORD, self._records),
            ("programs/w.stopped", RECORD["boot"], self._records),
            ("lock", NOTE, self._lock),
            ("ping-keys", f"{KEY} worker-1\n", self._keys),
            ("web-token", "t" * 40, self._token),
            ("cache.env", 'A=1\nexport B=\'two\'\n# no\nC="a\\"b"\n', self._environment),
        )

    def fresh(self, chance: Random) -> bytes:
        which = chance.randrange(len(self._files))
        value = self._files[which][1]
        if isinstance(value, dict):
            for _ in range(chance.choice((0, 1, 1, 2))):
                value = changed(chance, value)
            value = json.dumps(value, default=repr)
        made: bytes = value.encode()
        return bytes((which,)) + (damaged(chance, made) if chance.random() < 0.6 else made)

    def check(self, data: bytes) -> None:
        name, _, read = self._files[(data[0] if data else 0) % len(self._files)]
        path = Path(self._directory, name)
        path.write_bytes(data[1:].replace(HERE, boot_id().hex().encode()))
        path.chmod(0o600)
        try:
            read(path)
        finally:
            for left in path.parent.glob(f"{path.name}*"):
                left.unlink()

    def close(self) -> None:
        self._place.cleanup()

    def _records(self, path: Path) -> None:
        records, faults = self._programs.read()
        self._programs.held()
        assert len(records) + len(faults) <= 1
        for record in records:
            assert 0 <= stranger(record).stop_timeout < inf, record
            child = _find(record, [], os.geteuid())
            if child is not None:
                child.handle.close()
            self._programs.forget(record.name, record.run)

    def _lock(self, path: Path) -> None:
        fault = _in_use(self._directory, path.read_bytes())
        assert isinstance(fault, AddressInUse)
        assert "is held by another supervisor" in str(fault)
        lock_holder(self._directory)

    def _keys(self, path: Path) -> None:
        with suppress(AddressRefused):
            PingKeys(str(path)).name_of(KEY)

    def _token(self, path: Path) -> None:
        with suppress(Refused, AddressRefused):
            token, _ = stored_token(resolve(self._directory))
            assert TOKEN_MIN <= len(token) <= TOKEN_MAX
            assert token.isascii()

    def _environment(self, path: Path) -> None:
        with suppress(ValueError):
            for name, value in environment_file._read(str(path)).items():
                assert name.isidentifier()
                assert "\0" not in value
