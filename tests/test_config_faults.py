"""What is wrong with a config file is told: all of it, each with line, key and what is allowed; never a secret."""

from __future__ import annotations

import os
import pickle
import socket
from pathlib import Path

import pytest

from banken.errors import BankenError
from banken_supervisor import config
from banken_supervisor.actions.options import SIGNALS
from banken_supervisor.config import ConfigFaults, Fault
from banken_supervisor.config.faults import FAULTS_MAX
from banken_supervisor.config.reading import FILE_BYTES_MAX

PROGRAM = '[[program]]\nname = "p"\ncommand = ["true"]\n'
UP = '[upward]\naddresses = ["tcp://h:1"]\nkey = "k"\n'
DOG = '[[watchdog]]\nname = "a"\n'
PROGRAM = '[[program]]\nname = "p"\ncommand = "sleep 1"\n'


def faults(directory: Path, text: str | bytes, *, deep: bool = False) -> list[str]:
    """Each fault of the text as ``line: key: text``."""
    file = directory / "banken.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = config.examine(file, thorough=deep)[1]
    assert all(fault.file == str(file) and "\n" not in str(fault) for fault in found)
    return [str(fault).removeprefix(str(file)).removeprefix(":").removeprefix(" ") for fault in found]


def one(directory: Path, text: str | bytes, *, deep: bool = False) -> str:
    """The only fault of the text."""
    found = faults(directory, text, deep=deep)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"\xff\xfe[\x00", "1: is UTF-16; save it as UTF-8"),
        ('a = 1\nb = "ü"'.encode("latin-1"), "2: is not UTF-8: byte 0xfc"),
        (b"\x00\x01\x02", "1: is no valid TOML"),
        ("a = 1\na = 2", "2: is no valid TOML: Cannot overwrite a value"),
        ("[supervisor]\n[supervisor]", "2: is no valid TOML: Cannot declare"),
        ("[supervisor]\naddress = /run", "2: is no valid TOML: Invalid value (texts need quotes)"),
        ("x = [\n{ a = 1,\n b = 2 } ]", "2: is no valid TOML: Invalid initial character for a key part (an inline"),
        ("a = 1\nb = ", "2: is no valid TOML"),
        ("a = [1,\n2", "2: is no valid TOML"),
        ("x = " + "[" * 50_000, "too deep"),
        ("x = " + "9" * 5_000, "too many digits"),
        ("a = 1\n" + ".".join(["k"] * 100_000) + " = 1", "2: a key of more than 32 parts is not allowed"),
        ("a = 1\n['" + "'.'".join(["k"] * 1_000) + "']", "2: a key of more than 32 parts is not allowed"),
        ("#" * (FILE_BYTES_MAX + 1), "is too long: at most 1,048,576 bytes"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path, text: str | bytes, told: str) -> None:
    """Encodings, syntax, depth, size: one sentence each, and never a traceback."""
    assert told in one(tmp_path, text)


def test_a_mark_of_utf8_in_front_is_no_fault(tmp_path: Path) -> None:
    """Some editors write it."""
    assert faults(tmp_path, b"\xef\xbb\xbf" + DOG.encode()) == []


def test_what_is_no_file_is_told_and_nothing_waits(tmp_path: Path) -> None:
    """A directory, a pipe without a writer, a device, a socket, nothing, and names that no file can have."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        for path, why in (
            (tmp_path, "is a directory; a regular file is needed"),
            (tmp_path / "pipe", "is a pipe; a regular file is needed"),
            ("/dev/zero", "is a device; a regular file is needed"),
            (tmp_path / "s", "cannot be read"),
            (tmp_path / "none", "cannot be read: No such file or directory"),
            ("a\0b", "cannot be read"),
            ("x" * 5000, "cannot be read"),
        ):
            with pytest.raises(ConfigFaults, match=why) as told:
                config.load(path)
            assert len(told.value.faults) == 1


def test_all_faults_come_at_once_and_in_order(tmp_path: Path) -> None:
    """A fault in one table, step or key hides no other, and begets none."""
    assert faults(
        tmp_path,
        """
