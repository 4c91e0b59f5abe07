"""Requests to a running supervisor, and its replies."""
