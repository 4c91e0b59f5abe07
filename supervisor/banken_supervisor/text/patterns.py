"""Shell patterns of names, where nothing more than telling them from names is needed."""


def is_pattern(name: str) -> bool:
    """Whether ``name`` stands for many names, as in a shell: it holds ``*``, ``?`` or ``[``."""
    return not {"*", "?", "["}.isdisjoint(name)
