"""Values in many combinations: every one must give manifests that a cluster takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.chart.rendering import Values

OFFICIAL: Values = yaml.safe_load(Path(__file__).with_name("port_agent_values.yaml").read_text("utf-8"))
"""As somebody has them who runs Port's own agent with its chart."""

PORT_AGENT = "port-agent"
"""The combination that is those and no others."""

COMBINATIONS: dict[str, Values] = {
    **yaml.safe_load(Path(__file__).with_name("combinations.yaml").read_text("utf-8")),
    PORT_AGENT: OFFICIAL,
}

ROUTES: list[dict[str, Any]] = COMBINATIONS["everything from values"]["routes"]["list"]
