"""What an operator's process needs to talk to a running supervisor; the command line and the web process share it.

    supervisor_client.py  requests, and an error that says why none is answered
    pager.py              lists that take several requests
    event_follower.py     the supervisor's events, and whether it is there

Nothing here is asyncio, and nothing here draws or prints.
"""
