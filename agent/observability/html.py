"""HTML made of escaped pieces: text that comes from anywhere cannot become markup."""

from __future__ import annotations

from html import escape
from typing import TypeAlias


class Markup(str):
    """Text that is HTML already; made only by `tag` and `joined`, and by `Markup` around a literal."""

    __slots__ = ()


Content: TypeAlias = "Markup | str | int | None"


def text(value: Content) -> Markup:
    """``value`` as HTML; plain text is escaped, ``None`` is nothing."""
    if isinstance(value, Markup):
        return value
    return Markup("" if value is None else _escaped(str(value)))


def joined(*parts: Content) -> Markup:
    """The parts one after another."""
    return Markup("".join(map(text, parts)))


def tag(name: str, *content: Content, **attributes: str | None) -> Markup:
    """An element. ``class_`` and ``data_label`` become ``class`` and ``data-label``; ``None`` is left out."""
    given = (
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{''.join(given)}>{joined(*content)}</{name}>")


def _escaped(value: str) -> str:
    """Fit to stand in text and in quoted attributes; what UTF-8 cannot carry becomes a question mark."""
    return escape(value.encode("utf-8", "replace").decode())
