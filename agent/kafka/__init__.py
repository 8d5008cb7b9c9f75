"""The Kafka source: one thread owns the consumer, and hands records to the event loop.

The only room that knows confluent_kafka, and, with `agent.delivery`, the only one that knows of topics,
partitions and offsets.
"""
