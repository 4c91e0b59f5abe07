"""What the exit codes of ``banken`` mean. Scripts may rely on them."""

from __future__ import annotations

OK = 0
"""it was done; also when the reader of a pipe had enough (``banken events | head -1``)"""

NOT_SO = 1
"""the thing asked for is not so: no watchdog has that name, the demo did not show what it promises"""

USAGE = 2
"""the command line is wrong (click's own code)"""

NO_SUPERVISOR = 3
"""no supervisor answers at the address"""

REFUSED = 4
"""a supervisor answered, and said no"""

ADDRESS_IN_USE = 5
"""``run``: another supervisor holds the address"""

ADDRESS_REFUSED = 6
"""nothing can be bound or connected to at the address: too long, open to others, not allowed"""

NOT_RUNNABLE = 126
"""``guard``: the command cannot be run, as a shell says it"""

NO_COMMAND = 127
"""``guard``: there is no such command"""

INTERRUPTED = 130
"""ended by Ctrl-C (128 + SIGINT), where that is not the orderly end as it is for ``run``"""

TERMINATED = 143
"""``demo``: ended by SIGTERM (128 + SIGTERM), after it cleaned up"""

HELP = f"""\b
Exit codes:
  {OK}    it was done
  {NOT_SO}    what was asked for is not so (no such watchdog, the demo failed)
  {USAGE}    wrong arguments
  {NO_SUPERVISOR}    no supervisor answers
  {REFUSED}    the supervisor said no
  {ADDRESS_IN_USE}    another supervisor holds the address
  {ADDRESS_REFUSED}    the address cannot be used
  {INTERRUPTED}  interrupted by Ctrl-C"""
