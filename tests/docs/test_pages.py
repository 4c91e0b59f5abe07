"""What pages name is there: files, links, commands with their options, keys of the config."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from tests.docs.blocks import DOCS, ROOT, Block, blocks

from banken_supervisor.cli.group import banken
from banken_supervisor.config import certificates
from banken_supervisor.control.control_api import OPS
from banken_supervisor.engine.engine import Kind
from banken_supervisor.keys import needed_keys

PAGES = sorted([ROOT / "README.md", ROOT / "examples" / "README.md", *DOCS.rglob("*.md")])
FILES = ("py", "md", "toml", "yml", "json", "js", "css", "html", "1", "txt")
"""Endings of files that pages name."""

HOMES = (ROOT, ROOT / "supervisor/banken_supervisor", ROOT / "client", ROOT / "client/banken")
"""Where a path may begin; docs/architecture.md says so."""

_call = re.compile(r"""(?<![\w./$-])banken\b((?:'[^'\n]*'|"[^"\n]*"|[^;|&<>()#'"\n])*)""")
"""A call of banken, up to the end of the command."""

ids = {"ids": lambda page: str(page.relative_to(ROOT))}


def _paths(text: str) -> list[str]:
    """Relative paths in `code`: those with a slash that end with one, or with the ending of a file."""
    found = re.findall(r"`(?:python )?([\w.-]+/[\w./-]*)`", text)
    return [each for each in found if each[0] != "." and (each.endswith("/") or each.rpartition(".")[2] in FILES)]


@pytest.mark.parametrize("page", PAGES, **ids)
def test_paths_and_links_exist(page: Path) -> None:
    """Every path in the text, and every relative link."""
    text = page.read_text(encoding="utf-8")
    missing = [path for path in _paths(text) if not any((home / path).exists() for home in (*HOMES, page.parent))]
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)\s#]+)", text)
    missing += [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_a_path_that_is_not_there_is_found() -> None:
    """The README's table is read as one would hope."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len([path for path in _paths(text) if path.startswith("tests/")]) > 20
    assert _paths("`a/b.py` `c/` `python benchmarks/x.py` `/ping/` `web/1` `application/json`") == [
        "a/b.py", "c/", "benchmarks/x.py",
    ]  # fmt: skip


def test_what_the_house_names_is_in_the_file_that_it_names() -> None:
    """Of "`NAME` in `path`" and "`NAME`, `path`", the file has a definition of NAME."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)(?:\(\))?`(?: in|,) `([\w./]+\.\w+)`", text)
    assert len(named) >= 6
    for name, path in named:
        file = next(home / path for home in HOMES if (home / path).exists())
        definition = rf"^(?:def|class|const)?\s*\b{name}\b(?:\(|:| =)"
        assert re.search(definition, file.read_text(encoding="utf-8"), re.MULTILINE), (name, path)


def test_the_layers_are_those_that_ci_checks() -> None:
    """The house shows the rooms in the order of the import contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(each["layers"] for each in contracts if each["type"] == "layers" and "engine" in each["layers"])
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    shown = [block.splitlines() for block in re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    assert [each.replace(" |", ",") for each in layers] in shown


@pytest.mark.parametrize("heading", ["Follow one feed", "Follow one verdict"])
def test_a_feed_and_a_verdict_pass_through_few_files(heading: str) -> None:
    """At most eight files each, each once: in one direction."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    section = text[text.index(f"## {heading}") :].split("\n## ", 2)[0]
    paths = _paths(section)
    assert 5 <= len(paths) <= 8
    assert len(set(paths)) == len(paths)


def test_the_wire_page_has_every_message_and_request() -> None:
    """By number and name; a client in another language is written from this page."""
    text = (DOCS / "wire.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| (\d+) \| (\w+) \|", text, re.MULTILINE)
    assert {int(number): name for number, name in messages} == {kind.value: kind.name.lower() for kind in Kind}
    requests = text[text.index("## Requests") : text.index("## Events")]
    assert set(re.findall(r"^\| (\w+) \|", requests, re.MULTILINE)) - {"op"} == set(OPS)


def _of(language: str) -> list[tuple[Path, Block]]:
    return [(page, block) for page in PAGES for block in blocks(page) if block.language == language]


def _place(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else f"{value.line}"  # type: ignore[attr-defined]


USERS_OWN = ("gunicorn",)
"""Commands that pages show, which are not among those that README installs."""


@pytest.mark.parametrize(
    ("page", "block"),
    [pytest.param(*each, marks=[pytest.mark.notify] * ("[notify" in each[1].text)) for each in _of("toml")],
    ids=_place,
)
def test_config_is_without_faults(
    page: Path, block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a page shows as banken.toml passes `banken config check`, beside the files that the page shows, with the
    environment's commands on the path, as README says. Keys and certificates are no part of a page."""
    monkeypatch.setattr(needed_keys, "problems", lambda config: ())
    monkeypatch.setattr(certificates, "faults", lambda settings: ())
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}:{tmp_path}")
    for name in USERS_OWN:
        (tmp_path / name).touch(0o755)
    for each in blocks(page):
        if each.file is not None:
            (tmp_path / each.file).write_text(each.text, encoding="utf-8")
    file = tmp_path / "banken.toml"
    file.write_text(block.text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for variable in re.findall(r"\$\{(\w+)\}", block.text):
        monkeypatch.setenv(variable, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" if "SECRET" in variable else "x")
    done = CliRunner().invoke(banken, ["config", "check", str(file)], standalone_mode=False)
    assert done.exception is None
    assert done.return_value in (None, 0), done.output


@pytest.mark.parametrize(("page", "block"), _of("python"), ids=_place)
def test_python_can_be_read(page: Path, block: Block) -> None:
    """Pages other than README and tutorial show parts of programs: they compile."""
    compile(block.text, f"{page}:{block.line}", "exec")


def _commands(block: Block) -> list[list[str]]:
    """The calls of `banken` in a block of the shell, each as its words."""
    script = block.script.replace("\\\n", " ")
    return [shlex.split(call) for call in _call.findall(script)]


def _parse(words: list[str]) -> None:
    """As click would, without running it."""
    command: click.Command = banken
    context = click.Context(banken, info_name="banken")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    command.make_context(context.info_name, list(words), parent=context.parent)


@pytest.mark.parametrize(("page", "block"), _of("console") + _of("sh"), ids=_place)
def test_commands_are_what_the_command_line_takes(page: Path, block: Block) -> None:
    """Each `banken …` of a block names a command and options that there are."""
    for words in _commands(block):
        try:
            _parse(words)
        except click.exceptions.Exit:
            pass  # --help
        except click.UsageError as fault:
            pytest.fail(f"banken {shlex.join(words)}: {fault.format_message()}")


def test_a_command_that_is_not_there_is_found() -> None:
    """A wrong option, a wrong command, and those that are right."""
    calls = _commands(Block("console", "$ out=$(banken status --json | head); banken check -w 1 'a-*' && x\n", 1))
    assert calls == [["status", "--json"], ["check", "-w", "1", "a-*"]]
    for words in calls:
        _parse(words)
    for wrong in (["statsu"], ["status", "--jsno"]):
        with pytest.raises(click.UsageError):
            _parse(wrong)
