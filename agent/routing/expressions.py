"""jq expressions: compiled once, bounded in time, blind to the environment but for the names a route lists."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol, TypeAlias

import jq  # type: ignore[import-not-found]  # ships no types; `_Program` states what is used of it

from agent.domain.errors import ConfigurationError, Problem, TemplateError, UnevaluatedError
from agent.domain.invocation import View
from agent.domain.json import Json, compact
from agent.domain.route import Template
from agent.ports import Encode
from agent.routing.environment_secrets import TakenFromEnvironment, is_secret, secret_forms
from agent.routing.jq_cost import is_affordable, is_object_key, weight
from agent.routing.jq_errors import compile_error, compile_error_alone, shown, without_values
from agent.routing.jq_hints import compile_hint, compile_hint_alone, dotted, subtraction_hint, unseen_hint
from agent.routing.jq_names import top_names
from agent.routing.jq_paths import PathError, PlainPath, parse_path, walk
from agent.routing.jq_tokens import Token, tokenize
from agent.routing.jq_worker import JqFailure, JqWorker, WorkerError
from agent.routing.templates import compile_template, sole_expression

_PRELUDE = "$__env as $ENV | def env: $ENV;\n"
"""Put before every program: hides the process's environment behind the variables that the route lists."""
_LENIENT_PRELUDE = (
    "$__env as $ENV | def env: $ENV; def debug: .; def debug(f): .; def stderr: .; def inputs: empty; "
    'def input: error("there is no further input"); def input_filename: null; def input_line_number: 0; '
    "def leaf_paths: paths(scalars); def recurse_down: recurse;\n"
)
"""The same for programs that were written for the jq program: what reads or writes elsewhere does nothing.

What jq 1.5 had and later ones have not, they have.
"""
_PRELUDE_LINES = 1

_REFUSED = {
    **dict.fromkeys(("input", "inputs", "input_line_number"), "an expression sees one message only"),
    **dict.fromkeys(("import", "include", "modulemeta", "get_search_list"), "there are no modules"),
    **dict.fromkeys(("halt", "halt_error"), "an expression cannot stop the agent; use `error` or `empty`"),
    **dict.fromkeys(("debug", "stderr", "input_filename"), "an expression cannot read or write files"),
}
LENIENT = frozenset({"input", "inputs", "input_line_number", "debug", "stderr", "input_filename"})
"""Of these, what `_LENIENT_PRELUDE` defines."""
_FORMATS = ("@text", "@json", "@html", "@uri", "@urid", "@csv", "@tsv", "@sh", "@base64", "@base64d")
_ESCAPED_SURROGATE = re.compile(r"\\(?:\\|u[dD][89abAB][0-9a-fA-F]{2}|u[dD][c-fC-F][0-9a-fA-F]{2})")


_Environment: TypeAlias = tuple[tuple[str, str], ...]


class _Results(Protocol):
    def __iter__(self) -> Iterator[Json]: ...


class _Program(Protocol):
    """What is used of a compiled jq program."""

    def input_text(self, text: str) -> _Results: ...


@dataclass(frozen=True, slots=True)
class _Gentle:
    """A program that may run in this process, on texts that are short enough for its weight.

    ``environment_chars`` is the size of what it sees beside the message.
    """

    program: _Program
    weight: int
    environment_chars: int

    def may_run_on(self, text: str) -> bool:
        return is_affordable(self.weight, self.environment_chars + len(text))


