"""Why a command cannot be started: as far as it shows before any run, and as the system said."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from agent.domain.json import Json

_FIRST_LINE_BYTES = 256


def not_started(error: OSError, cwd: Path | None) -> str:
    """What to do about a command that the system would not start."""
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | Path) else "the command"
    match error.errno:
        case errno.ENOENT if Path(name) == cwd:
            return f"could not start the command: its directory {name} does not exist"
        case _ if Path(name) == cwd:
            return f"could not start the command: its directory {name} cannot be entered: {error.strerror}"
        case errno.ENOENT if Path(name).exists():
            return f"could not start {name}: {_without_interpreter(Path(name))}"
        case errno.ENOENT:
            told = "it does not exist, or is not on the PATH that the route gives"
            return f"could not start {name}: {told}{_as_words(name)}"
        case errno.EACCES:
            return f"could not start {name}: no permission; is it executable?"
        case errno.ENOEXEC:
            return f"could not start {name}: neither a program nor a script that begins with #!"
        case errno.E2BIG:
            return f"could not start {name}: its arguments and variables are too long; let it read stdin"
        case errno.EAGAIN | errno.EMFILE | errno.ENOMEM:
            return f"could not start {name}: {error.strerror}; fewer runs at once may help"
        case _:
            return f"could not start {name}: {error.strerror or error}"


def command_notes(program: Json, cwd: Path | None, search_path: str | None) -> Iterator[str]:
    """What is not as the command needs it on this machine now; it may be when a run comes, or where the agent runs.

    Nothing is said of a program that is a template, and of one by its bare name where ``search_path`` is not known.
    """
    if cwd is not None and not cwd.is_dir():
        yield f"its directory {cwd} does not exist here"
    if not isinstance(program, str) or "{{" in program or not program:
        return
    if "/" not in program:
        if search_path is not None and shutil.which(program, path=search_path) is None:
            told = f"is not on the PATH that the route gives ({search_path})"
            yield f"its program {program} {told}{_as_words(program)}"
        return
    file = (cwd or Path.cwd()) / program
    if not file.is_file():
        if cwd is None or cwd.is_dir():
            yield f"its program {file} does not exist here{_as_words(program)}"
    elif not os.access(file, os.X_OK):
        yield f"its program {file} is not executable (chmod +x)"
    elif (interpreter := _interpreter(file)) is not None and not Path(interpreter).is_file():
        yield f"its program {file}: {_without_interpreter(file)}"


def _without_interpreter(script: Path) -> str:
    told = "the interpreter that its first line names does not exist"
    if (_interpreter(script) or "").endswith("\r"):
        return f"{told}: the line ends as on Windows; save the script with Unix line ends (LF)"
    return told


def _interpreter(script: Path) -> str | None:
    """What a script's first line names, with the return of a Windows line end; ``None`` for what is no script."""
    try:
        with script.open("rb") as file:
            first = file.readline(_FIRST_LINE_BYTES)
    except OSError:
        return None
    if not first.startswith(b"#!"):
        return None
    words = first[2:].rstrip(b"\n").lstrip(b" \t").split(b" ")
    return os.fsdecode(words[0].split(b"\t")[0])


def _as_words(program: str) -> str:
    """A hint for a program with blanks in it, which is likely a whole command."""
    if len(words := program.split()) < 2:
        return ""
    elements = ", ".join(f'"{word}"' for word in words)
    return f"; if these are a program and its arguments, each is an element of the list: [{elements}]"
