"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.routing.expressions import Expressions, RouteTemplates

ENVIRONMENT = {"REGION": "eu-west-1", "OTHER": "hidden", "EMPTY": ""}


@pytest.fixture(scope="module")
def expressions() -> Iterator[Expressions]:
    """An engine with time enough for a busy machine."""
    engine = Expressions(ENVIRONMENT, limit_s=20)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def templates(expressions: Expressions) -> RouteTemplates:
    """A route's compiler; the route lists REGION and a variable that is not set."""
    return expressions.for_route(["REGION", "UNSET"])
