"""Processes of this host: handles by pidfd, their ends, process groups, who connected, marks in /proc."""
