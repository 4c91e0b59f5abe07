"""Programs: processes that are started, watched by pidfd, stopped, and found again after a crash."""
