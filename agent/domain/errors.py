"""The errors that cross a room's border, and whose fault each one is.

::

    AgentError
    ├── ConfigurationError    the operator's: a setting or a file is wrong; nothing was executed
    ├── TemplateError         the operator's or the message's: an expression failed on this message
    │   └── UnevaluatedError  … or its time or memory ran out: there is no telling what it would have given
    ├── DecryptionError       the message's, or a rotated secret: an encrypted input did not open
    ├── SourceLostError       the consumer cannot go on: the agent drains and exits non-zero, to be restarted
    └── EntityRefusedError    Port's final word on an entity (4xx), or it could not be reached in time

Outcomes of runs are values (`agent.domain.outcome`), not exceptions; an exception that is none of
these is a defect of ours, becomes a FAILURE of its run, and is logged with a traceback.
"""

from __future__ import annotations

from dataclasses import dataclass


class AgentError(Exception):
    """Anything this project raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in the configuration, told so that a person can mend it.

    ``where`` is a file, with line if known, or the name of a setting; ``path`` the place inside the document
    (``routes[0].process.command``) or an empty string; ``message`` says what is wrong and what was expected.
    """

    where: str
    message: str
    path: str = ""
    hint: str = ""

    def __str__(self) -> str:
        """One line: where, path, message, hint."""
        place = f"{self.where}: {self.path}" if self.path else self.where
        return f"{place}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigurationError(AgentError):
    """The configuration is wrong; carries every problem that was found, not just the first."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems


class TemplateError(AgentError):
    """An expression failed on this message: what it was, where it stands, and what the engine said."""


class UnevaluatedError(TemplateError):
    """An expression was not evaluated to its end, because its time or memory ran out: its value is not known."""


class DecryptionError(AgentError):
    """An encrypted input did not open; the text names the input, never its ciphertext."""


class EntityRefusedError(AgentError):
    """Port refused an entity, or did not take it in time; the text is what Port said."""


class SourceLostError(AgentError):
    """The source cannot go on by itself (a fatal client error); a restart is what helps."""
