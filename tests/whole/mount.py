"""A volume whose files change under a running agent."""

from __future__ import annotations

import shutil
from pathlib import Path


class Mount:
    """Files as Kubernetes mounts a Secret or a ConfigMap: links through ``..data``, which is swapped as a whole."""

    def __init__(self, home: Path, **values: str) -> None:
        home.mkdir()
        self._home = home
        self._versions = 0
        self.swap(**values)
        for name in values:
            self.path(name).symlink_to(Path("..data", name))

    def path(self, name: str) -> Path:
        """Where the file is found, whatever the version."""
        return self._home / name

    def swap(self, **values: str) -> None:
        """All files become these at once; the version before is gone."""
        before = self._current()
        self._versions += 1
        version = self._home / f"..version-{self._versions}"
        version.mkdir()
        for name, value in values.items():
            (version / name).write_text(value)
        fresh = self._home / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.replace(self._home / "..data")
        if before is not None:
            shutil.rmtree(before)

    def _current(self) -> Path | None:
        link = self._home / "..data"
        return link.resolve() if link.exists() else None
