"""The schema that editors get."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agent.domain.errors import ConfigurationError
from agent.routing.document import parse
from agent.routing.file import RoutesReader
from agent.routing.schema import routes_schema
from tests.routing.helpers import SCHEMAS, FakeExecutors
from tests.routing.test_file import FULL


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return dict(routes_schema(FakeExecutors()))


def is_valid(schema: dict[str, Any], route: dict[str, Any]) -> bool:
    return Draft202012Validator(schema).is_valid({"routes": [{"name": "a", "match": {"action": "x"}, **route}]})


def test_it_is_a_schema_of_its_draft_and_json(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_it_accepts_what_the_agent_accepts(schema: dict[str, Any]) -> None:
    assert list(Draft202012Validator(schema).iter_errors(parse(FULL.encode(), "f.yaml").value)) == []


def test_exactly_one_executor(schema: dict[str, Any]) -> None:
    assert is_valid(schema, {"http": {}})
    assert is_valid(schema, {"process": {"command": ["a"], "timeout": "5m"}})
    assert not is_valid(schema, {})
    assert not is_valid(schema, {"http": {}, "process": {"command": ["a"]}})


def test_references_inside_of_an_executors_schema_keep_working(schema: dict[str, Any]) -> None:
    assert is_valid(schema, {"http": {"timeout": "5s"}})
    assert not is_valid(schema, {"http": {"timeout": []}})


def test_every_key_is_described(schema: dict[str, Any]) -> None:
    route = schema["properties"]["routes"]["items"]["properties"]
    own = {name: part for name, part in route.items() if name not in FakeExecutors.names}
    parts = {**own, **own["match"]["properties"], **own["entities"]["items"]["properties"]}
    parts |= own["report"]["properties"]
    assert [name for name, part in parts.items() if not part.get("description")] == []


def test_an_executor_with_a_broken_schema_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEMAS, "http", {"type": "objet"})
    with pytest.raises(ConfigurationError) as caught:
        RoutesReader(FakeExecutors(), {})
    assert str(caught.value).startswith("executor 'http': the schema of its options is not valid: 'objet' is not ")
