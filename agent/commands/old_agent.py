"""Port's own agent as its files or the environment describe it: what `action-agent migrate` begins with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from agent.commands.mapping_routes import Known
from agent.commands.official_settings import MAPPING_PATH, hides, is_official
from agent.commands.official_values import mapping_in, secret_names, variables_of
from agent.domain.errors import ConfigurationError, Problem
from agent.routing.document import Document, parse, read_file
from agent.routing.environment_secrets import is_secret

_LOOK = "look at the options --values and --mapping"
"""What to do where one of their files is missing."""


@dataclass
class OldAgent:
    """What is known of it: its variables with the place of each, its values, its mapping file.

    ``secret`` are the variables that its values have under ``env.secret``.
    """

    variables: dict[str, str] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    secret: frozenset[str] = frozenset()
    values: Document | None = None
    mapping: tuple[str, bytes] | None = None
    is_own_environment: bool = False
    has_env_file: bool = False
    unread: Sequence[Problem] = ()

    @property
    def known(self) -> Known:
        """The variables that the mapping file may read.

        Of the command's own environment, which has many others, those that look like tokens of GitLab's projects.
        """
        plain = frozenset(name for name, value in self.variables.items() if not hides(name, value)) | {"GITLAB_URL"}
        names = [name for name in self.variables if not is_official(name) or name == "GITLAB_URL"]
        if self.is_own_environment:
            names = [name for name in names if name == "GITLAB_URL" or self._may_be_a_token(name)]
        return Known(names, plain - self.secret, self.secret)

    @property
    def tokens(self) -> frozenset[str]:
        """The variables that may be tokens of GitLab's projects, whatever those are called."""
        return frozenset(filter(self._may_be_a_token, self.variables))

    def _may_be_a_token(self, name: str) -> bool:
        return not is_official(name) and name != name.upper() and is_secret("", self.variables[name])


def read_old_agent(
    env: Path | None, values: Path | None, mapping: Path | None, environment: Mapping[str, str]
) -> OldAgent:
    """What these files say; without ``env`` and ``values`` what the command's own ``environment`` says.

    Raises `ConfigurationError`.
    """
    old = OldAgent()
    if values is not None:
        old.values = parse(read_file(values, _LOOK), str(values))
        if not isinstance(old.values.value, Mapping):
            raise ConfigurationError(old.values.problem("", "holds no values; an object was expected"))
        old.variables, old.where = variables_of(old.values)
        old.secret = secret_names(old.values)
        text = None if mapping else mapping_in(old.values)
        if text is not None:
            old.mapping = (f"{values}: controlThePayloadConfig", text.encode())
    if env is not None:
        old.has_env_file = True
        variables, where, old.unread = _env_file(env)
        old.variables |= variables
        old.where |= where
    if env is None and values is None:
        old.is_own_environment = True
        old.variables = dict(environment)
        old.where = dict.fromkeys(environment, "the environment")
    path = mapping or _mapping_beside(env, old.variables.get(MAPPING_PATH))
    if path is not None:
        old.mapping = (str(path), read_file(path, _LOOK))
    return old


def _env_file(path: Path) -> tuple[dict[str, str], dict[str, str], Sequence[Problem]]:
    """The variables of a dotenv file, the line of each, and the lines that set none.

    Raises `ConfigurationError`.
    """
    logging.getLogger("dotenv").setLevel(logging.ERROR)  # it warns of these lines as well, but names no file
    try:
        with path.open(encoding="utf-8") as lines:
            read = list(parse_stream(lines))
        texts = dotenv_values(path, interpolate=False)  # what it names is of another machine
        variables = {name: value for name, value in texts.items() if value is not None}
    except UnicodeDecodeError:
        raise ConfigurationError(Problem(str(path), "is not UTF-8 text")) from None
    except OSError as error:
        raise ConfigurationError(Problem(str(path), f"cannot be read: {error.strerror}")) from None
    where = {one.key: f"{path}:{one.original.line}" for one in read if one.key is not None}
    broken = [f"{path}:{one.original.line}" for one in read if one.error]
    return variables, where, [Problem(place, "is passed over", hint="write NAME=value") for place in broken]


def _mapping_beside(env: Path | None, named: str | None) -> Path | None:
    """The mapping file that the variable names, if it is on this machine: as it stands, or beside the env file."""
    if not named:
        return None
    beside = [Path(named)] if env is None else [Path(named), env.parent / Path(named).name]
    return next((path for path in beside if path.is_file()), None)
