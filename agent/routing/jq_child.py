"""The worker process: evaluates jq expressions one after another until its input ends or it is killed.

Run as a plain script, with nothing of the agent importable and an empty environment. A frame is four bytes of
length, big endian, and JSON of that length. Request: ``program``, ``arguments``, ``cpu_s``, and ``text``, which is
absent where the program is only to be compiled, and ``null`` for the same text as last time. Answer: ``value``, or
``error`` with jq's words, or ``unfit`` with what keeps the value from being handed over. The first frame it sends
says that it is ready.
"""

from __future__ import annotations

import functools
import json
import math
import resource
import struct
import sys
from typing import Any, BinaryIO

_LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
_TOO_LARGE = b'{"unfit": "gave more than 16 MiB"}'


def main() -> None:
    """Serves requests from stdin; ``argv`` is jq's directory and the limit of memory in bytes."""
    jq_directory, memory_bytes = sys.argv[1], int(sys.argv[2])
    sys.path.append(jq_directory)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, memory_bytes)
    import jq  # type: ignore[import-not-found]  # noqa: PLC0415 - found only now; it ships no types

    @functools.lru_cache(maxsize=1024)
    def compiled(program: str, arguments: str) -> Any:
        return jq.compile(program, args=json.loads(arguments))

    text = ""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    _write(sink, b"{}")
    while (request := _read(source)) is not None:
        text = request.get("text") or text
        used = resource.getrusage(resource.RUSAGE_SELF)
        # Should the agent die while an evaluation never ends, this ends the worker all the same.
        _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + request["cpu_s"]) + 1)
        try:
            program = compiled(request["program"], request["arguments"])
            value = next(iter(program.input_text(text)), None) if "text" in request else None
            answer = json.dumps({"value": value}).encode()
        except ValueError as error:
            answer = json.dumps({"error": str(error)}).encode()
        except RecursionError:
            answer = b'{"unfit": "gave a value that is nested too deeply"}'
        _write(sink, answer if len(answer) <= _LARGEST_ANSWER_BYTES else _TOO_LARGE)


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _read(source: BinaryIO) -> dict[str, Any] | None:
    header = source.read(4)
    if len(header) < 4:
        return None
    frame: dict[str, Any] = json.loads(source.read(struct.unpack(">I", header)[0]))
    return frame


def _write(sink: BinaryIO, frame: bytes) -> None:
    sink.write(struct.pack(">I", len(frame)) + frame)
    sink.flush()


if __name__ == "__main__":
    main()
