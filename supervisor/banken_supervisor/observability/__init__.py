"""What every shell needs to watch over itself: the guard, the log queue, counters."""
