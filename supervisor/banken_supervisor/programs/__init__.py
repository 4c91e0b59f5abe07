"""Programs, the shell: processes that are started, watched by pidfd, ended, and found again after a crash.

``ProgramManager`` (keeper.py) joins it with core/programs.py; it is all that a loop needs.
"""

from banken_supervisor.programs.program_manager import ProgramManager

__all__ = ["ProgramManager"]
