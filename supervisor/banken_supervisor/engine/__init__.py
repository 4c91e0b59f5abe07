"""The pure engine: it decides and never acts.

No socket, clock, thread, file or random number. Time is an argument; what is to be done comes back as effects; what
it needs to be unique comes in as a prefix.
"""
