"""Programs: processes that are started, watched by pidfd, stopped, and found again after a crash.

``ProgramManager`` joins the processes with the decisions (engine/programs.py); the loop needs nothing else.
"""

from banken_supervisor.programs.program_manager import ProgramManager

__all__ = ["ProgramManager"]
