"""The answer of a synchronous call, as Port is told it: JSON where it is some, and no larger than Port takes."""

from __future__ import annotations

from agent.domain.json import Json, JsonObject, as_text, compact
from agent.domain.redaction import Redactor

_NOT_READ = "… the rest of the answer was not read …"


def response_data(response: JsonObject, redactor: Redactor, max_bytes: int) -> Json:
    """The answer's JSON, or its text; ``None`` if it is empty. Masked.

    ``max_bytes`` bounds its JSON text, escapes included. What is larger becomes text that says what was cut.
    """
    text, value = as_text(response.get("text")), response.get("json")
    if value is None and text.strip() in ("", "null"):
        return None
    is_cut = response.get("truncated") is True
    data = redactor.mask_json(text if value is None else value)
    if not is_cut and _size_bytes(data) <= max_bytes:
        return data
    return _cut(as_text(data), max_bytes, _NOT_READ if is_cut else "")


def _cut(text: str, max_bytes: int, note: str) -> str:
    """As much of the beginning of ``text`` as has room beside what is said about the rest."""
    raw = text.encode("utf-8", "replace")
    room_bytes = min(max_bytes, len(raw))
    while True:
        kept = raw[:room_bytes].decode("utf-8", "ignore")
        left_out = len(raw) - len(kept.encode())
        said = f"… {left_out:,} bytes left out …" if left_out else ""
        cut = " ".join(part for part in (kept, said, note) if part)
        size_bytes = _size_bytes(cut)
        if size_bytes <= max_bytes or not room_bytes:
            return cut
        room_bytes = min(room_bytes - 1, room_bytes * max_bytes // size_bytes)


def _size_bytes(value: Json) -> int:
    return len(compact(value).encode())
