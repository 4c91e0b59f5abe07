"""Tests of the web process: a real server and a real supervisor, asked over HTTP."""
