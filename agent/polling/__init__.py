"""The polling source: claims pending runs from Port's API, for networks that Kafka does not reach.

It sees the API only through `agent.polling.api`; what was acknowledged, and is thus nobody else's any more, is kept
in a file until it is settled.
"""
