"""What the operator said about names, and what holds for names that nobody declared."""

from __future__ import annotations

from fnmatch import fnmatchcase

from banken.model import Declaration


class Rules:
    """Exact names first, then patterns in the order given, then the defaults.

    ``defaults=None`` means that a name which neither the operator nor the worker declared is refused.
    """

    def __init__(self, defaults: Declaration | None) -> None:
        self.defaults = defaults
        self._exact: dict[str, Declaration] = {}
        self._patterns: list[tuple[str, Declaration]] = []

    def declare(self, name: str, declaration: Declaration) -> None:
        """The operator's word on one name."""
        self._exact[name] = declaration

    def declare_pattern(self, pattern: str, declaration: Declaration) -> None:
        """The operator's word on all names that match the shell pattern (``worker-*``)."""
        self._patterns.append((pattern, declaration))

    def forget(self, name: str) -> None:
        """Take back the operator's word on one name."""
        self._exact.pop(name, None)

    def operators(self, name: str) -> Declaration | None:
        """What the operator declared for this name; None: nothing."""
        exact = self._exact.get(name)
        if exact is not None or not self._patterns:
            return exact
        for pattern, declaration in self._patterns:
            if fnmatchcase(name, pattern):
                return declaration
        return None
