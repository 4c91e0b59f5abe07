"""How the supervisor observes itself: the guard, the log queue, counters."""
