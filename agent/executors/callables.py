"""Finds the function that a route names, and says what is wrong if it cannot be used."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from agent.domain.errors import ConfigurationError, Problem

_PATH_HINT = "set AGENT_PYTHONPATH to the directory that holds it, or install it into the agent's environment"


def load_callable(name: str, path: str) -> Callable[[Any], object]:
    """The function ``module:function``; ``path`` is where the route names it. Raises `ConfigurationError`."""
    module_name, _, function_name = name.partition(":")
    module = _import(module_name, path)
    found: object = module
    for part in function_name.split("."):
        if not hasattr(found, part):
            close = get_close_matches(part, [known for known in vars(module) if not known.startswith("_")], n=1)
            hint = f"did you mean {close[0]!r}?" if close else ""
            raise _problem(path, f"{module_name} ({module.__file__}) has no {function_name!r}", hint)
        found = getattr(found, part)
    if not callable(found):
        raise _problem(path, f"{name} is a {type(found).__name__}, not a function")
    _check_parameters(found, name, path)
    return found


def is_asynchronous(function: Callable[[Any], object]) -> bool:
    """Whether calling ``function`` gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _import(module_name: str, path: str) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise _problem(path, f"there is no module {missing!r}", _PATH_HINT) from error
        raise _problem(path, f"{module_name} needs the module {missing!r}, which is missing", _PATH_HINT) from error
    except (Exception, SystemExit) as error:
        raise _problem(path, f"importing {module_name} failed: {type(error).__name__}: {error}") from error


def _check_parameters(function: Callable[..., object], name: str, path: str) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # a function in C may not tell
        return
    try:
        signature.bind("run")
    except TypeError:
        hint = "it is called with the run as its one argument"
        raise _problem(path, f"{name} takes {signature}, not one argument", hint) from None


def _problem(path: str, message: str, hint: str = "") -> ConfigurationError:
    return ConfigurationError(Problem("routes", message, path, hint))
