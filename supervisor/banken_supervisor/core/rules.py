"""What the operator said about names, and what holds for names that nobody declared."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from banken.model import Declaration
from banken_supervisor.core.policy import Policy


class Rules:
    """Exact names first, then patterns in the order given, then the defaults.

    ``defaults=None`` means that a name which neither the operator nor the worker declared is refused.
    """

    def __init__(self, defaults: Declaration | None) -> None:
        self.defaults = defaults
        self._exact: dict[str, Policy] = {}
        self._patterns: list[tuple[str, Policy]] = []

    def declare(self, name: str, word: Declaration | Policy) -> None:
        """The operator's word on one name."""
        self._exact[name] = _policy(word)

    def declare_pattern(self, pattern: str, word: Declaration | Policy) -> None:
        """The operator's word on all names that match the shell pattern (``worker-*``)."""
        self._patterns.append((pattern, _policy(word)))

    def replace_patterns(self, patterns: Iterable[tuple[str, Policy]]) -> None:
        """A changed config: these instead of all patterns so far."""
        self._patterns = list(patterns)

    def forget(self, name: str) -> None:
        """Take back the operator's word on one name."""
        self._exact.pop(name, None)

    def operators(self, name: str) -> Policy | None:
        """What the operator declared for this name; None: nothing."""
        exact = self._exact.get(name)
        if exact is not None or not self._patterns:
            return exact
        for pattern, declaration in self._patterns:
            if fnmatchcase(name, pattern):
                return declaration
        return None


def _policy(word: Declaration | Policy) -> Policy:
    return word if isinstance(word, Policy) else Policy(word)
