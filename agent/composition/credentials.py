"""The client id and secret: as they were given, or read again when the files that they are mounted in change."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from agent.settings import Settings, UnreadableFileError, read_value

log = structlog.get_logger(__name__)


class RotatedValue:
    """A setting whose value may change while the agent runs. Belongs to the event loop's thread.

    ``path`` is the file that it comes from; ``None``: it was given itself and stays. Each time it is asked for, the
    file is looked at, through whatever links lead there, and read if it is another one than before. One that cannot
    be read, or is empty, changes nothing; that is logged once. ``learn`` is told a new value before anybody has it.
    """

    def __init__(self, name: str, value: str, path: Path | None, learn: Callable[[str], object]) -> None:
        self._name = name
        self._known: tuple[str, ...] = (value,)
        self._path = path
        self._learn = learn
        self._seen: tuple[int, ...] | None = None
        self._trouble = ""

    def current(self) -> str:
        """The value in force."""
        return self.known()[0]

    def known(self) -> tuple[str, ...]:
        """The value in force, and after it the one before, if there was one."""
        if self._path is not None:
            try:
                self._look(self._path)
            except UnreadableFileError as error:
                self._tell(str(error))
        return self._known

    def _look(self, path: Path) -> None:
        seen = _identity(path)
        if seen == self._seen:
            return
        value = read_value(path)
        if not value:
            raise UnreadableFileError(path, "it is empty")
        self._seen, self._trouble = seen, ""
        if value != self._known[0]:
            self._learn(value)
            self._known = (value, self._known[0])
            log.info("a credential was read anew", setting=self._name, path=str(path))

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            hint = "the last good value stays in force"
            log.warning("a credential cannot be read anew", setting=self._name, detail=trouble, hint=hint)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who the agent is to Port; the secret also verifies, signs and decrypts."""

    client_id: RotatedValue
    client_secret: RotatedValue

    @classmethod
    def of(cls, settings: Settings, learn: Callable[[str], object] = lambda _secret: None) -> Credentials:
        """Those that the settings name. ``learn`` is told each new secret, to mask it from then on."""
        return cls(
            RotatedValue(
                "PORT_CLIENT_ID", settings.PORT_CLIENT_ID, settings.file_of("PORT_CLIENT_ID"), lambda _id: None
            ),
            RotatedValue(
                "PORT_CLIENT_SECRET",
                settings.PORT_CLIENT_SECRET.get_secret_value(),
                settings.file_of("PORT_CLIENT_SECRET"),
                learn,
            ),
        )


def _identity(path: Path) -> tuple[int, ...]:
    """Tells whether the file is another one, or was written since. Raises `UnreadableFileError`."""
    try:
        found = os.stat(path)  # noqa: PTH116 - follows links, which is how Kubernetes swaps what it mounts
    except OSError as error:
        raise UnreadableFileError(path, error.strerror or "") from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
