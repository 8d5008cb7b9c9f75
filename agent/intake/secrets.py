"""Opens encrypted inputs: AES-256-GCM under the first 32 bytes of the client secret, as Port closes them.

The value is base64 of IV (16 bytes), ciphertext and tag (16 bytes). Inputs that are encrypted on the client's side,
for a key that the organisation keeps to itself, cannot be opened here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from agent.domain.errors import DecryptionError
from agent.domain.javascript import number_text
from agent.domain.json import Json, compact
from agent.intake.parse import UndecodableError, parse

_KEY_BYTES = 32
_IV_BYTES = 16
_TAG_BYTES = 16

Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sealed:
    """One encrypted value: its ``path`` from the document's root, and the name that errors give it.

    ``is_object``: the input is declared as an object, so that its plain text is read as JSON.
    """

    path: Path
    name: str
    is_object: bool = False


def dotted(path: str) -> Path:
    """A dot path as route files have it: ``payload.properties.secrets.0.value``, also with a leading dot."""
    return tuple(path.removeprefix(".").split("."))


def unseal(
    document: Json, sealed: Iterable[Sealed], secrets: Sequence[str]
) -> tuple[Json, Mapping[str, tuple[str, ...]]]:
    """A copy of ``document`` with the values at ``sealed`` opened, and by their names the plain values to mask.

    A path that leads nowhere, to null or to an empty string is an optional input that was not given: it stays.
    Of two items with the same path the first counts. Raises `DecryptionError` for any other value that does not
    open.
    """
    plain: dict[str, tuple[str, ...]] = {}
    unique = dict[Path, Sealed]()
    for item in sealed:
        unique.setdefault(item.path, item)

    def opened(item: Sealed, value: Json) -> Json:
        text = decrypt(value, item.name, secrets)
        plain[item.name] = tuple(dict.fromkeys(_to_mask(text)))
        return _declared_object(text) if item.is_object else text

    for item in unique.values():
        document = _replaced(document, item.path, partial(opened, item))
    return document, plain


def decrypt(value: Json, name: str, secrets: Sequence[str]) -> str:
    """The plain text of one encrypted value, under the first of ``secrets`` that opens it.

    Raises `DecryptionError`, which tells ``name`` but no part of the value.
    """
    keys = [secret.encode("utf-8", "surrogateescape")[:_KEY_BYTES] for secret in secrets]
    if not any(len(key) == _KEY_BYTES for key in keys):
        raise DecryptionError(
            f"encrypted input {name!r} cannot be opened: PORT_CLIENT_SECRET has only {len(keys[0])} bytes and"
            f" {_KEY_BYTES} are the key; is it complete?"
        )
    try:
        closed = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        closed = b""
    if len(closed) < _IV_BYTES + _TAG_BYTES:
        raise DecryptionError(
            f"input {name!r} should be encrypted (aes256-gcm) but holds something else; is it a secret input"
            " of the action, and is its name or path right?"
        )
    # Only now: it takes 7 MB, and most organisations have no encrypted inputs.
    from agent.intake.cipher import opened  # noqa: PLC0415 - see above

    for key in keys:
        with suppress(ValueError):  # too short for a key, not the right one, or no text in it
            return opened(closed[:_IV_BYTES], closed[_IV_BYTES:], key).decode()
    raise DecryptionError(
        f"encrypted input {name!r} does not open with PORT_CLIENT_SECRET: was the client secret rotated after"
        " the run was started, or is the input encrypted on the client's side (which needs another key)?"
    )


def _replaced(node: Json, path: Sequence[str], change: Callable[[Json], Json]) -> Json:
    """``node`` with the value at ``path`` changed; what is not on the way there is shared with the original."""
    if not path:
        return node if node is None or node == "" else change(node)
    name, rest = path[0], path[1:]
    if isinstance(node, dict) and name in node:
        return {**node, name: _replaced(node[name], rest, change)}
    if isinstance(node, list) and name in map(str, range(len(node))):
        index = int(name)
        return [*node[:index], _replaced(node[index], rest, change), *node[index + 1 :]]
    return node


def _declared_object(text: str) -> Json:
    """An object input travels as the JSON text of its value; text that is none stays text."""
    value = _parsed(text)
    return value if isinstance(value, dict) else text


def _to_mask(text: str) -> Iterator[str]:
    """The plain text and, where it is JSON (a service account's key, say), what stands in it; nothing empty."""
    yield from _leaves(text)
    yield from _leaves(_parsed(text))


def _parsed(text: str) -> Json:
    try:
        return parse(text.encode())[1]
    except UndecodableError:
        return None


def _leaves(value: Json) -> Iterator[str]:
    """The strings and numbers in ``value``; a number as our templates print it and as JavaScript does."""
    if isinstance(value, str) and value:
        yield value
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield compact(value)
        yield number_text(value)
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
