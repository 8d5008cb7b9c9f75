"""Which messages are done and what may be committed: the arithmetic of at-least-once, without any Kafka in it.

Standard library only: no I/O, no clock, no logging, no locks (one thread owns a ledger). Used by
`agent.kafka` alone. After h11: one file owns all transitions, and an illegal one raises and changes nothing.
"""
