"""The threat table names, in each row, tests that exist."""

from __future__ import annotations

import re

from tests.docs.blocks import DOCS, ROOT

PAGE = (DOCS / "security.md").read_text(encoding="utf-8")
_test = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows() -> list[list[str]]:
    """The cells of the rows of the table whose last column is ``test``."""
    table = PAGE.partition("| test |\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def test_each_threat_has_a_test_that_exists() -> None:
    assert len(rows()) > 20
    for row in rows():
        assert len(row) == 5, row
        assert all(row), row
        found = _test.findall(row[-1])
        assert found, row
        for file, name in found:
            assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), name


def test_the_policy_leads_to_the_table() -> None:
    assert "(docs/security.md)" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
