"""The loop, and what it is wired from: the mailbox, the lock of the address, the config in force."""
