"""The web process: a page, a JSON API, a stream of events, ping URLs, badges and metrics (extra ``[web]``)."""
