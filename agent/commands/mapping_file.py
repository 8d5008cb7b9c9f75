"""A mapping file of Port's own agent, read as the agent reads it and looked over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.clock import SystemClock
from agent.commands.mapping_trial import MappingTrial
from agent.composition import Silent, open_registry
from agent.domain.errors import ConfigurationError, Problem
from agent.executors.registry import ExecutorRegistry
from agent.intake.reader import MessageIntake
from agent.intake.signature import SignatureMode
from agent.routing.document import Document, parse, read_file
from agent.routing.expressions import Expressions
from agent.routing.mapping import MappingReader
from agent.routing.mapping_lint import UNQUOTED, dialect_notes, lint, takes_everything
from agent.routing.route_set import RouteSet
from agent.settings import Settings


@dataclass(frozen=True, slots=True)
class MappingFile:
    """A mapping file with the routes that it becomes; to be closed.

    ``warnings``: what has no effect, or not the one that is meant; ``notes``: what jq 1.5 did otherwise.
    """

    document: Document
    routes: RouteSet
    warnings: Sequence[Problem]
    notes: Sequence[str]
    expressions: Expressions
    _settings: Settings
    _environment: Mapping[str, str]
    _registry: ExecutorRegistry

    @classmethod
    def open(cls, path: Path, settings: Settings, environment: Mapping[str, str]) -> MappingFile:
        """Reads the file at ``path``. Raises `ConfigurationError` where it is no mapping file."""
        return cls.parse(read_file(path), str(path), settings, environment)

    @classmethod
    def parse(cls, content: bytes, where: str, settings: Settings, environment: Mapping[str, str]) -> MappingFile:
        """The same for a file that has been read; ``where`` is its name."""
        registry = open_registry(settings, environment, Silent(), SystemClock())
        expressions = Expressions(environment, settings.AGENT_JQ_TIMEOUT_S)
        try:
            reader = MappingReader(registry, expressions, settings.AGENT_RUN_TIMEOUT_S)
            routes = reader.parse(content, where)
            document = parse(content, where)
        except ConfigurationError:
            expressions.close()
            raise
        warnings = [*_told_once(lint(document), routes.warnings), *_left_over(document, settings)]
        notes = dialect_notes(document)
        return cls(document, routes, warnings, notes, expressions, settings, environment, registry)

    def tried(self, body: bytes, name: str) -> Iterator[str]:
        """What becomes of a recorded message, signed or not; see `MappingTrial`. Raises `ConfigurationError`."""
        secret = self._settings.PORT_CLIENT_SECRET.get_secret_value()
        intake = MessageIntake(
            lambda: [secret],
            SystemClock(),
            mode=SignatureMode.OFF,
            max_bytes=self._settings.AGENT_MAX_MESSAGE_BYTES,
        )
        yield from MappingTrial(self.document, self.routes, self.expressions, intake, self._environment).lines(
            body, name
        )

    async def close(self) -> None:
        """Frees connection pools and jq's worker."""
        try:
            await self._registry.close()
        finally:
            self.expressions.close()


def _told_once(findings: Sequence[Problem], of_the_reader: Sequence[Problem]) -> list[Problem]:
    """Without what jq says of a text that is no jq at all: the finding says what to write."""
    unquoted = {problem.path for problem in findings if problem.message.startswith(UNQUOTED)}
    return [*findings, *(problem for problem in of_the_reader if problem.path not in unquoted)]


def _left_over(document: Document, settings: Settings) -> Iterator[Problem]:
    """What becomes of messages that no mapping takes, unless one takes all or the operator has said it."""
    is_said = "AGENT_UNROUTED" in settings.model_fields_set and settings.AGENT_UNROUTED
    if takes_everything(document) or is_said:
        return
    yield document.problem(
        "",
        "action runs that no mapping takes are left to others, as before (AGENT_UNROUTED=fail ends them as "
        "FAILURE); workflow nodes end as FAILED",
    )
