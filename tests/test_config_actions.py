"""What a config file and Python code may give an action is the same: options, bounds, classes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from banken.errors import Refused
from banken_supervisor import config
from banken_supervisor.actions import NAMES, build
from banken_supervisor.actions.options import Source
from banken_supervisor.config.models import STEP
from banken_supervisor.config.steps import ACTIONS, STEP_KEYS, STEPS
from banken_supervisor.runtime.runtime_config import RuntimeConfig

NEEDED: dict[str, dict[str, Any]] = {
    "callback": {"callback": "bound"},
    "exec": {"command": ["true"]},
    "signal": {"signal": "SIGTERM"},
    "webhook": {"url": "http://127.0.0.1:9/hook"},
    "notify": {"to": "oncall"},
}

KEY = "whsec_" + "QUJD" * 10

TRIED: tuple[Any, ...] = (
    *(-1, 0, 0.05, 0.1, 0.5, 1, 5, 10, 20, 21, 60, 60.5, 600, 601, 3600, 3601, 262_144, 262_145, 10**9),
    *(True, False, "", "text", "SIGUSR1", "NOPE", "bound\0", [], ["true"], {}),
)
"""Of every kind, on both sides of every bound."""

MORE_IN_CODE = ("signal", int)
"""Signals by number: for ladders made in Python; in a file they would be read wrongly on another system."""


def from_file(do: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """The options as config hands them on; None: it refuses them."""
    try:
        step = STEP.validate_python({"do": do, **options}, context=Source("/"))
    except ValidationError:
        return None
    return {key: getattr(step, key) for key in options}


def from_code(do: str, options: dict[str, Any]) -> bool:
    """Whether the action can be made so."""
    try:
        build(do, options)
    except Refused:
        return False
    return True


def test_a_step_takes_the_options_of_its_action() -> None:
    """One model for both, beside the action; no option hides a key that every step has."""
    assert set(STEPS) == set(ACTIONS) == set(NAMES)
    for do in NAMES:
        options = set(ACTIONS[do].model_fields)
        assert options.isdisjoint(STEP_KEYS)
        assert set(STEPS[do].model_fields) == options | STEP_KEYS
        assert type(build(do, NEEDED.get(do, {}))) is ACTIONS[do]


@pytest.mark.parametrize(("do", "option"), [(do, option) for do in NAMES for option in ACTIONS[do].model_fields])
def test_both_take_the_same_values(do: str, option: str) -> None:
    """On both sides of every bound, and of every type: what config lets through can be made, and what can be made
    it lets through."""
    taken = 0
    for value in TRIED:
        options = {**NEEDED.get(do, {}), option: value}
        told = f"{do}: {option} = {value!r}"
        found = from_file(do, options)
        taken += found is not None
        if found is not None:
            assert from_code(do, found), told
        if from_code(do, options) and (option, type(value)) != MORE_IN_CODE:
            assert found is not None, told
    assert taken < len(TRIED)


def test_a_secret_and_a_path_in_a_file_are_completed_and_in_code_taken_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``${ENV}`` and a path beside the file mean something in a config file only."""
    monkeypatch.setenv("BK_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "key").write_text(KEY)
    hook = NEEDED["webhook"]
    found = STEP.validate_python({"do": "webhook", **hook, "secret": "${BK_KEY}"}, context=Source("/"))
    assert found.secret.reveal() == KEY
    found = STEP.validate_python({"do": "webhook", **hook, "secret_file": "key"}, context=Source(f"{tmp_path}/sub"))
    assert found.secret_file == str(tmp_path / "sub" / "key")
    assert not from_code("webhook", {**hook, "secret": "${BK_KEY}"})
    assert from_code("webhook", {**hook, "secret_file": "sub/key"})


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
    faults = config.examine(file)[1]
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
