"""The words of the product as values: what an invocation, a route and an outcome are.

Standard library only: no I/O, no clock, no logging. Everyone may import from here; it imports nobody.
"""
