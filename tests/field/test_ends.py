"""A normal end of a program is no incident, and a kill is one, whatever started its processes."""

from __future__ import annotations

import os
import signal

import pytest

from field.kit import NOTICED_S, App, Field, in_the_field
from field.programs import PROGRAMS

ENDS = [(program, how) for program, (_, ends) in PROGRAMS.items() for how in ends]


def started(field: Field, program: str) -> App:
    """The program, once all its processes are watched."""
    app = PROGRAMS[program][0](field)
    field.until(lambda: len(field.pids(app.names)) >= app.count, "all its processes are watched")
    app.seen = field.pids(app.names)
    return app


@pytest.mark.parametrize(("program", "how"), ENDS)
def test_a_normal_end_is_no_incident(program: str, how: str, rounds: range) -> None:
    """Nor is anything left to be watched afterwards."""
    with in_the_field() as field:
        for _ in rounds:
            app = started(field, program)
            PROGRAMS[program][1][how](field, app)
            field.until(lambda: not field.rows() or field.incidents(), "nothing is watched any more", NOTICED_S)
            assert field.incidents() == [], field.report()
            field.clear()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_kill_is_an_incident(program: str, rounds: range) -> None:
    """kill -9 of one process that feeds; of all, where any of them may feed."""
    with in_the_field() as field:
        for _ in rounds:
            app = started(field, program)
            assert field.incidents() == [], field.report()
            name, pid = sorted(app.seen.items())[0]
            if program == "gunicorn, one name":
                os.killpg(app.process.pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)
            field.until(lambda name=name: field.events.all("expired", name), f"an incident of {name}", NOTICED_S)
            assert "SIGKILL" in field.events.all("expired", name)[0]["reason"], field.report()
            field.clear()
