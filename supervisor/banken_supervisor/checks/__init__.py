"""The kinds of checks: each looks once at what it is about, within its limit, and says what it saw.

One file a kind. A check is a frozen table of options with ``run``; ``config/checks.py`` makes it of the config.
They run in a process of their own, on one asyncio loop.
"""
