"""Turns the bytes of a message into an `Invocation`: reads, verifies, normalises, opens secrets.

`reader` is the way in; nothing here does I/O. Whoever adds a shape of message adds it to `decode`.
"""
