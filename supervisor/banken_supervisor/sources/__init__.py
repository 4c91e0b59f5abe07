"""Where messages come in. A source passes on bytes; it does not interpret them."""
