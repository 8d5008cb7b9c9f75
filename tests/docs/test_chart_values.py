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
ANY = {"settings", "extraEnv"}
"""What is below these is named by the user."""


def paths(values: dict[str, Any], above: str = "") -> Iterator[str]:
    """Each value's path, as ``--set`` takes it; those of maps too."""
    for name, value in values.items():
        yield f"{above}{name}"
        if isinstance(value, dict):
            yield from paths(value, f"{above}{name}.")


@pytest.mark.parametrize("name", ["operations.md", "delivery.md", "scaling.md"])
def test_values_of_the_chart_that_are_named_exist(name: str) -> None:
    text = (ROOT / "docs" / name).read_text()
    named = set(re.findall(r"--set(?:-file)? ([\w.]+)=", text))
    named |= {path for path in re.findall(r"`([a-z]\w+(?:\.\w+)+)(?:=\w+)?`", text) if path.split(".")[0] in VALUES}
    for block in re.findall(r"^```yaml values\.yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        named |= set(paths(yaml.safe_load(block)))
    unknown = {path for path in named - set(paths(VALUES)) if path.split(".")[0] not in ANY}
    assert not unknown, f"{name} names {sorted(unknown)}, which the chart does not have"
