"""The values of the chart that documents name are in the chart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
VALUES: dict[str, Any] = yaml.safe_load((ROOT / "helm" / "values.yaml").read_text())
OTHERS = {"env.NAME", "routes.yaml"}
"""What looks like a value of the chart, and is none."""
PROSE = {"delivery.md", "image.md", "migrating.md", "operations.md", "scaling.md"}
"""Documents in whose text whatever looks like a value of the chart is one."""
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def paths(values: dict[str, Any], above: str = "") -> Iterator[str]:
    """Each value's path, as ``--set`` takes it; those of maps too."""
    for name, value in values.items():
        yield f"{above}{name}"
        if isinstance(value, dict):
            yield from paths(value, f"{above}{name}.")


def free(values: dict[str, Any]) -> set[str]:
    """The maps and lists of the chart that are empty, or of Kubernetes: what is in them is named by the user."""
    whole = list(paths(values))
    return {"resources"} | {path for path in whole if at(values, path) in ({}, [])}


def at(values: dict[str, Any], path: str) -> Any:
    """The value at a path."""
    for name in path.split("."):
        values = values[name]
    return values


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_values_of_the_chart_that_are_named_exist(document: Path) -> None:
    text = document.read_text().replace("\\.", "")
    named = set(re.findall(r"--set(?:-file)? '?([\w.]+)=", text))
    if document.name in PROSE:
        quoted = re.findall(r"`([a-z]\w+(?:\.\w+)+)(?:=\w+)?`", text)
        named |= {path for path in quoted if path.split(".")[0] in VALUES} - OTHERS
    for block in re.findall(r"^ *```yaml values\.yaml\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        named |= set(paths(yaml.safe_load(block)))
    known, of_users = set(paths(VALUES)), tuple(f"{path}." for path in free(VALUES))
    unknown = {path for path in named - known if not path.startswith(of_users)}
    assert not unknown, f"{document.name} names {sorted(unknown)}, which the chart does not have"
