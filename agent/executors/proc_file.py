"""Small files of the kernel, read and written with as few system calls as that takes.

A look at ``/proc`` belongs to every command's end. By `pathlib` it is nine system calls and the making of several
objects, here it is three, and one where the file stays open.
"""

from __future__ import annotations

import os
import weakref

_CHUNK_BYTES = 16 * 1024
_MORE_BYTES = 2048
"""The kernel gives such a file by the page, of which a line that does not fit leaves a part. Less is the end."""


def read_file(path: str) -> bytes:
    """All that ``path`` holds now. Raises `OSError`."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return _all_of(fd)
    finally:
        os.close(fd)


class KernelFile:
    """A small file of the kernel that is read again and again, and stays open for it: one system call a look.

    Any thread may read. Making it raises `OSError` where the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._fd)

    def read(self) -> bytes:
        """All that the file holds now. Raises `OSError`."""
        return _all_of(self._fd)


def write_file(path: str, content: bytes) -> None:
    """Hands ``content`` to the file ``path``, which exists, in one piece. Raises `OSError`."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)


def _all_of(fd: int) -> bytes:
    content = chunk = os.pread(fd, _CHUNK_BYTES, 0)
    while len(chunk) >= _MORE_BYTES:
        chunk = os.pread(fd, _CHUNK_BYTES, len(content))
        content += chunk
    return content
