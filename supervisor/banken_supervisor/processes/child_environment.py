"""What a command inherits of this process's environment: not what was meant for this process alone."""

from __future__ import annotations

import os

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


def inherited(*, other_user: bool = False) -> dict[str, str]:
    """A copy of the environment for a command. ``other_user``: it runs as somebody else than this process."""
    left_out = OWN | SESSION if other_user else OWN
    return {key: value for key, value in os.environ.items() if key not in left_out}
