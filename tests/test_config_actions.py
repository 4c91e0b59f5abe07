"""What config accepts of an action and what the action itself accepts are the same: options, bounds, classes."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from banken.errors import Refused
from banken_supervisor import config
from banken_supervisor.actions import NAMES, build
from banken_supervisor.config.actions import OPTIONS
from banken_supervisor.config.models import STEP
from banken_supervisor.runtime.runtime_config import RuntimeConfig

NEEDED: dict[str, dict[str, Any]] = {
    "callback": {"callback": "bound"},
    "exec": {"command": ["true"]},
    "signal": {"signal": "SIGTERM"},
    "webhook": {"url": "http://127.0.0.1:9/hook"},
    "notify": {"to": "oncall"},
}

TRIED: tuple[Any, ...] = (
    *(-1, 0, 0.05, 0.1, 0.5, 1, 5, 10, 20, 21, 60, 60.5, 600, 601, 3600, 3601, 262_144, 262_145, 10**9),
    *(True, False, "", "text", "SIGUSR1", "NOPE", "bound\0", [], ["true"], {}),
)
"""Of every kind, on both sides of every bound."""

CHECKED_LATER = {"secret", "secret_file", "ca_file"}
"""Options that config looks at when variables and files are known: see tests/test_config_recovery.py."""

MORE_IN_CODE = ("signal", int)
"""Signals by number: for ladders made in Python; in a file they would be read wrongly on another system."""


def from_config(do: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """The options as config hands them on; None: it refuses them."""
    try:
        step = STEP.validate_python({"do": do, **options})
    except ValidationError:
        return None
    return {key: getattr(step, key) for key in options}


def in_recovery(do: str, options: dict[str, Any]) -> bool:
    """Whether the action can be made so."""
    try:
        build(do, options)
    except Refused:
        return False
    return True


def options_of(do: str) -> set[str]:
    """What the action itself takes."""
    return set(inspect.signature(type(build(do, NEEDED.get(do, {})))).parameters)


def test_both_know_the_same_actions_with_the_same_options() -> None:
    """None can be written that is refused later, and none is there that cannot be written."""
    assert set(OPTIONS) == set(NAMES)
    assert {do: set(OPTIONS[do].model_fields) for do in NAMES} == {do: options_of(do) for do in NAMES}


@pytest.mark.parametrize(("do", "option"), [(do, option) for do in NAMES for option in OPTIONS[do].model_fields])
def test_both_take_the_same_values(do: str, option: str) -> None:
    """On both sides of every bound, and of every type: what config lets through can be made, and what can be made
    it lets through."""
    for value in TRIED:
        options = {**NEEDED.get(do, {}), option: value}
        told = f"{do}: {option} = {value!r}"
        found = from_config(do, options)
        if found is not None and option not in CHECKED_LATER:
            assert in_recovery(do, found), told
        if in_recovery(do, options) and (option, type(value)) != MORE_IN_CODE:
            assert found is not None, told


OWN = """
from banken_supervisor.actions import Action, Outcome
class Good(Action):
    name = "good"
    def run(self, subject, world, ended): return Outcome(True)
class Duck:
    name = "duck"
    def run(self, subject, world, ended): return Outcome(True)
class Abstract(Action):
    name = "abstract"
class Nameless(Action):
    def run(self, subject, world, ended): return Outcome(True)
"""


@pytest.mark.parametrize("name", ["Good", "Duck", "Abstract", "Nameless", "missing", "Action"])
def test_an_own_action_that_is_checked_and_found_well_can_be_made_and_no_other(tmp_path: Path, name: str) -> None:
    """`banken config check` and `banken run` want the same of a class, and say what."""
    module = f"own_action_{name.lower()}"
    (tmp_path / f"{module}.py").write_text(OWN)
    file = tmp_path / "banken.toml"
    file.write_text(f'[actions]\nown = "{module}:{name}"\n[[watchdog]]\nname = "w"\nladder = [{{ do = "own" }}]\n')
    faults = config.check(file)
    made = config.load(file)
    try:
        if name == "Good":
            RuntimeConfig(made)
        else:
            with pytest.raises(Refused):
                RuntimeConfig(made)
    finally:
        sys.path.remove(str(tmp_path))
    assert [("cannot be imported" in each.text or "is no action" in each.text) for each in faults] == (
        [] if name == "Good" else [True]
    )
