"""What waits for the journal, then goes out: events, and the checkpoints of the registry."""
