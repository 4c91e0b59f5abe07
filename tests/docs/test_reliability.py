"""The page of the fault suite has a row for each fault, and each row a test that exists."""

from __future__ import annotations

import re

from tests.docs.blocks import DOCS, ROOT

from faults.catalogue import FAULTS
from faults.table import OTHERS, about, name_of

PAGE = (DOCS / "reliability.md").read_text(encoding="utf-8")
ROWS = {name: line for line in PAGE.splitlines() if (name := name_of(line))}


def test_each_fault_has_its_row() -> None:
    assert ROWS.keys() == {*FAULTS, *OTHERS}
    for name, line in ROWS.items():
        promise, what, test = about(name)
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0].startswith(f"{promise}: ")
        assert cells[1:3] == [f"`{name}`: {what}", f"`{test}`"], "written before the fault was changed"
        assert cells[5] in ("kept", "broken", "not tried")


def test_each_row_names_a_test_that_exists() -> None:
    for name in (*FAULTS, *OTHERS):
        file, _, test = about(name)[2].partition("::")
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), name