class Expressions:
    """Compiles and evaluates the expressions of all routes; owns the worker process. Belongs to one thread.

    ``environment`` is the agent's own: a route sees what it lists. Rendering blocks the calling thread: all of a
    message's expressions together for ``limit_s`` at most, after which they fail, and where the worker had died,
    for the start of a new one (some 20 ms; after 2 s it is given up). Where a stop was not their doing, all that
    may come twice.
    """

    def __init__(self, environment: Mapping[str, str], limit_s: float = 1.0) -> None:
        self._environment = environment
        self._worker = JqWorker(Path(jq.__file__).parent, limit_s)
        self._compile = functools.lru_cache(maxsize=4096)(self._compile_anew)

    def for_route(self, names: Sequence[str] = (), seen: Sequence[str] | None = None) -> RouteTemplates:
        """The `agent.ports.TemplateCompiler` of a route that lists ``names`` under ``env:``.

        ``seen``: the top-level names of the views that its expressions will be rendered with, to refuse others;
        ``None`` where these are not known.
        """
        visible = {name: self._environment[name] for name in names if name in self._environment}
        return RouteTemplates(tuple(names), visible, self._worker, self._compile, seen)

    def for_mapping(self, source: str, path: str) -> Template:
        """An expression of a mapping file: the first result, null if there is none.

        It may read the whole environment, as in Port's own agent; an expression that reads none of it, or only
        variables that it names, is given no more. What jq's program has beside a pure language (``debug``,
        ``input``) does nothing. Raises `ConfigurationError` for what jq cannot compile.
        """
        tokens = list(tokenize(source))
        names = set(environment_reads(tokens))
        visible = {n: v for n, v in self._environment.items() if None in names or n in names}
        template = RouteTemplates(None, visible, self._worker, self._compile, is_lenient=True).bare(source, path)
        if None not in names:
            return template
        are_encoded = any(token.kind == "format" or token.text == "tojson" for token in tokens)
        return TakenFromEnvironment(template, secret_forms(visible, are_encoded=are_encoded))

    def secrets_named(self, source: str) -> Iterator[str]:
        """The variables that an expression of a mapping file names and whose values are to be masked."""
        for name in environment_reads(list(tokenize(source))):
            if name is not None and is_secret(name, self._environment.get(name, "")):
                yield name

    def _compile_anew(self, prelude: str, source: str, environment: _Environment) -> _Gentle | None:
        """``None``: only the worker may have to do with it, for even compiling it may take long and much memory."""
        arguments: dict[str, Json] = {"__env": dict(environment)}
        its_weight = weight(list(tokenize(source)), source)
        if its_weight is None:
            self._worker.compile(prelude + source, arguments)
            return None
        environment_chars = len(compact(arguments["__env"]))
        return _Gentle(jq.compile(prelude + source, args=arguments), its_weight, environment_chars)

    def close(self) -> None:
        """Ends the worker process. Idempotent; expressions that need it fail from now on."""
        self._worker.close()


