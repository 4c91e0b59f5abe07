"""What a command inherits of this process's environment: not what was meant for this process alone."""

from __future__ import annotations

import os
import pwd
from collections.abc import Collection

OWN = frozenset({
    "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS",
    "LISTEN_FDNAMES", "MAINPID", "MANAGERPID", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "FDSTORE",
    "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "CREDENTIALS_DIRECTORY", "BANKEN_TOKEN",
})  # fmt: skip
"""Variables that name this process's own unit (systemd.exec(5), sd_notify(3)), and the token of the web page.

A command that had them would feed this process's watchdog, and take its sockets.
"""

SESSION = frozenset({
    "XDG_RUNTIME_DIR", "XDG_SESSION_ID", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME",
    "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "XAUTHORITY", "MAIL",
})  # fmt: skip
"""Variables that name files of this process's user, which another user may not use."""


RESERVED = ("BANKEN_ADDRESS", "BANKEN_NAME", "BANKEN_TIMEOUT", "BANKEN_RUN")
"""Variables that a program gets of its supervisor, whatever the operator sets."""

LOGIN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

KEPT = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ")
"""Variables of the host, which a login sets too."""


LOGIN = frozenset({"PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "PWD", "TERM", "TMPDIR", *KEPT})
"""Variables that no secret is in, whatever uses them."""


def inherited(*, other_user: bool = False, withheld: Collection[str] = ()) -> dict[str, str]:
    """A copy of the environment for a command. ``other_user``: it runs as somebody else than this process.

    ``withheld``: variables that it does not get.
    """
    left_out = OWN.union(withheld, SESSION if other_user else ())
    return {key: value for key, value in os.environ.items() if key not in left_out}


def login(user: pwd.struct_passwd | None) -> dict[str, str]:
    """The environment of a fresh login. ``user``: None: this process's user has no entry."""
    return {"PATH": LOGIN_PATH} | {key: os.environ[key] for key in KEPT if key in os.environ} | of_user(user)


def of_user(user: pwd.struct_passwd | None) -> dict[str, str]:
    """The variables that name the user."""
    if user is None:
        return {}
    return {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name, "SHELL": user.pw_shell}
