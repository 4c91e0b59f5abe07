"""Files of variables: what they mean, what is refused, and whose are trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from banken_supervisor.engine.policy import ProgramSpec
from banken_supervisor.processes.environment_file import variables_of


def read(path: Path, user: str | None = None) -> dict[str, str]:
    """The variables of a program with this file."""
    return variables_of(ProgramSpec("p", ("true",), user=user, env_file=str(path)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An empty one, which nobody else may write."""
    path = tmp_path / "env"
    path.touch(0o600)
    return path


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("  export A=b c  ", "b c"),
        ("A=", ""),
        ("A=''", ""),
        ("A=b=c # d", "b=c # d"),
        ("A='b \\ $c \"'", 'b \\ $c "'),
        (r'A="b \" \$c \\ \n"', 'b " $c \\ \\n'),
        ("A=x\nA=b", "b"),
        ("\ufeffA=ü\r\n", "ü"),
        ("# A=c\n\nA=d", "d"),
    ],
)
def test_a_line_is_a_variable(file: Path, line: str, value: str) -> None:
    """With quotes or without; nothing in a value is replaced."""
    file.write_bytes(line.encode())
    assert read(file) == {"A": value}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"A=1\nb", "is wrong in line 2: it is not NAME=VALUE"),
        (b"A='secret", "is wrong in line 1: it is not NAME=VALUE, with closed quotes or none"),
        (b'A="secret" more', "is wrong in line 1"),
        (b"1A=secret", "is wrong in line 1"),
        (b"BANKEN_NAME=x", "is wrong in line 1: BANKEN_NAME is set by the supervisor itself"),
        (b"A=\0", "holds a NUL"),
        (b"A=\xff", "is not UTF-8"),
        (b"#" * 1_100_000, "is too long: at most 1,048,576 bytes"),
        (b"".join(b"A%d=\n" % number for number in range(1001)), "has more than 1,000 variables"),
    ],
)
def test_what_is_wrong_is_told_and_no_value(file: Path, content: bytes, says: str) -> None:
    """With the number of the line."""
    file.write_bytes(content)
    with pytest.raises(ValueError, match=says) as fault:
        read(file)
    assert "secret" not in str(fault.value)


def test_a_file_that_cannot_be_read_is_refused_at_once(file: Path) -> None:
    """One that is missing, a directory, a pipe that nobody writes to."""
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        read(file.parent / "none")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read(file.parent)
    os.mkfifo(file.parent / "pipe", 0o600)
    assert read(file.parent / "pipe") == {}


def test_what_others_may_write_is_not_trusted(file: Path) -> None:
    """It decides what a program loads."""
    file.chmod(0o606)
    with pytest.raises(ValueError, match=r"cannot be read: every user may write it \(mode 0606\)"):
        read(file)


@pytest.mark.root
def test_another_users_file_is_for_programs_of_that_user_only(file: Path) -> None:
    """Who may decide what the program does anyway."""
    file.write_text("A=b\n")
    os.chown(file, 65534, 65534)
    with pytest.raises(ValueError, match="it belongs to user 65534, who is neither root nor you"):
        read(file)
    assert read(file, "nobody") == {"A": "b"}
