"""What the operator declared about names, and the defaults for names that nobody declared."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from banken.protocol.messages import Declaration
from banken_supervisor.engine.policy import Policy, Window


class Rules:
    """Exact names first, then patterns in the order given, then the defaults.

    ``defaults=None`` means that a name which neither the operator nor the worker declared is refused.
    """

    def __init__(self, defaults: Declaration | None) -> None:
        self.defaults = defaults
        self._exact: dict[str, Policy] = {}
        self._patterns: list[tuple[str, Policy]] = []

    def declare(self, name: str, policy: Declaration | Policy) -> None:
        """What the operator declares for one name."""
        self._exact[name] = _policy(policy)

    def replace_patterns(self, patterns: Iterable[tuple[str, Declaration | Policy]]) -> None:
        """A changed config: these instead of all patterns so far."""
        self._patterns = [(pattern, _policy(policy)) for pattern, policy in patterns]

    def forget(self, name: str) -> None:
        """Take back what the operator declared for one name."""
        self._exact.pop(name, None)

    def windows(self) -> set[Window]:
        """Every maintenance window that some policy has."""
        policies = [*self._exact.values(), *(policy for _, policy in self._patterns)]
        return {window for policy in policies for window in policy.maintenance}

    def policy_of(self, name: str) -> Policy | None:
        """What the operator declared for this name, or for a pattern that fits it; None: nothing."""
        exact = self._exact.get(name)
        if exact is not None or not self._patterns:
            return exact
        for pattern, declaration in self._patterns:
            if fnmatchcase(name, pattern):
                return declaration
        return None


def _policy(policy: Declaration | Policy) -> Policy:
    return policy if isinstance(policy, Policy) else Policy(policy)
