"""Variables of the environment that a route's expressions name and that are not set here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from agent.domain.json import texts_in
from agent.domain.route import Route
from agent.routing.expressions import environment_reads, has_default, sources_of
from agent.routing.jq_tokens import tokenize
from agent.routing.mapping import Addressed

_IN_BRACES = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


def unset_variables(route: Route, environment: Mapping[str, str]) -> list[str]:
    """Their names, each once; of an expression with a default (``//``) none, for it reckons with that."""
    unset: dict[str, None] = {}
    for source in _expressions(route):
        tokens = list(tokenize(source))
        if has_default(tokens):
            continue
        names = (name for name in environment_reads(tokens) if name is not None)
        unset.update(dict.fromkeys(name for name in names if name not in environment))
    return list(unset)


def _expressions(route: Route) -> Iterator[str]:
    is_mapping = isinstance(route.match.when, Addressed)
    for text in texts_in(route.options):
        yield from [text] if is_mapping else _IN_BRACES.findall(text)
    yield from sources_of((route.match.when, route.key, route.entities, route.report))
