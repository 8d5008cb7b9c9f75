"""Writes YAML that people read: texts of several lines as such, comments where they belong."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

import yaml

_WIDTH = 110
_LIKE_A_NUMBER = tuple("+-.0123456789")
"""How texts begin that YAML 1.2 takes for numbers, and the library, which goes by 1.1, for texts: 1e3, 0o7."""


class _Dumper(yaml.SafeDumper):
    """As the safe one, with several lines as a block, no aliases, and lists set in."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - of none
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - yaml's
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else "'" if text[:1] in _LIKE_A_NUMBER else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.SequenceNode:
    is_short = all(isinstance(value, str) and "{{" not in value for value in values) and len(str(values)) < _WIDTH
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=is_short)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def yaml_text(value: Any, indent: int = 0) -> str:
    """``value`` in YAML, each line set in by ``indent`` blanks; ends with a line break."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    return textwrap.indent(text, " " * indent)


def comment(sentences: Iterable[str], indent: int = 0) -> str:
    """``sentences`` as comment lines, each beginning a line of its own."""
    lines: list[str] = []
    for sentence in sentences:
        lines += textwrap.wrap(
            " ".join(sentence.split()),
            width=_WIDTH - indent,
            initial_indent="# ",
            subsequent_indent="#   ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return textwrap.indent("".join(f"{line}\n" for line in lines), " " * indent)
