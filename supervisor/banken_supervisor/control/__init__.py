"""What can be asked of a running supervisor, and its answers."""
