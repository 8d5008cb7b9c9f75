"""From a delivery to its settlement: admission, one run's life, and the life of the whole.

Knows the other rooms only through `agent.ports`.
"""
