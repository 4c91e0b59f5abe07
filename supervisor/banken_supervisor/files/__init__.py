"""Files that other users may reach."""
