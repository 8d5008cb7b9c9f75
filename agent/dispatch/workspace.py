"""A run's private directory: made when first asked for, gone after the run."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

from agent.threads import in_thread


class Workspace:
    """One run's directory below ``parent`` (mode 0700); costs nothing if nobody asks for it."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """The directory. Raises `OSError` where ``parent`` is not writable."""
        if self._path is None:
            self._parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path = Path(tempfile.mkdtemp(prefix="run-", dir=self._parent))
        return self._path

    async def remove(self) -> None:
        """Deletes the directory with all that is in it, off the loop; never raises."""
        path, self._path = self._path, None
        if path is None:
            return
        try:
            await in_thread(partial(remove_tree, path), "remove workspace")
        except RuntimeError:  # the system has no thread left: better that the loop waits than that secrets stay
            remove_tree(path)


def remove_tree(path: Path) -> None:
    """Deletes ``path`` as far as it lets itself be deleted, also directories that a run made unwritable."""

    def open_up_and_retry(function: object, name: str, _info: object) -> None:
        del function
        broken = Path(name)
        try:
            broken.parent.chmod(0o700)
            if broken.is_dir() and not broken.is_symlink():
                broken.chmod(0o700)
                shutil.rmtree(broken, ignore_errors=True)
            else:
                broken.unlink(missing_ok=True)
        except OSError:
            return

    shutil.rmtree(path, onerror=open_up_and_retry)
