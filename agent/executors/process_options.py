"""What a route may say under ``process:``, and what of it needs no rendering."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.domain.duration import duration_schema, parse_duration_s
from agent.domain.errors import ConfigurationError, Problem
from agent.domain.json import JsonObject
from agent.executors.child import SignalScope

_VARIABLE_NAME = "^[A-Za-z_][A-Za-z0-9_]*$"


PROCESS_SCHEMA: JsonObject = {
    "type": "object",
    "additionalProperties": False,
    "required": ["command"],
    "properties": {
        "command": {
            "description": "The program and its arguments, each a template.",
            "type": ["array", "string"],
            "minItems": 1,
            "pattern": "(?!)",  # no text at all: as an alternative that never fits it gets a sentence of its own
            "x-expected": 'a list such as ["sh", "-c", "…"], as no shell takes one text apart',
        },
        "env": {
            "description": "Further variables, each a template; one that renders to null is left out.",
            "type": "object",
            "propertyNames": {"pattern": _VARIABLE_NAME},
        },
        "pass_env": {
            "description": "Names of variables that are passed on from the agent's own environment.",
            "type": "array",
            "items": {"type": "string", "pattern": _VARIABLE_NAME},
        },
        "stdin": {
            "description": "What the command reads: the invocation as JSON (default), or nothing.",
            "enum": ["invocation", "none"],
        },
        "cwd": {
            "description": "Where the command starts; by default an empty directory that is removed afterwards.",
            "type": "string",
            "minLength": 1,
        },
        "kill_grace": duration_schema(
            "How long after SIGTERM a stopped command is killed; by default AGENT_KILL_GRACE_S.", may_be_zero=True
        ),
        "signal_scope": {
            "description": "Whether SIGTERM goes to the whole tree of processes (default) or to the command alone.",
            "enum": [str(scope) for scope in SignalScope],
        },
        "ok_exit_codes": {
            "description": "The exit codes that mean success; by default 0.",
            "type": "array",
            "minItems": 1,
            "items": {"type": "integer", "minimum": 0, "maximum": 255},
        },
    },
}


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """A route's options that hold for all its runs. ``cwd`` ``None``: a new directory for each run."""

    kill_grace_s: float
    signal_scope: SignalScope
    sends_invocation: bool
    cwd: Path | None
    ok_exit_codes: frozenset[int]


def read_process_options(options: JsonObject, path: str, agent_kill_grace_s: float) -> ProcessOptions:
    """Reads options that fit `PROCESS_SCHEMA`.

    Raises `ConfigurationError` for a grace beyond the agent's own, on which the agent's shutdown is timed.
    """
    grace, codes, cwd = options.get("kill_grace"), options.get("ok_exit_codes"), options.get("cwd")
    kill_grace_s = parse_duration_s(grace) if isinstance(grace, str | int | float) else agent_kill_grace_s
    if kill_grace_s > agent_kill_grace_s:
        message = f"{grace} is longer than the agent itself waits, which is {agent_kill_grace_s:g} s"
        raise ConfigurationError(Problem("routes", message, f"{path}.kill_grace", "raise AGENT_KILL_GRACE_S"))
    return ProcessOptions(
        kill_grace_s=kill_grace_s,
        signal_scope=SignalScope(str(options.get("signal_scope", SignalScope.GROUP))),
        sends_invocation=options.get("stdin", "invocation") == "invocation",
        cwd=Path(cwd).absolute() if isinstance(cwd, str) else None,
        ok_exit_codes=frozenset(code for code in codes if isinstance(code, int))
        if isinstance(codes, list)
        else frozenset({0}),
    )
