"""What the documents say to type renders: the options of every ``helm install`` and ``helm upgrade``."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.chart.rendering import NEEDED, render
from tests.docs.test_documents import ROOT, blocks

pytestmark = pytest.mark.chart

ROUTES = "routes: [{name: any, match: {action: any}, process: {command: [/bin/true]}}]\n"


def commands(document: Path) -> list[list[str]]:
    """The options that give values, command by command."""
    shell = "\n".join(text for language, _, text in blocks(document) if language == "sh").replace("\\\n", " ")
    typed = [
        line.split(" ./helm ")[1] for line in shell.splitlines() if line.startswith("helm ") and " ./helm " in line
    ]
    return [[word for word in shlex.split(line) if word != "--reset-then-reuse-values"] for line in typed]


def test_the_commands_of_the_documents_render(helm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    monkeypatch.chdir(tmp_path)
    found = {path.name: commands(path) for path in (ROOT / "docs").glob("*.md")}
    assert len(found["operations.md"]) == 3
    for options in (options for each in found.values() for options in each):
        assert render(helm, NEEDED, *options).workload, options
