"""Small files of the kernel, read and written with as few system calls as that takes.

A look at ``/proc`` belongs to every command's end. By `pathlib` it is nine system calls and the making of several
objects, here it is four.
"""

from __future__ import annotations

import os

_CHUNK_BYTES = 16 * 1024


def read_file(path: str) -> bytes:
    """All that ``path`` holds now. Raises `OSError`."""
    fd = os.open(path, os.O_RDONLY)
    try:
        content = os.read(fd, _CHUNK_BYTES)
        while chunk := os.read(fd, _CHUNK_BYTES) if content else b"":
            content += chunk
    finally:
        os.close(fd)
    return content


def write_file(path: str, content: bytes) -> None:
    """Hands ``content`` to the file ``path``, which exists, in one piece. Raises `OSError`."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)
