"""Where messages come in. A source hands over bytes and says whose they are; what they mean is decided
elsewhere."""
