"""The routes file of the sandbox's agent: which actions it names, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.domain.errors import ConfigurationError
from agent.domain.json import Json, JsonObject, as_object
from agent.routing.document import parse, read_file
from agent.sandbox.actions import SandboxAction, Shape

_GLOB = re.compile(r"[*?\[]")
_INPUT = re.compile(r'\.inputs(?:\.([A-Za-z_]\w*)|\["([^"\\]+)"\])')
_ENTITY = re.compile(r"(?<!\w)\.entity\b")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An action that a route names, and what the page fills its form with: a start, to be changed."""

    action: str
    blueprint: str
    inputs: JsonObject
    entity: str
    shape: Shape

    def to_json(self) -> dict[str, Any]:
        """Everything, under the attributes' names."""
        return asdict(self)


class RoutesFile:
    """The file at ``path`` as the agent sees it; belongs to one event loop's thread.

    ``is_copy``: it is the sandbox's own, and goes with it. ``examples`` are the actions whose inputs are known.
    """

    def __init__(self, path: Path, *, is_copy: bool, examples: Iterable[SandboxAction] = ()) -> None:
        self.path = path
        self.is_copy = is_copy
        self._inputs = {one.identifier: one.defaults for one in examples}
        self.problems: tuple[str, ...] = ()
        """What is wrong with the latest version; empty if it is in force."""
        self.suggestions: tuple[Suggestion, ...] = ()
        """The actions that the version in force names in so many words, in its order."""
        self.taken()

    def taken(self) -> None:
        """The agent has taken the file as it is now. One that is being changed again leaves the suggestions."""
        self.problems = ()
        try:
            root = as_object(parse(read_file(self.path), str(self.path)).value)
        except ConfigurationError:
            return
        routes = root.get("routes")
        found: dict[str, Suggestion] = {}
        for route in routes if isinstance(routes, list) else []:
            for one in self._of_route(as_object(route)):
                found.setdefault(one.action, one)
        self.suggestions = tuple(found.values())

    def refused(self, problems: Iterable[str]) -> None:
        """The agent has refused the file as it is now, for these reasons, and goes on with the version before."""
        self.problems = tuple(problems)

    def _of_route(self, route: JsonObject) -> Iterator[Suggestion]:
        match = as_object(route.get("match"))
        texts = list(_texts(route))
        inputs = {first or second: None for text in texts for first, second in _INPUT.findall(text)}
        kinds = _list(match.get("type"))
        for action in _constants(match.get("action")):
            yield Suggestion(
                action,
                next(iter(_constants(match.get("blueprint"))), "service"),
                self._inputs.get(action, {name: f"some-{name}" for name in inputs}),
                "some-entity" if any(map(_ENTITY.search, texts)) else "",
                Shape.WEBHOOK if "WEBHOOK" in kinds and "KAFKA" not in kinds else Shape.KAFKA_V1,
            )


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


def _constants(value: Json) -> list[str]:
    """The names among what a match may say: those that are no globs."""
    return [one for one in _list(value) if isinstance(one, str) and not _GLOB.search(one)]


def _texts(value: Json) -> Iterator[str]:
    """Every text inside of ``value``."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