[supervisor]
callback_thread = 3
defaults = { timeout = nan, interval = -5 }
[[watchdog]]
name = "w"
timeout = "soon"
min_interval = "2h"
ladder = [
  { do = "signal", signal = "SIGFOO" },
  { do = "restart" },
  { after = "5s", do = "log", to = 1 },
  { after = "4s", do = "notify", to = "nobody" },
]
on_give_up = { do = "log" }
callback = "none"
[[program]]
name = "p-{i}"
command = "a | b"
numprocs = "3"
ladder = [{ do = "callback", callback = "gone" }]
[[group]]
name = "g"
members = ["p-1", "p-*", "x-*", "w"]
at_least = "two"
ladder = [{ do = "log" }]
[[watchdog]]
name = "v"
depends_on = ["p-7", "w", "q"]
[unknown]
""",
    ) == [
        "3: supervisor.callback_thread: unknown key; did you mean callback_threads? allowed: address, "
        "callback_limit, callback_process, callback_threads, checks_at_once, deadman, defaults, fold, "
        "hardware_watchdog, journal, keys, limits, listen, retention, stop_timeout, undeclared, url",
        "4: supervisor.defaults.timeout: nan is not allowed; allowed: 0.001 to 315360000 seconds (ten years)",
        "4: supervisor.defaults.interval: -5 is not allowed; allowed: 0.001 to 315360000 seconds (ten years)",
        '7: watchdog[0].timeout: "soon" is no duration; allowed is a number of seconds, or numbers with the units '
        'ms, s, m, h, d, such as 500ms, 30s, 2m30s, 1h; or "auto"',
        f'10: watchdog[0].ladder[0].signal: "SIGFOO" is no signal; allowed: {", ".join(SIGNALS)}',
        "11: watchdog[0].ladder[1].do: restart can never act here: this watchdog is not a [[program]], so the "
        "supervisor cannot start it",
        "12: watchdog[0].ladder[2].to: unknown key; allowed: after, backoff, budget, do, first, level, "
        "repeat, text",
        '13: watchdog[0].ladder[3].to: "nobody" is bound nowhere: [notify] has nothing',
        '16: watchdog[0].callback: "none" is bound nowhere: [callbacks] has nothing',
        '19: program[0].command: no shell runs it, so "|" would be one more argument; if a shell is wanted: '
        '["sh", "-c", "…"]',
        "20: program[0].numprocs: must be a whole number, not a text",
        '21: program[0].ladder[0].callback: "gone" is bound nowhere: [callbacks] has nothing',
        '24: group[0].members[2]: "x-*" matches nothing in this file',
        "25: group[0].at_least: must be a whole number, not a text",
        '29: watchdog[1].depends_on[2]: "q" is declared nowhere in this file',
        "30: unknown: unknown key; allowed: actions, callbacks, cluster, group, notify, program, "
        "supervisor, upward, watchdog",
    ]


def ladder(step: str, line: int) -> str:
    """A watchdog with one step on the given line."""
    return "\n" * (line - 4) + f"{DOG}ladder = [\n{step}\n]"


def test_a_wrong_signal_lists_the_right_ones(tmp_path: Path) -> None:
    """With its line, its key, and all that is allowed."""
    told = one(tmp_path, ladder('{ do = "signal", signal = "SIGFOO" }', 14))
    assert told.startswith('14: watchdog[0].ladder[0].signal: "SIGFOO" is no signal; allowed: SIGABRT, ')
    assert "SIGTERM" in told


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("timeot = 3", "3: watchdog[0].timeot: unknown key; did you mean timeout? allowed: auto, "),
        ("timeout = true", "must be a number of seconds"),
        ('timeout = ""', '"" is no duration'),
        ("timeout = 0", "0 is not allowed; allowed: 0.001 to"),
        ("timeout = -1", "-1 is not allowed"),
        ('timeout = "-1s"', '"-1s" is no duration'),
        ("timeout = inf", "inf is not allowed"),
        ("timeout = " + "9" * 400, "a number of more than 77 digits is not allowed"),
        ("timeout = 1e300", "1e+300 is not allowed"),
        ('timeout = "11y"', '"11y" is no duration'),
        ('timeout = "99999d"', '"99999d" is not allowed'),
        ("timeout = 1979-05-27", "not a date or time"),
        ('timeout = "auto"', '"auto" needs its bounds'),
        ("auto = { least = 1, most = 2 }", 'has no meaning without timeout = "auto"'),
        ('timeout = "auto"\nauto = { least = 3, most = 2 }', "4: watchdog[0].auto: least must not exceed most"),
        ('timeout = "auto"\nauto = { least = 3 }', "4: watchdog[0].auto.most: is required and missing"),
        ('feeders = "all"', '"all" is not allowed; allowed: "latest", "any", "each"'),
        ('exit = "always"', '"always" is not allowed; allowed: "unclean", "incident", "never"'),
        ("clean = 3", "clean=3 is no list: exit statuses from 0 to 255 and names of signals such as SIGUSR1"),
        ("clean = [256]", "256 in clean is no end of a process"),
        ('clean = ["SIGBARK"]', "'SIGBARK' in clean is no end of a process"),
        ("clean = [true]", "True in clean is no end of a process"),
        ("min_interval = 60", "1m must be less than the timeout of 1m"),
        ("observe = 1", "must be true or false, not the number (1)"),
        ("ladder = 3", "must be an array, not the number (3)"),
        ("ladder = [3]", 'must be a table such as { do = "log" }, not the number (3)'),
        ("ladder = [{ after = 1 }]", "ladder[0].do: is required and missing; allowed: callback, "),
        ('ladder = [{ do = "sginal" }]', '"sginal" is no action; did you mean signal? allowed: callback, dump, '),
        ('ladder = [{ do = "signal" }]', "ladder[0].signal: is required and missing"),
        ('ladder = [{ do = "log", after = -1 }]', "-1 is not allowed; allowed: 0, or 0.001"),
        ('ladder = [{ do = "log", level = "bad" }]', '"bad" is not allowed; allowed: "warning", "critical"'),
        ('ladder = [{ do = "kill", budget = "3" }]', '"3" is no budget; allowed is a count and a duration'),
        ('ladder = [{ do = "kill", budget = "0 per 1m" }]', "a count of 0 is not allowed"),
        ('ladder = [{ do = "kill", budget = "1 per x" }]', '"x" is no duration'),
        ('ladder = [{ do = "log", budget = "3 per 1m" }]', "has no meaning on log without repeat"),
        ('ladder = [{ do = "kill", backoff = "1s..2s" }]', "needs a budget too"),
        ('ladder = [{ do = "dump", first = true }]', "first: has no meaning on dump"),
        ('ladder = [{ do = "kill", budget = "1 per 1m", backoff = "2s..1s" }]', "begins with more than it ends"),
        ('ladder = [{ do = "kill", budget = "1 per 1m", backoff = "1s" }]', '"1s" is no backoff'),
        ('ladder = [{do = "log", repeat = 5}, {do = "log", after = 5}]', "repeat: never happens: the next step is"),
        (
            'ladder = [{do = "log", after = 5}, {do = "log", after = 4}]',
            "[1].after: 4 s is before the step above it",
        ),
        ('ladder = [{ do = "restart" }]', "restart can never act here: this watchdog is not a [[program]]"),
        ('ladder = [{ do = "exec", command = [] }]', "is an empty command"),
        (
            'ladder = [{ do = "exec", command = "a", output_max = "1GB" }]',
            '"1GB" is not allowed; allowed: 1 kB to 256 KiB',
        ),
        ('ladder = [{ do = "exec", command = "a", output_max = "1 light" }]', '"1 light" is no size'),
        (
            'ladder = [{ do = "kill", signal = "SIGTERM" }]',
            "unknown key; allowed: after, backoff, budget, do, first, group",
        ),
        ('ladder = [{ do = "notify", to = "x" }]', '"x" is bound nowhere: [notify] has nothing'),
        ('ladder = [{ do = "callback", callback = "x" }]', '"x" is bound nowhere: [callbacks] has nothing'),
        ('ladder = [{ do = "webhook", url = "ftp://x" }]', "allowed is https://HOST/"),
        (
            'ladder = [{ do = "webhook", url = "http://x", retries = 99 }]',
            "99 is not allowed; at most 20 is allowed",
        ),
        ('on_give_up = { do = "log" }', "never happens: it is given up when a step's budget is spent"),
        (
            'ladder = [{ do = "kill", budget = "1 per 1m" }]\non_give_up = { do = "log", after = 1 }',
            "4: watchdog[0].on_give_up.after: has no meaning here",
        ),
        ("on_give_up = 3", 'must be a table such as { do = "log" }'),
        ('depends_on = "a"', "must be an array, not a text"),
        ('depends_on = ["b"]', '[0]: "b" is declared nowhere in this file'),
        ('depends_on = ["a"]', "goes round in a circle: a -> a"),
        ('maintenance = [{ cron = "x", for = 1 }]', '"x" is no schedule; allowed are five fields'),
        ('maintenance = [{ cron = "61 * * * *", for = 1 }]', "is no schedule (bad minute)"),
        ('maintenance = [{ cron = "0 0 30 2 *", for = 1 }]', "is no schedule (bad day-of-month)"),
        ('maintenance = [{ cron = "* * * * *", for = "1m" }]', "no watchdog would ever be judged"),
        ('maintenance = [{ cron = "0 3 * * *" }]', "maintenance[0].for: is required and missing"),
    ],
)
def test_a_fault_of_a_watchdog(tmp_path: Path, lines: str, told: str) -> None:
    """One fault, told once, with what is allowed."""
    assert told in one(tmp_path, DOG + lines)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[watchdog]\nname = "a"', "1: watchdog: must be an array of tables: write [[watchdog]], not a table"),
        ("watchdog = 3", "must be an array of tables"),
        ("supervisor = 3", "supervisor: must be a table, not the number (3)"),
        ("callbacks = []", "callbacks: must be a table, not an array"),
        ("[[watchdog]]\ntimeout = 1", "1: watchdog[0].name: is required and missing"),
        ('[[watchdog]]\nname = ""', "must be a name or a pattern such as worker-*, and is empty"),
        ('[[watchdog]]\nname = "wörker"', "is no name: 1 to 128 of the characters"),
        ('[[watchdog]]\nname = "a b*"', "matches no name"),
        ('[[watchdog]]\nname = "bad["', '"bad[" matches no name: a [ without its ]'),
        ('[[watchdog]]\nname = "bad[]"', "a [ without its ]"),
        ('[[watchdog]]\nname = "bad]*"', "a ] without its ["),
        ('[[watchdog]]\nname = "w-*"\ntimeout = 1\nexpect = true', "expect: needs one name: nobody can say which"),
        ('[[watchdog]]\nname = "w"\nexpect = true', "expect: has no meaning without a timeout"),
        ('[[watchdog]]\nname = "w-*"\nnotify = true', "notify: needs one name: the socket is the name"),
        ('[[watchdog]]\nname = "w"\nscope = "local"', "scope: has no meaning without [cluster]"),
        (
            PROGRAM + 'after = ["q"]',
            '4: program[0].after[0]: "q" is no program of this file',
        ),
        (
            PROGRAM + 'after = ["q-*"]',
            'after[0]: "q-*" matches no program of this file',
        ),
        (
            PROGRAM + 'after = ["p"]',
            "4: program[0].after: goes round in a circle: p -> p",
        ),
        (
            PROGRAM + "ready = { notify = true, fd = 3 }",
            "4: program[0].ready: takes notify = true, or fd = 3, or ended = true, or a check",
        ),
        (
            PROGRAM + "ready = {}",
            "ready: takes notify = true, or fd = 3, or ended = true, or a check",
        ),
        (
            PROGRAM + 'restart = "always"\nready = { ended = true }',
            '4: program[0].restart: "always" with ready = { ended = true } is for ever',
        ),
        (
            PROGRAM + "ready = { fd = 2 }",
            "ready.fd: 2 is not allowed; at least 3 is allowed",
        ),
        (
            PROGRAM + 'ready = { tpc = "x:1" }',
            'ready: "tpc" is no kind of check; did you mean tcp?',
        ),
        ("upward = 3", "upward: must be a table, not the number (3)"),
        (UP.replace('"tcp://h:1"', ""), "2: upward.addresses: has too few elements: at least 1 is needed"),
        (UP.replace('"tcp://h:1"', '"/run/banken"'), '2: upward.addresses[0]: must be "tcp://HOST:PORT", not'),
        (UP.replace('"tcp://h:1"', '"tcp://h:65534"'), "PORT from 1 to 65533"),
        (UP.replace('"tcp://h:1"', '"tcp://h:7767", "tcp://h"'), "1: upward: an address stands there twice"),
        (UP.replace('"tcp://h:1"', ", ".join(f'"tcp://h:{n}"' for n in range(1, 11))), "at most 9 are allowed"),
        (UP + 'name = "a b"', "4: upward.name: 'a b' is no name: 1 to 128 of the characters"),
        (
            UP + f'name = "{"x" * 124}"',
            "upward.name: has 124 characters; at most 123 are allowed: host/ comes before",
        ),
        (UP + 'timeout = "0.5s"', '4: upward.timeout: "0.5s" is not allowed; allowed: 1 s to 1h'),
        (UP + "timeout = true", "upward.timeout: must be a number of seconds"),
        (UP + 'addres = "x"', "4: upward.addres: unknown key; did you mean addresses?"),
        (UP.replace('key = "k"', ""), "upward.key: is required and missing"),
        (UP.replace('"k"', "[]"), "upward.key: must be a"),
        (f"{DOG}{DOG}", '4: watchdog[1].name: "a" is declared already, by watchdog[0]'),
        ('[[watchdog]]\nname = "p"\n' + PROGRAM, "by program[0]; a program's own table takes the fields of its"),
        ('[[watchdog]]\nname = "a*"\n[[watchdog]]\nname = "ab*"', '4: watchdog[1].name: "ab*" never counts: "a*"'),
        (PROGRAM + 'user = ""', "must be a text, and is empty"),
        (PROGRAM + "numprocs = 2", "2 processes need a name each: put {i} where the number goes"),
        (PROGRAM.replace('"p"', '"p{i}"') + 'numprocs = 2\nlog = "x"', "2 processes need a file each"),
        (PROGRAM.replace('"p"', '"p{i}"') + "numprocs = 1001", "1001 is not allowed; at most 1000 is allowed"),
        (PROGRAM + 'log = "x"\n' + PROGRAM.replace('"p"', '"q"') + 'log = "x"', "is the log of program[0] already"),
        (
            PROGRAM + 'log = "x"\n' + PROGRAM.replace('"p"', '"q"') + 'log = "./y/../x"',
            "is the log of program[0] already",
        ),
        (PROGRAM.replace("sleep 1", " "), "command: must be a command, and is empty"),
        (
            PROGRAM + "env = { 'A=B' = 'x', N = 3, BANKEN_NAME = 'x' }",
            "letters, digits and _ are allowed; N must be a text of at most 65,536 characters without NUL (in "
            "quotes); BANKEN_NAME is set",
        ),
        (PROGRAM + 'restart = "sometimes"', 'allowed: "always", "on-failure", "never"'),
        (PROGRAM + "env = { BANKEN_NAME = 'x' }", "BANKEN_NAME is set by the supervisor itself"),
        (
            PROGRAM + "env = { A = 'x', B = '${BK_GONE}' }",
            "B: the environment variable BK_GONE is not set; for the text ${ itself write $${",
        ),
        (PROGRAM + "env = { 'A B' = 'x' }", '"A B" is no name for a variable'),
        (PROGRAM + "umask = 0o022", 'umask: must be octal digits in quotes, such as "022", not the number (18)'),
        (PROGRAM + 'umask = "28"', 'allowed are octal digits, "000" to "777"'),
        (PROGRAM + "nice = 20", "20 is not allowed; at most 19 is allowed"),
        (PROGRAM + "nice = true", "must be a whole number"),
        (PROGRAM + "oom_score_adj = -1001", "at least -1000 is allowed"),
        (PROGRAM + "rlimits = 4096", "must be a table, such as { nofile = 4096 }"),
        (PROGRAM + "rlimits = { nofiles = 1 }", '"nofiles": unknown key; did you mean nofile?'),
        (PROGRAM + 'rlimits = { nofile = "2:1" }', '"2:1" is not SOFT:HARD'),
        (PROGRAM + 'rlimits = { nofile = "1:2:3" }', '"1:2:3" is not SOFT:HARD'),
        (PROGRAM + 'rlimits = { core = "unlimited:1" }', '"unlimited:1" is not SOFT:HARD'),
        (
            PROGRAM + 'rlimits = { nofile = "4k" }',
            'nofile: "4k" is no limit; allowed are a whole number, "unlimited"',
        ),
        (PROGRAM + "rlimits = { as = -1, cpu = false }", "as: -1 is no limit; allowed are a whole number, a size"),
        (PROGRAM + 'rlimits = { as = "1GiX" }', '"1GiX" is no limit'),
        (PROGRAM + "rlimits = { cpu = 9223372036854775808 }", "cpu: 9223372036854775808 is no limit"),
        (PROGRAM + "order = 1.5", "must be a whole number, not the number (1.5)"),
        (PROGRAM + "autostart = 0", "must be true or false"),
        (PROGRAM + "log_files = 0", "0 is not allowed; at least 1 is allowed"),
        (PROGRAM.replace('"sleep 1"', '"sleep \'1"'), "cannot be split into words: No closing quotation"),
        (PROGRAM.replace('"sleep 1"', '["sleep", 1]'), "its argument 1 must be a text"),
        (PROGRAM.replace('"sleep 1"', '"a > b"'), 'no shell runs it, so ">" would be one more argument'),
        (PROGRAM.replace('"sleep 1"', '""'), "must be a command, and is empty"),
        (DOG + '[[group]]\nname = "a"\nmembers = ["a"]', 'group[0].name: "a" is declared already, by watchdog[0]'),
        (DOG + '[[group]]\nname = "g"\nmembers = []', "members: has too few elements: at least 1 is needed"),
        (DOG + '[[group]]\nname = "g"\nmembers = ["b"]', 'members[0]: "b" is declared nowhere in this file'),
        (DOG + '[[group]]\nname = "g"\nmembers = ["b*"]', 'members[0]: "b*" matches nothing in this file'),
        (DOG + '[[group]]\nname = "g"\nmembers = ["a"]\nat_least = 2', "2 is more than the 1 members there are"),
        (DOG + '[[group]]\nname = "g"\nmembers = ["a"]\nstrategy = "one-for-all"', "a is no [[program]]"),
        (PROGRAM + '[[group]]\nname = "g"\nmembers = ["p"]\nbudget = "1 per 1m"', "no meaning without strategy"),
        (
            PROGRAM + '[[group]]\nname = "g"\nmembers = ["p"]\nladder = [{ do = "log" }]',
            "can never act: an incident of a group opens only where at_least is given",
        ),
        (
            PROGRAM + '[[group]]\nname = "g"\nmembers = ["p"]\nat_least = 1\nladder = [{ do = "kill" }]',
            "kill can never act here: a group is no process",
        ),
        (
            DOG + '[[group]]\nname = "g"\nmembers = ["a"]\nat_least = 1\nladder = [{ do = "restart" }]',
            "restart can never act here: a group is no [[program]]",
        ),
        (
            PROGRAM + '[[group]]\nname = "g"\nmembers = ["p"]\nat_least = 1\nladder = [{ do = "restart" }]',
            "restart can never act here: a group is no [[program]]",
        ),
        (
            PROGRAM
            + "".join(f'[[group]]\nname = "{g}"\nmembers = ["p"]\nstrategy = "one-for-all"\n' for g in "gh"),
            "group[1].members: p is in group[0] too, which has a strategy",
        ),
        ('[supervisor]\naddress = "tcp://h:1"\n' + DOG + 'ladder = [{ do = "kill" }]', "its workers come over tcp"),
        ('[supervisor]\naddress = "http://x"', "is no address"),
        ("[supervisor]\nretention = { size = 3 }", "supervisor.retention.size: 3 is not allowed"),
        ("[supervisor]\ncallback_threads = 0", "0 is not allowed; at least 1 is allowed"),
        ('[callbacks]\nx = "nothing"', '"nothing" names nothing to import; allowed is "module:name"'),
        ('[callbacks]\n"ü" = "a:b"', "is no name"),
        ('[actions]\nkill = "a:B"', 'actions.kill: "kill" is an action of banken\'s own'),
        ("[notify.n]", "urls or urls_file is required"),
        ("[notify]\nn = 3", "notify.n: must be a table, not the number (3)"),
        ('[notify.n]\nurls_file = "none"', "cannot read the secret's file: No such file or directory"),
        ('[notify.n]\nurls_file = "/"', "cannot read the secret's file: Is a directory"),
    ],
)
def test_a_fault_of_another_table(tmp_path: Path, text: str, told: str) -> None:
    """One fault, told once, with what is allowed."""
    assert told in one(tmp_path, text)


def test_a_circle_of_dependencies_through_a_pattern(tmp_path: Path) -> None:
    """A name that only a pattern declares depends on what the pattern says; a long chain is no circle."""
    chain = "".join(f'[[watchdog]]\nname = "c{n}"\ndepends_on = ["c{n + 1}"]\n' for n in range(2000))
    assert faults(tmp_path, chain + '[[watchdog]]\nname = "c2000"') == []
    text = (
        DOG + 'depends_on = ["w-1", "b"]\n[[watchdog]]\nname = "b"\n[[watchdog]]\nname = "w-*"\ndepends_on = ["a"]'
    )
    assert "goes round in a circle: " in one(tmp_path, text)


@pytest.mark.parametrize("member", ["a", "b", "w-1", "w-*"])
def test_a_circle_of_dependencies_through_a_group(tmp_path: Path, member: str) -> None:
    """Nobody may wait for a group that waits for him: its ladder would never be climbed."""
    group = f'\n[[group]]\nname = "g"\nmembers = ["{member}", "c"]\nat_least = 1'
    others = '\n[[watchdog]]\nname = "b"\n[[watchdog]]\nname = "c"\n[[watchdog]]\nname = "w-*"\n'
    waits = {"a": "", "b": 'depends_on = ["a"]'}.get(member, 'depends_on = ["a"]')
    text = DOG + 'depends_on = ["g"]' + others
    if member == "b":
        text = text.replace('name = "b"', 'name = "b"\ndepends_on = ["a"]')
    elif member != "a":
        text += waits
    assert "goes round in a circle: a -> g -> " in one(tmp_path, text + group)
    assert faults(tmp_path, DOG + 'depends_on = ["g"]' + others + group.replace(f'"{member}"', '"w-2"')) == []


@pytest.mark.parametrize(
    "text",
    [
        '[[watchdog]]\nname = "w-*"\n[[watchdog]]\nname = "w-1"\n[[watchdog]]\nname = "*"',
        '[[watchdog]]\nname = "w-?"\n[[watchdog]]\nname = "w-*"',
        '[[watchdog]]\nname = "w-*"\n[[group]]\nname = "g"\nmembers = ["w-1", "?-2", "*3"]\nat_least = 9',
        "".join(
            f'[[watchdog]]\nname = "{name}"\ndepends_on = {deps}\n'
            for name, deps in (("a", '["b", "c"]'), ("b", '["d"]'), ("c", '["d"]'), ("d", "[]"))
        ),
        PROGRAM + 'ladder = [{ do = "restart", budget = "3 per 10m", backoff = "1s..60s" }]\non_give_up = []',
        PROGRAM + 'on_give_up = [{ do = "log" }, { do = "dump" }]',
        '[[watchdog]]\nname = "p*"\nladder = [{ do = "restart" }]\n' + PROGRAM,
        DOG + 'ladder = [{ do = "log", repeat = 5 }, { do = "log", after = 6 }, { do = "log", after = 6 }]',
        '[supervisor]\naddress = "tcp://h:1"\n' + PROGRAM + 'ladder = [{ do = "kill" }]',
    ],
)
def test_what_is_well_is_not_refused(tmp_path: Path, text: str) -> None:
    """Neighbours of the faults above."""
    assert faults(tmp_path, text) == []


def test_the_faults_of_a_huge_mess_are_bounded(tmp_path: Path) -> None:
    """The first two hundred, and how many more."""
    found = faults(tmp_path, "".join(f"k{n} = 1\n" for n in range(5000)))
    assert len(found) == FAULTS_MAX + 1
    assert found[0].startswith("1: k0: unknown key")
    assert found[-1] == "and 4,800 faults more"


@pytest.mark.parametrize(
    "text",
    [
        DOG + 'ladder = [{ do = "webhook", url = "hunter2" }]',
        DOG + 'ladder = [{ do = "webhook", url = "http://hunter2 x/" }]',
        DOG + 'ladder = [{ do = "webhook", url = "http://x:hunter2/" }]',
        DOG + 'ladder = [{ do = "webhook", url = "http://x", secret = "whsec_hunter2!" }]',
        DOG + 'ladder = [{ do = "webhook", url = "http://x", secret = ["hunter2"] }]',
        DOG + 'ladder = [{ do = "webhook", url = "http://x", secret = { x = "hunter2" } }]',
        DOG + 'ladder = [{ do = "webhook", url = "http://x", secret = "${BK_PASS}", secret_file = "hunter2" }]',
        DOG + 'ladder = [{ do = "webhook", url = "http://x", secret = "${BK_GONE}hunter2" }]',
        DOG + 'ladder = [{ do = "webhook", url = "${BK_PASS}" }]',
        '[notify.n]\nurls = ["hunter2"]',
        '[notify.n]\nurls = [["hunter2"]]',
        '[notify.n]\nurls = "json://hunter2"',
        '[notify.n]\nurls = ["hunter2 ://x"]',
        '[notify.n]\nurls = ["${BK_PASS}"]',
        '[notify.n]\nurls_file = "pass"',
        '[notify.n]\nurls_file = "passes"',
        PROGRAM + 'env = { PASS = ["hunter2"] }',
        PROGRAM + 'env = "hunter2"',
        "x = \n# hunter2",
        '[notify.n]\nurls = ["json://hunter2\n"]',
    ],
)
def test_no_fault_shows_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Whatever is wrong with it, or beside it."""
    monkeypatch.setenv("BK_PASS", "hunter2")
    (tmp_path / "pass").write_text("hunter2")
    (tmp_path / "passes").write_bytes(b"\xffhunter2")
    (tmp_path / "banken.toml").write_text(text)
    with pytest.raises(ConfigFaults) as told:
        config.load(tmp_path / "banken.toml")
    fault = told.value
    assert "hunter2" not in f"{fault} {fault!r} {fault.__cause__!r} {fault.__context__!r}"


