"""``python -m banken_supervisor`` is ``banken``."""

from banken_supervisor.cli import main

main()
