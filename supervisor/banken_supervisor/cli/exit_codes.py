"""What the exit codes of ``banken`` mean. Scripts may rely on them."""

from __future__ import annotations

OK, NOT_SO, USAGE, NO_SUPERVISOR, REFUSED, ADDRESS_IN_USE, ADDRESS_REFUSED = range(7)
"""OK also when the reader of a pipe had enough (``banken events | head -1``); USAGE is click's own code."""

NOT_RUNNABLE, NO_COMMAND = 126, 127
"""``guard``: the command cannot be run, there is no such command; as a shell says it."""

INTERRUPTED = 130
"""Ended by Ctrl-C (128 + SIGINT), where that is not the orderly end as it is for ``run``."""

HELP = f"""\b
Exit codes:
  {OK}    it was done
  {NOT_SO}    what was asked for is not so (no such watchdog, the demo failed)
  {USAGE}    wrong arguments
  {NO_SUPERVISOR}    no supervisor answers
  {REFUSED}    the supervisor said no, or what it said is not understood
  {ADDRESS_IN_USE}    another supervisor holds the address
  {ADDRESS_REFUSED}    the address cannot be used
  {INTERRUPTED}  interrupted by Ctrl-C"""
