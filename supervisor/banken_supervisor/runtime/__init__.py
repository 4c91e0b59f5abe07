"""The loop and its parts: the mailbox, the lock of the address, the current config."""
