"""How a supervisor on the same host learns where this process hangs."""
