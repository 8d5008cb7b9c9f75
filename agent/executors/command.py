"""What a route says about its command, and the argv and environment that it becomes for one run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.domain.errors import ConfigurationError, Problem, TemplateError
from agent.domain.invocation import View
from agent.domain.json import Json, JsonObject, as_object, as_text
from agent.domain.route import Template
from agent.executors.process_tree import TRACKING_VARIABLE
from agent.ports import ExecutorServices, TemplateCompiler

OUTPUT_VARIABLE = "AGENT_OUTPUT"
OWN_VARIABLES = (
    "RUN_ID",
    "RUN_ATTEMPT",
    "ACTION",
    "BLUEPRINT",
    "PORT_API_BASE_URL",
    OUTPUT_VARIABLE,
    TRACKING_VARIABLE,
)
"""What the agent itself says to every command; a route cannot say otherwise."""

_CREDENTIALS = ("PORT_CLIENT_ID", "PORT_CLIENT_SECRET")
_DEFAULTS = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_SHOWN_CHARS = 120
_HIDDEN = "(from the agent's environment)"


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A route's command, for one run: as the system takes it."""

    argv: tuple[bytes, ...]
    environment: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Argument:
    """The program or one of its arguments; ``source`` is how the route writes it, ``path`` where."""

    source: Json
    path: str
    template: Template

    def render(self, view: View) -> str:
        """Its text. Raises `TemplateError`, also for null, which a program would take for a word of its own."""
        value = self.template.render(view)
        if value is None:
            hint = 'where it may be missing, end the expression with // "…"'
            raise TemplateError(f"{self.path}: {_shown(self.source)} gave null, which is no argument; {hint}")
        return as_text(value)


class CommandTemplate:
    """A route's command, environment and passed variables, compiled."""

    def __init__(
        self,
        argv: Sequence[Argument],
        environment: Template,
        passed: Mapping[str, str],
        port_api_base_url: str,
        search_path: str | None = None,
    ) -> None:
        self._argv = argv
        self._environment = environment
        self._passed = passed
        self._port_api_base_url = port_api_base_url
        self.search_path = search_path
        """The ``PATH`` that the command gets; ``None`` where it depends on the message."""

    @property
    def program(self) -> Json:
        """The program as the route writes it, a template."""
        return self._argv[0].source

    def render(self, view: View) -> CommandLine:
        """The command for the run that ``view`` is of; a variable that renders to null is left out.

        Raises `TemplateError`, also for what no command line can carry.
        """
        argv = self._render_argv(view)
        own = {
            "RUN_ID": _text_at(view, "run", "id"),
            "RUN_ATTEMPT": _text_at(view, "run", "attempt"),
            "ACTION": _text_at(view, "action", "identifier"),
            "BLUEPRINT": _text_at(view, "action", "blueprint"),
            "PORT_API_BASE_URL": self._port_api_base_url,
        }
        environment = {**_DEFAULTS, **self._passed, **self._render_environment(view), **own}
        return CommandLine(
            tuple(_encoded(argument, "argument", index) for index, argument in enumerate(argv)),
            {name.encode(): _encoded(value, "variable", name) for name, value in environment.items()},
        )

    def preview(self, view: View) -> JsonObject:
        """The command and what the route adds to the environment. Raises `TemplateError`."""
        hidden = dict.fromkeys(self._passed, _HIDDEN)
        return {"command": list(self._render_argv(view)), "env": {**hidden, **self._render_environment(view)}}

    def _render_argv(self, view: View) -> tuple[str, ...]:
        return tuple(argument.render(view) for argument in self._argv)

    def _render_environment(self, view: View) -> dict[str, str]:
        rendered = as_object(self._environment.render(view))
        return {name: as_text(value) for name, value in rendered.items() if value is not None}


def compile_command(
    options: JsonObject, path: str, templates: TemplateCompiler, services: ExecutorServices
) -> CommandTemplate:
    """Reads ``command``, ``env`` and ``pass_env``. Raises `ConfigurationError` with every problem found."""
    command, variables, names = options.get("command"), as_object(options.get("env")), options.get("pass_env")
    passed = [str(name) for name in names] if isinstance(names, list) else []
    problems = [*_command_problems(command, path), *_variable_problems(variables, passed, path, services)]
    argv: list[Argument] = []
    for place, source in _arguments(command, path):
        try:
            argv.append(Argument(source, place, templates.template(source, place, is_name=True)))
        except ConfigurationError as error:
            problems.extend(error.problems)
    try:
        environment = templates.template(variables, f"{path}.env")
    except ConfigurationError as error:
        raise ConfigurationError(*problems, *error.problems) from None
    if problems:
        raise ConfigurationError(*problems)
    taken = {name: services.environment[name] for name in passed if name in services.environment}
    path_variable = {**_DEFAULTS, **taken, **variables}["PATH"]
    search_path = path_variable if isinstance(path_variable, str) and "{{" not in path_variable else None
    return CommandTemplate(argv, environment, taken, services.settings.port_api_base_url, search_path)


def absolute_program(argv: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """``argv`` with a relative path to its program made absolute; a bare name stays, for ``PATH``."""
    program = argv[0]
    if b"/" not in program or program.startswith(b"/"):
        return argv
    return (os.fsencode(Path(os.fsdecode(program)).absolute()), *argv[1:])


def _command_problems(command: Json, path: str) -> Iterator[Problem]:
    if isinstance(command, str):
        hint = 'write ["program", "argument"]; for shell syntax ["sh", "-c", "…", "sh", "{{ .inputs.x }}"] and $1'
        yield Problem("routes", "a command is a list of arguments, not one text", f"{path}.command", hint)
    elif not isinstance(command, list | tuple) or not command:
        yield Problem("routes", "expected a list with the program and its arguments", f"{path}.command")
    for place, source in _arguments(command, path):
        if source is None:
            yield Problem("routes", "an argument cannot be null", place, 'write "", or leave it out')


def _arguments(command: Json, path: str) -> Iterator[tuple[str, Json]]:
    """The place of each argument, and how it is written."""
    for index, source in enumerate(command if isinstance(command, list | tuple) else ()):
        yield f"{path}.command[{index}]", source


def _variable_problems(
    variables: JsonObject, passed: list[str], path: str, services: ExecutorServices
) -> Iterator[Problem]:
    for key, names in (("env", variables), ("pass_env", passed)):
        for name in names:
            if name in OWN_VARIABLES:
                yield Problem(
                    "routes", f"{name} is set by the agent itself", f"{path}.{key}", "choose another name"
                )
    for name in passed:
        secret = services.settings.client_secret()
        if name.removesuffix("_FILE") in _CREDENTIALS or (secret and services.environment.get(name) == secret):
            hint = "give the command credentials of its own"
            yield Problem("routes", f"{name} is the agent's own credential", f"{path}.pass_env", hint)


def _shown(source: Json) -> str:
    text = " ".join(as_text(source).split())
    return f"`{text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + '…'}`"


def _text_at(view: View, part: str, name: str) -> str:
    value = as_object(view.value.get(part)).get(name)
    return "" if value is None else as_text(value)


def _encoded(text: str, kind: str, which: str | int) -> bytes:
    """Raises `TemplateError` for what the system cannot take."""
    if "\0" in text:
        raise TemplateError(f"{_named(kind, which)} contains a NUL character, which no command line can carry")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise TemplateError(
            f"{_named(kind, which)} contains half a character (a lone surrogate), which UTF-8 cannot carry"
        ) from None


def _named(kind: str, which: str | int) -> str:
    return f"argument {which} of the command" if kind == "argument" else f"the variable {which}"
