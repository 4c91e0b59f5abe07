"""Processes as the kernel knows them: pidfds, process groups, who connected, what /proc says."""