@dataclass(frozen=True, slots=True)
class RouteTemplates:
    """Implements `agent.ports.TemplateCompiler` for one route; ``names`` ``None``: it may read any variable.

    ``is_lenient``: what jq's program has beside a pure language does nothing, where others are refused for it; and
    of what does not compile no word is told, for in a mapping file it may be a secret that lacks its quotes.
    """

    names: tuple[str, ...] | None
    environment: Mapping[str, str] = field(repr=False)
    worker: JqWorker
    compile_program: Callable[[str, str, _Environment], _Gentle | None]
    seen: Sequence[str] | None = None
    is_lenient: bool = False

    def template(self, value: Json, path: str, *, encode: Encode | None = None, is_name: bool = False) -> Template:
        """``value`` with ``{{ jq }}`` inside; see `agent.routing.templates`. Raises `ConfigurationError`."""
        return compile_template(value, path, self.bare, encode, is_name=is_name)

    def beginning(self, text: str) -> tuple[str, bool]:
        """What stands before the first ``{{``, and whether there is none."""
        beginning, braces, _ = text.partition("{{")
        return beginning, not braces

    def expression(self, source: str, path: str) -> Template:
        """One jq expression, bare or as a sole ``{{ … }}``; its first result, null if it has none.

        Raises `ConfigurationError`.
        """
        sole = sole_expression(source)
        return self.bare(source if sole is None else sole, path)

    def bare(self, source: str, path: str) -> Template:
        """One jq expression as it stands; its first result, null if it has none. Raises `ConfigurationError`."""
        if not (tokens := list(tokenize(source))):
            raise ConfigurationError(
                Problem(path, "an expression is empty", hint="write a jq path such as .inputs")
            )
        template = self._compiled(source, path, tokens)
        if unseen := list(self._unseen(source, path, tokens)):
            raise ConfigurationError(*unseen)
        return template

    def _compiled(self, source: str, path: str, tokens: Sequence[Token]) -> Template:
        if (steps := parse_path(source)) is not None:
            return PathExpression(source, path, steps)
        prelude, allowed = (_LENIENT_PRELUDE, LENIENT) if self.is_lenient else (_PRELUDE, frozenset[str]())
        if problems := [*_refusals(tokens, path, allowed, tells=not self.is_lenient), *self._hidden(tokens, path)]:
            raise ConfigurationError(*problems)
        try:
            gentle = self.compile_program(prelude, source, tuple(self.environment.items()))
            return JqExpression(source, path, self.environment, gentle, self.worker, prelude)
        except (ValueError, JqFailure) as error:
            problem = self._uncompiled(str(error), source, path)
        except WorkerError as error:
            told = f"compiling it {error}"
            problem = Problem(path, told if self.is_lenient else f"`{shown(source)}`: {told}")
        raise ConfigurationError(problem)

    def _uncompiled(self, said: str, source: str, path: str) -> Problem:
        """Why jq does not compile the source; ``said`` is what jq says."""
        first_line = 1 + _PRELUDE_LINES
        message = compile_error(said, first_line)
        if not self.is_lenient:
            return Problem(
                path, f"`{shown(source)}`: {message}", hint=compile_hint(message, source, _known_functions())
            )
        hint = compile_hint_alone(message, source)
        return Problem(path, f"is no jq: {compile_error_alone(said, first_line)}", hint=hint)

    def _unseen(self, source: str, path: str, tokens: Sequence[Token]) -> Iterator[Problem]:
        """Top-level names that the expression reads and no view will ever have."""
        seen = self.seen
        if seen is None:
            return
        for name in dict.fromkeys(top_names(tokens)):
            if name not in seen:
                message = f"`{shown(source)}`: nothing here is called `.{name}`"
                yield Problem(path, message, hint=unseen_hint(name, seen, tokens))

    def _hidden(self, tokens: Sequence[Token], path: str) -> Iterator[Problem]:
        """Variables of the environment that the expression names and the route does not list."""
        if self.names is None:
            return
        for name in environment_reads(tokens):
            if name is not None and name not in self.names:
                close = get_close_matches(name, self.names, n=1)
                hint = f"did you mean env.{close[0]}?" if close else f"list {name} under the route's `env:`"
                yield Problem(path, f"`env.{name}` is not visible to this route", hint=hint)


@dataclass(frozen=True, slots=True)
class PathExpression:
    """A plain path, walked without jq."""

    source: str
    path: str
    steps: PlainPath

    def render(self, view: View) -> Json:
        """What stands there, null if nothing does. Raises `TemplateError`."""
        try:
            return walk(view.value, self.steps)
        except PathError as error:
            raise _failed(self.source, self.path, str(error)) from None
        except RecursionError:
            raise _failed(self.source, self.path, "gave a value that is nested too deeply") from None


