"""What becomes of a message for agents that nothing takes, by the settings."""

from __future__ import annotations

import pytest

from agent.composition import others_rule
from agent.domain.invocation import InvocationKind
from agent.domain.route import Unrouted
from agent.settings import Settings
from tests.routing.helpers import invocation

CREDENTIALS = {"PORT_ORG_ID": "o", "PORT_CLIENT_ID": "i", "PORT_CLIENT_SECRET": "s3cret"}
RUN, NODE = InvocationKind.ACTION_RUN, InvocationKind.NODE_RUN


@pytest.mark.parametrize(
    ("settings", "kind", "undecided", "is_left"),
    [
        ({}, RUN, False, False),
        ({"AGENT_ROUTES_PATH": "r.yaml"}, RUN, False, False),
        ({"CONTROL_THE_PAYLOAD_CONFIG_PATH": "m.json"}, RUN, False, True),
        ({"CONTROL_THE_PAYLOAD_CONFIG_PATH": "m.json"}, RUN, True, False),
        ({"CONTROL_THE_PAYLOAD_CONFIG_PATH": "m.json"}, NODE, False, False),
        ({"CONTROL_THE_PAYLOAD_CONFIG_PATH": "m.json", "AGENT_UNROUTED": "fail"}, RUN, False, False),
        ({"CONTROL_THE_PAYLOAD_CONFIG_PATH": "m.json", "AGENT_UNROUTED": "ignore"}, NODE, True, True),
        ({"AGENT_ROUTES_PATH": "r.yaml", "AGENT_UNROUTED": "ignore"}, RUN, False, True),
    ],
)
def test_a_mapping_file_is_a_filter_where_nothing_else_is_said(
    settings: dict[str, str],
    kind: InvocationKind,
    undecided: bool,  # noqa: FBT001 - a parameter of the test
    is_left: bool,  # noqa: FBT001 - the same
) -> None:
    rule = others_rule(Settings(**{**CREDENTIALS, **settings}))  # type: ignore[arg-type]  # texts, which it parses
    assert rule(invocation(kind=kind), Unrouted("no route matched", undecided=undecided)) is is_left
