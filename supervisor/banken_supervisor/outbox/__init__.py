"""The outbox: events wait until the journal has them on disk. Also the checkpoints of the registry."""
