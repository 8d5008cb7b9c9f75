"""What `action-agent migrate` says: what of the old agent's settings and mapping file means what here."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agent.commands.mapping_file import MappingFile
from agent.commands.mapping_routes import Converted
from agent.commands.official_settings import assessed, is_official
from agent.commands.old_agent import OldAgent
from agent.domain.json import JsonObject
from agent.routing.document import parse
from agent.routing.expressions import environment_reads
from agent.routing.jq_tokens import tokenize
from agent.routing.mapping import mappings_in
from agent.routing.mapping_lint import expressions_of

Write = Callable[[str], None]

_WIDTH = 100


def say_settings(old: OldAgent, sources: Sequence[Path], write: Write, *, writes_mapping: bool) -> None:
    """Each setting, and what becomes of it; ``sources`` are the files that they come from."""
    if old.is_own_environment:
        read = _variables_read(old)
        shown = {name: v for name, v in old.variables.items() if is_official(name) or name in read}
    else:
        shown = old.variables
    read_from = ", ".join(map(str, sources))
    write(f"settings ({read_from or 'of the environment'}):")
    settings = list(assessed(shown, mapping_is_written=writes_mapping and old.mapping is not None))
    width = max((len(setting.name) for setting in settings), default=0)
    for setting in settings:
        write_wrapped(f"{setting.name:<{width}}  {setting}", 2, write)
    for problem in old.unread:
        write(f"  warning: {problem}")


def _variables_read(old: OldAgent) -> set[str]:
    """The variables that the mapping file names."""
    if old.mapping is None:
        return set()
    mappings = mappings_in(parse(old.mapping[1], old.mapping[0]))
    sources = (expression.source for place, raw in mappings for expression in expressions_of(raw, place))
    return {name for source in sources for name in environment_reads(list(tokenize(source))) if name is not None}


def say_mappings(mapping: MappingFile, converted: Sequence[Converted], old: OldAgent, write: Write) -> None:
    """Each mapping as the route that it became, and what is otherwise there."""
    raws = [raw for _, raw in mappings_in(mapping.document)]
    write("")
    write(f"mapping file ({mapping.document.where}): it can stay as it is; as routes it is")
    used = [raw for one, raw in zip(converted, raws, strict=True) if one.route is not None]
    if any(raw.get(name) is not None for raw in used for name in ("url", "method")):
        write_wrapped(
            "of all: a url or method that comes out null ends the run as FAILURE with the reason; it was left in "
            "progress",
            2,
            write,
        )
    for one, raw in zip(converted, raws, strict=True):
        if one.route is None:
            write(f"  {one.place} ({one.line}): left out, for it is {'; '.join(one.remarks)}")
            continue
        write(f"  {one.place} ({one.line}): route {one.route['name']}")
        for said in (*_deviations(raw), *one.remarks, *_missing(one.route, old)):
            write_wrapped(said, 6, write)
    if not used:
        write("  no mapping is left: as before, the agent takes no message")
    for warning in mapping.warnings:
        write(f"  warning: {warning}")
    for note in mapping.notes:
        write(f"  note: {note}")


def write_wrapped(said: str, indent: int, write: Write) -> None:
    """Writes it in lines that a terminal takes. Findings, which begin with a file and line, are never wrapped."""
    for line in textwrap.wrap(
        said,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    ):
        write(line)


def _deviations(raw: JsonObject) -> Iterator[str]:
    """What this agent does otherwise than the old one, of what the mapping uses; the same for file and route."""
    if raw.get("report"):
        yield "a report expression that gives null leaves what is reported without it; it cancelled that as well"
    if raw.get("fieldsToDecryptPaths"):
        yield "a value that cannot be decrypted ends the run as FAILURE; it was sent as it came"


def _missing(route: JsonObject, old: OldAgent) -> Iterator[str]:
    missing = [name for name in listed(route, "env") if name not in old.variables]
    if missing:
        yield f"not among the variables that are given: {', '.join(missing)}"
    if masked := [name for name in missing if name in listed(route, "secrets")]:
        yield (
            f"taken for secrets, and needed at start, therefore: {', '.join(masked)}; what is none, or never set, "
            "take out of `secrets`"
        )


def listed(route: JsonObject, key: str) -> list[str]:
    """The names that a route lists under ``key``."""
    names = route.get(key)
    return list(map(str, names)) if isinstance(names, list) else []