@dataclass(frozen=True, slots=True)
class JqExpression:
    """An expression that jq evaluates: in this process where it surely ends soon, else in the worker."""

    source: str
    path: str
    environment: Mapping[str, str] = field(repr=False)
    gentle: _Gentle | None = field(repr=False)
    worker: JqWorker = field(repr=False)
    prelude: str = field(default=_PRELUDE, repr=False)

    def render(self, view: View) -> Json:
        """The first result, null if there is none. Blocks up to the message's limit.

        Raises `TemplateError`, and `UnevaluatedError` where time or memory ran out.
        """
        try:
            with self.worker.patience.counted_here(view.effort):
                text = self._text(view)
            if self.gentle is not None and self.gentle.may_run_on(text):
                with self.worker.patience.counted_here(view.effort):
                    return next(iter(self.gentle.program.input_text(text)), None)
            return self.worker.evaluate(self.prelude + self.source, {"__env": self.environment}, text, view.effort)
        except (ValueError, JqFailure) as error:
            told = without_values(str(error), self.source)
            raise _failed(self.source, self.path, told + subtraction_hint(told, self.source)) from None
        except WorkerError as error:
            raise UnevaluatedError(_told(self.source, self.path, str(error))) from None
        except (RecursionError, MemoryError):
            raise _failed(self.source, self.path, "gave a value that is too deep or too large") from None

    def _text(self, view: View) -> str:
        try:
            return _jq_text(view)
        except (TypeError, ValueError, RecursionError) as error:
            raise _failed(self.source, self.path, _unreadable(error)) from None


def sources_of(part: object) -> Iterator[str]:
    """The jq of every expression in a template, in their order; none of one that did not compile."""
    match part:
        case PathExpression() | JqExpression():
            yield part.source
        case tuple():
            for one in part:
                yield from sources_of(one)
        case _ if is_dataclass(part):
            for one in fields(part):
                yield from sources_of(getattr(part, one.name))
        case _:
            pass


def _known_functions() -> list[str]:
    names: list[str] = jq.compile("builtins").input_value(None).first()
    return sorted(names)


def environment_reads(tokens: Sequence[Token]) -> Iterator[str | None]:
    """For each place that reads the environment the variable's name, ``None`` where that is not plain."""
    for index, token in enumerate(tokens):
        is_call = token.text == "env" and token.kind == "name" and not is_object_key(tokens, index)
        if is_call or token.text == "$ENV":
            yield _member_read(tokens, index + 1)


def has_default(tokens: Sequence[Token]) -> bool:
    """Whether the expression says what it gives where something is missing (``//``)."""
    return any(token.text == "//" and token.kind == "op" for token in tokens)


def _refusals(tokens: Sequence[Token], path: str, allowed: Collection[str], *, tells: bool) -> Iterator[Problem]:
    """``tells``: whether the expression's own words may be repeated."""
    for index, token in enumerate(tokens):
        if token.kind == "format" and token.text not in _FORMATS:
            named = f"`{token.text}` is not a format" if tells else "there is a format in it that jq has not"
            yield Problem(path, named, hint=f"jq has {' '.join(_FORMATS)}")
        if (
            token.kind == "name"
            and token.text in _REFUSED
            and token.text not in allowed
            and not is_object_key(tokens, index)
        ):
            message = f"`{token.text}` is not available: {_REFUSED[token.text]}"
            yield Problem(path, message, hint=dotted(tokens, index) if tells else "")


def _member_read(tokens: Sequence[Token], index: int) -> str | None:
    """The name that ``.NAME`` or ``["NAME"]`` at ``index`` reads, if it stands there literally."""
    following = [*tokens[index : index + 3]]
    if following and following[0].kind == "field":
        return following[0].text[1:]
    is_literal = [token.kind for token in following] == ["op", "string", "op"]
    if is_literal and (following[0].text, following[2].text) == ("[", "]"):
        return following[1].text[1:-1]
    return None


def _jq_text(view: View) -> str:
    """The document as text that jq's parser takes: it refuses lone surrogates, which become U+FFFD."""
    text = view.text
    if "\\ud" not in text:
        return text
    return _ESCAPED_SURROGATE.sub(lambda found: found[0] if found[0] == "\\\\" else "\ufffd", text)


def _unreadable(error: Exception) -> str:
    why = "it is nested too deeply" if isinstance(error, RecursionError) else type(error).__name__
    return f"the message cannot be given to jq as JSON: {why}"


def _failed(source: str, path: str, what: str) -> TemplateError:
    return TemplateError(_told(source, path, what))


def _told(source: str, path: str, what: str) -> str:
    return f"{path}: `{shown(source)}`: {what}"
