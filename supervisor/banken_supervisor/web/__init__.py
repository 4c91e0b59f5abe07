"""The web process: a page, a JSON API, a stream of events, ping URLs, badges and metrics.

A process of its own, so that it shares no interpreter lock with the timers. It talks to the supervisor over its
sockets, as every command does, and reads the journal's file. No watchdog depends on it.

    listen_address.py, token_file.py   what must be known before the server is loaded
    serving.py      the server
    app.py          the FastAPI application
    security.py     hosts, origins, the token          http_protocol.py  time limits for slow clients
    parameters.py   what requests may contain          errors.py         problem details
    api.py, pings.py, badges.py, metrics.py, stream.py, api_page.py   the answers
    backend.py      what all answers share: supervisor_client.py (a thread for requests), state_cache.py (one copy
                    of all rows), broadcaster.py (the open streams), journal_reader.py
"""
