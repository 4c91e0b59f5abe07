"""Where messages come in. A source hands over bytes; what they mean is decided elsewhere."""
