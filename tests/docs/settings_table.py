"""The table of docs/settings.md, made from the settings themselves: ``python -m tests.docs.settings_table``."""

from __future__ import annotations

import sys

from pydantic.fields import FieldInfo

from agent.settings import Settings

_PLACES = {"AGENT_STATE_DIR": "/tmp/action-agent"}
"""Defaults that depend on the machine."""


def shown_default(name: str, field: FieldInfo) -> str:
    """The default as one would write it into a ``.env`` file; empty where there is none."""
    if name in _PLACES:
        return _PLACES[name]
    return "" if field.is_required() or field.default is None else str(field.default)


def settings_table() -> str:
    """Every setting with its default and meaning, in Markdown."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = shown_default(name, field)
        cell = "**needed**" if field.is_required() else f"`{default}`" if default else ""
        lines.append(f"| `{name}` | {cell} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(settings_table())
