"""Which executors there are: whatever is installed under the entry-point group ``agent.executors``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points

from agent.domain.errors import ConfigurationError, Problem
from agent.domain.json import JsonObject
from agent.ports import Executor, ExecutorFactory, ExecutorServices, TemplateCompiler

GROUP = "agent.executors"
_METHODS = ("options_schema", "prepare", "close")


class ExecutorRegistry:
    """Implements `agent.ports.Executors`. Built-in executors and strangers' have no different standing."""

    def __init__(self, factories: Mapping[str, ExecutorFactory]) -> None:
        self._factories = dict(sorted(factories.items()))

    @classmethod
    def load(cls, services: ExecutorServices, found: Iterable[EntryPoint] | None = None) -> ExecutorRegistry:
        """Makes a factory of everything installed, or of the ``found`` entry points.

        One that is broken is not passed over, as its routes would fail one by one later: raises
        `ConfigurationError` that names every such distribution, and every name that two of them claim.
        """
        factories: dict[str, ExecutorFactory] = {}
        owners: dict[str, EntryPoint] = {}
        problems: list[Problem] = []
        for point in entry_points(group=GROUP) if found is None else found:
            if point.name in owners:
                message = f"two executors have this name: {_origin(owners[point.name])} and {_origin(point)}"
                problems.append(_problem(point, message, "uninstall one of them"))
                continue
            owners[point.name] = point
            made = _made(point, services)
            if isinstance(made, tuple):
                problems.extend(made)
            else:
                factories[point.name] = made
        if problems:
            raise ConfigurationError(*problems)
        return cls(factories)

    @property
    def names(self) -> tuple[str, ...]:
        """The registered names, sorted."""
        return tuple(self._factories)

    def options_schema(self, name: str) -> JsonObject:
        """The schema of one executor's options. ``KeyError`` for an unknown name."""
        return self._factories[name].options_schema()

    def prepare(self, name: str, options: JsonObject, path: str, templates: TemplateCompiler) -> Executor:
        """An executor for one route; see `ExecutorFactory.prepare`. ``KeyError`` for an unknown name."""
        return self._factories[name].prepare(options, path, templates)

    async def close(self) -> None:
        """Closes every factory, also when one fails. Idempotent. Raises `ExceptionGroup` of what failed."""
        results = await asyncio.gather(*(f.close() for f in self._factories.values()), return_exceptions=True)
        failures = [result for result in results if isinstance(result, Exception)]
        if failures:
            raise ExceptionGroup("executors could not be closed", failures)


def _made(point: EntryPoint, services: ExecutorServices) -> ExecutorFactory | tuple[Problem, ...]:
    hint = f"install a version of {_distribution(point)} that fits, or uninstall it"
    try:
        factory: ExecutorFactory = point.load()(services)
    except ConfigurationError as error:
        return error.problems
    except Exception as error:  # noqa: BLE001  # a stranger's code may raise anything
        return (_problem(point, f"{_origin(point)} cannot be loaded: {type(error).__name__}: {error}", hint),)
    missing = [name for name in _METHODS if not callable(getattr(factory, name, None))]
    if missing:
        return (_problem(point, f"{_origin(point)} is no executor factory: it has no {', '.join(missing)}", hint),)
    return factory


def _problem(point: EntryPoint, message: str, hint: str) -> Problem:
    return Problem(f"executor {point.name!r}", message, hint=hint)


def _origin(point: EntryPoint) -> str:
    return f"{point.value} of {_distribution(point)}"


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown distribution"
