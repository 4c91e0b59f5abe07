"""Where a supervisor keeps what is to outlive a reboot: its journal, and other files of its own.

The default address is in a directory that the system empties at each boot; its state is elsewhere. Who names an
address of his own has both in that directory. Everything follows from the address alone, so that every command
finds it, with or without a supervisor; and no two addresses have the same place.
"""

from __future__ import annotations

import os

from banken.address import Address, runtime_directory

SYSTEM = "/var/lib/banken"
"""Root's."""


def state_directory(address: Address) -> str | None:
    """The directory, which may not exist yet. None: the address has none, for it is not on this host."""
    directory = address.directory
    if directory is None:
        return None
    runtime = runtime_directory()
    of_session = runtime is not None and directory == os.path.abspath(os.path.join(runtime, "banken"))
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        if directory == "/run/banken":
            return SYSTEM
        return os.path.join(SYSTEM, directory.strip("/").replace("/", "-")) if of_session else directory
    if not of_session:
        return directory  # his own, or the default without a session, which is not emptied
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.abspath(os.path.join(state, "banken"))


def journal_file(address: Address) -> str | None:
    """The journal's file unless the operator names another; None: see ``state_directory``."""
    directory = state_directory(address)
    return None if directory is None else os.path.join(directory, "journal.db")


def make_state_directory(address: Address) -> str | None:
    """Make it, for its owner alone. Where that cannot be (a read-only disk): the address's own directory."""
    directory = state_directory(address)
    if directory is None or directory == address.directory:
        return directory
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
    except OSError:
        return address.directory
    return directory if os.access(directory, os.W_OK | os.X_OK) else address.directory
