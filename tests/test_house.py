"""The rules of the house, held by the sources themselves: rooms, circles, sizes, inheritance."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = {"banken": ROOT / "client" / "banken", "banken_supervisor": ROOT / "supervisor" / "banken_supervisor"}

FLAT = {"__init__", "__main__"}
"""Modules that stand at the top of the supervisor; all others have a room."""

METHODS_MAX = 40
LINES_MAX = 400
CHAIN_MAX = 2
"""Classes of our own in one line of inheritance."""


@cache
def sources() -> dict[str, tuple[Path, ast.Module]]:
    """Every module by its dotted name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            found[name] = path, ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(name: str, tree: ast.Module) -> Iterator[str]:
    """Every module of ours that one module imports, anywhere in it: for type checkers and inside functions, too."""
    modules = sources()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                target = inner if inner in modules else node.module
                if target in modules and target != name:
                    yield target


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1:
                found.append(sorted(component))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def test_no_circle_of_imports() -> None:
    """Data flows one way: no module imports another that imports it, neither for its types nor in a function."""
    graph = {name: set(imports(name, tree)) for name, (_, tree) in sources().items()}
    # A package's __init__ hands out names of its own modules; that is no way back.
    for name, (path, _) in sources().items():
        if path.name == "__init__.py":
            graph[name] = {other for other in graph[name] if not other.startswith(f"{name}.")}
    assert circles(graph) == []


def test_the_check_of_circles_finds_one() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_every_module_of_the_supervisor_has_a_room() -> None:
    assert {path.stem for path in PACKAGES["banken_supervisor"].glob("*.py")} == FLAT


def test_no_file_is_two() -> None:
    """A file that grows past this many lines holds two things."""
    long = {name: len(path.read_text().splitlines()) for name, (path, _) in sources().items()}
    assert {name: lines for name, lines in long.items() if lines > LINES_MAX} == {}


def test_no_class_does_everything() -> None:
    wide = {
        f"{name}.{node.name}": methods
        for name, (_, tree) in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and (methods := sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body))
        > METHODS_MAX
    }
    assert wide == {}


def test_classes_are_composed_and_not_inherited() -> None:
    """No chain of more than two classes of our own. Errors are a tree, which is what except clauses read."""
    bases: dict[str, list[str]] = {}
    for _, tree in sources().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                names = [
                    base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases
                ]
                bases.setdefault(node.name, []).extend(names)

    def chain(name: str, seen: tuple[str, ...] = ()) -> int:
        if name not in bases or name in seen:
            return 0
        return 1 + max((chain(base, (*seen, name)) for base in bases[name]), default=0)

    def is_error(name: str) -> bool:
        return name.endswith(("Error", "Exception")) or any(map(is_error, bases.get(name, ())))

    deep = {name: chain(name) for name in bases if chain(name) > CHAIN_MAX and not is_error(name)}
    assert deep == {}
