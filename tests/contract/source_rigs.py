"""Every source under contract: one line each."""

from __future__ import annotations

from tests.contract.kafka_rig import KafkaRig
from tests.contract.polling_rig import PollingRig
from tests.contract.source_rig import SourceRig

RIGS: tuple[SourceRig, ...] = (
    KafkaRig(),
    PollingRig(),
)
