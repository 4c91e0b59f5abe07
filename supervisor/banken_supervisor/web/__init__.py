"""The web process: a page, a JSON API, a stream of events, ping URLs, badges and metrics.

A process of its own, so that it shares no interpreter lock with the timers. It talks to the supervisor as everyone
does, by ``banken.control``, and reads the journal's file; when it dies, no watchdog notices.

    serving.py    from settings to a bound socket and a running uvicorn      protocol.py   clients that are too slow
    app.py        the application put together                               gate.py       who may ask for what
    operations.py what can be asked: of it the routes and the OpenAPI document are made
    api.py, pings.py, badges.py, stream.py      the answers
    backend.py    what all answers share: asker.py (a thread for requests), following.py (a thread for events),
                  mirror.py (one copy of all rows), hub.py (who listens to it), records.py (the journal)
"""
