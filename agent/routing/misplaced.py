"""Keys that stand at the wrong level of a route: where each of them belongs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.domain.json import JsonObject, as_object
from agent.ports import Executors

_PARTS_OF_A_ROUTE = ("match", "report")


class ProperPlaces:
    """Knows the keys of a route, of its parts and of every executor's options, by their schemas."""

    def __init__(self, route_schema: JsonObject, executors: Executors) -> None:
        self._route = as_object(route_schema["properties"])
        parts = {name: as_object(self._route[name]) for name in _PARTS_OF_A_ROUTE}
        self._parts = {**parts, **{name: executors.options_schema(name) for name in executors.names}}

    def hint(self, path: Sequence[str | int], name: str) -> str:
        """Where ``name`` belongs, which is unknown at ``path`` inside of a route; nothing if nobody knows it."""
        match path:
            case []:
                homes = [f"`{part}:`" for part, schema in self._parts.items() if name in _properties(schema)]
                return f"`{name}` belongs under {' or '.join(homes)}" if homes else ""
            case [str(part)] if part in self._parts and name in self._route:
                return f"`{name}` belongs to the route itself, beside `{part}:`"
            case _:
                return ""


def _properties(schema: JsonObject) -> Mapping[str, object]:
    return as_object(schema.get("properties"))
