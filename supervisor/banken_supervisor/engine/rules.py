"""What the operator declared about names, and the defaults for names that nobody declared."""

from __future__ import annotations

from collections.abc import Iterable

from banken.protocol.messages import Declaration
from banken_supervisor.engine.patterns import Matcher, matcher
from banken_supervisor.engine.policy import NEVER, By, Policy, Window


class Rules:
    """Exact names first, then patterns in the order given, then the defaults.

    ``defaults=None`` means that a name which neither the operator nor the worker declared is refused.
    """

    def __init__(self, defaults: Declaration | None) -> None:
        self.defaults = defaults
        self.times = Declaration() if defaults is None else defaults
        """timeout and grace of what is fed and was given no timeout"""
        self._exact: dict[str, Policy] = {}
        self._patterns: dict[str, tuple[Matcher, Policy]] = {}
        """by pattern, in the order given: what tells whether a name matches, and the policy"""

    def declare(self, name: str, policy: Declaration | Policy) -> None:
        """What the operator declares for one name."""
        self._exact[name] = _policy(policy)

    def replace_patterns(self, patterns: Iterable[tuple[str, Declaration | Policy]]) -> None:
        """A changed config: these instead of all patterns so far."""
        found: dict[str, tuple[Matcher, Policy]] = {}
        for pattern, policy in patterns:
            before = self._patterns.get(pattern)
            found.setdefault(pattern, (matcher(pattern) if before is None else before[0], _policy(policy)))
        self._patterns = found

    def forget(self, name: str) -> None:
        """Take back what the operator declared for one name."""
        self._exact.pop(name, None)

    def names(self, name: str) -> bool:
        """Whether the operator declared exactly this name, and not only a pattern."""
        return name in self._exact or name in self._patterns

    def windows(self) -> set[Window]:
        """Every maintenance window that some policy has."""
        policies = [*self._exact.values(), *(policy for _, policy in self._patterns.values())]
        return {window for policy in policies for window in policy.maintenance}

    def in_force(
        self, policy: Policy | None, told: Declaration | None, *, fed: bool
    ) -> tuple[Declaration, By] | None:
        """What holds for a name with this policy, whose worker declared ``told``; None: the name is refused.

        Silence is judged only where the operator or the worker gave a timeout, or the name was fed without one.
        """
        if policy is not None and not policy.worker_declares:
            return policy.declaration, By.OPERATOR
        if told is not None:
            if policy is None or not policy.written:
                return told, By.WORKER
            return told._replace(**{key: getattr(policy.declaration, key) for key in policy.written}), By.WORKER
        base = self.defaults if policy is None else policy.declaration
        if base is None:
            return None
        if not fed:
            return base._replace(timeout=NEVER, grace=NEVER), By.NOBODY
        grace = base.grace if policy is not None and "grace" in policy.written else self.times.grace
        return base._replace(timeout=self.times.timeout, grace=grace), By.DEFAULT

    def policy_of(self, name: str) -> Policy | None:
        """What the operator declared for this name, or for a pattern that fits it; None: nothing."""
        exact = self._exact.get(name)
        if exact is not None or not self._patterns:
            return exact
        named = self._patterns.get(name)  # wherever it stands in the config
        if named is not None:
            return named[1]
        return next((policy for matches, policy in self._patterns.values() if matches(name)), None)


def _policy(policy: Declaration | Policy) -> Policy:
    return policy if isinstance(policy, Policy) else Policy(policy)
