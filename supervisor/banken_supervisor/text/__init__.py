"""Every sentence that people read, written once."""
