"""Shell patterns of names."""


def is_pattern(name: str) -> bool:
    """Whether ``name`` stands for many names, as in a shell: it holds ``*``, ``?`` or ``[``."""
    return not {"*", "?", "["}.isdisjoint(name)