def test_no_fault_shows_a_secret_number(tmp_path: Path) -> None:
    """Who forgets the quotes around a number is not shown it."""
    assert "271828" not in one(tmp_path, "[notify.n]\nurls = 271828")
    assert "271828" not in one(tmp_path, DOG + 'ladder = [{ do = "webhook", url = "http://x", secret = 271828 }]')


def test_what_could_be_made_of_a_faulty_file_holds_no_open_secret(tmp_path: Path) -> None:
    """``examine`` hands out a Config with gaps beside the faults."""
    (tmp_path / "banken.toml").write_text(
        DOG + 'ladder = [{ do = "webhook", url = "http://x", secret = "hunter2${BK_GONE}" }]'
    )
    made, found = config.examine(tmp_path / "banken.toml", thorough=False)
    assert len(found) == 1
    assert made is not None
    assert made.policies[0][1].ladder.steps == ()
    assert "hunter2" not in repr(made)


def test_no_fault_steers_a_terminal(tmp_path: Path) -> None:
    """Escapes in names, keys and texts are written out."""
    found = faults(tmp_path, '[[watchdog]]\nname = "\\u001b[31m\\u202e"\n"\\u001b[2J\\n" = 1\nfeeders = "a\\nb"')
    assert len(found) == 3
    assert all(told.isprintable() for told in found)


def test_the_exception_is_one_of_bankens_own(tmp_path: Path) -> None:
    """It is a BankenError and a ValueError, survives pickling, and its text is one line a fault."""
    (tmp_path / "banken.toml").write_text("a = 1\nb = 2")
    with pytest.raises(ConfigFaults) as told:
        config.load(tmp_path / "banken.toml")
    assert isinstance(told.value, BankenError)
    assert isinstance(told.value, ValueError)
    assert len(str(told.value).splitlines()) == 2
    assert told.value.faults[0][1:3] == (1, "a")
    assert pickle.loads(pickle.dumps(told.value)).faults == told.value.faults
    assert str(Fault("f", None, "", "x")) == "f: x"
