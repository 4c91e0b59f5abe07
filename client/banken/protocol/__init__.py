"""What workers and supervisor say to each other: limits, messages, their bytes. No socket, clock or thread."""
