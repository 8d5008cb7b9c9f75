"""Writes files of which each is there as a whole or not at all, and read by nobody but their owner."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


def write_new_files(directory: Path, files: Mapping[str, str]) -> None:
    """Writes ``files``, texts by name, into ``directory``, which is made; what is there by these names is replaced.

    No file is touched before all are on the disk, so that a full one leaves everything as it was. They get mode
    0600, whatever those before them had. Blocks. Raises `OSError`, and leaves nothing half-written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    complete: dict[Path, Path] = {}
    try:
        for name, text in files.items():
            descriptor, path = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
            complete[Path(path)] = directory / name
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
        for path_now, path_then in complete.items():
            path_now.replace(path_then)
    finally:
        for path_now in complete:
            with suppress(FileNotFoundError):
                path_now.unlink()
