"""What the documents say to type renders: the options of each ``helm install``, ``upgrade`` and ``template``."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from agent.commands.migrate import Given, migrate
from tests.chart.documented_values import HELM
from tests.chart.rendering import NEEDED, Values, merged, render
from tests.chart.test_the_agent_in_its_pod import check, lay_out
from tests.docs.test_documents import ROOT, blocks

pytestmark = pytest.mark.chart

ROUTES = "routes: [{name: any, match: {action: any}, process: {command: [/bin/true]}}]\n"
DOCUMENTS = [ROOT / "README.md", HELM / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = {
    "README.md": 1, "helm/README.md": 3, "alerts.md": 1, "image.md": 1, "migrating.md": 5, "operations.md": 4,
}  # fmt: skip
"""How many there are at least, so that none is overlooked."""


def name_of(document: Path) -> str:
    """The document's name, and for the chart's README its directory."""
    return "helm/README.md" if document.parent == HELM else document.name


def commands(document: Path) -> list[list[str]]:
    """The options that give values, command by command."""
    shell = "\n".join(text for language, _, text in blocks(document) if language == "sh").replace("\\\n", " ")
    typed = [
        line.split(" ./helm ")[1] for line in shell.splitlines() if line.startswith("helm ") and " ./helm " in line
    ]
    return [[word for word in shlex.split(line) if word != "--reset-then-reuse-values"] for line in typed]


@pytest.fixture
def actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the README's files, as they are said to lie, and those that other documents name."""
    for _, name, text in blocks(ROOT / "README.md"):
        if name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    (tmp_path / "routes.yaml").write_text(ROUTES)
    old = yaml.safe_load((ROOT / "tests" / "chart" / "port_agent_values.yaml").read_text())
    del old["resources"]  # as docs/migrating.md says
    (tmp_path / "port-agent-values.yaml").write_text(yaml.safe_dump(old))
    given = Given(values=tmp_path / "port-agent-values.yaml", out=tmp_path / "new")
    assert migrate(given, {}, lambda _: None) == 0
    migrating = blocks(ROOT / "docs" / "migrating.md")
    (tmp_path / "values.yaml").write_text(next(text for _, name, text in migrating if name == "values.yaml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("actions")
@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_the_commands_of_the_documents_render(helm: str, document: Path) -> None:
    found = commands(document)
    assert len(found) >= COMMANDS.get(name_of(document), 0)
    for options in found:
        assert render(helm, NEEDED, *options).workload, options


@pytest.mark.parametrize("document", DOCUMENTS[:1] + DOCUMENTS[2:], ids=name_of)
def test_the_values_of_the_documents_render(helm: str, document: Path) -> None:
    for _, name, text in blocks(document):
        if name == "values.yaml":
            assert render(helm, yaml.safe_load(text)).workload, text


@pytest.mark.usefixtures("actions")
def test_what_the_readme_installs_is_in_order_in_its_pod(helm: str, tmp_path: Path) -> None:
    credentials: Values = {"port": {"existingSecret": "", "clientId": "my-id", "clientSecret": "my-s3cret"}}
    [options] = commands(ROOT / "README.md")
    at = options.index("port.existingSecret=port-credentials")
    del options[at - 1 : at + 1]
    one = render(helm, merged(NEEDED, credentials), *options)
    lay_out(one, tmp_path / "pod")
    said = check(one, tmp_path / "pod")
    assert "settings and routes are in order: 3 routes" in said
    assert "note:" not in said


@pytest.mark.usefixtures("actions")
def test_the_old_values_with_what_migrating_says_of_them_are_an_agents(helm: str) -> None:
    rendered, installed, beside, *_ = commands(ROOT / "docs" / "migrating.md")
    assert rendered == installed
    assert render(helm, {}, *beside).env["KAFKA_CONSUMER_GROUP_ID"] == "org_BneDtWovPqXaA2VZ.second"
    one = render(helm, {}, *installed)
    assert one.env["CONTROL_THE_PAYLOAD_CONFIG_PATH"]
    assert "AGENT_ROUTES_PATH" not in one.env
    assert one.workload["metadata"]["name"] == "agent-action-agent"
    assert one.container["image"] == "registry.internal/action-agent:0.1.0"
    assert one.container["resources"]["limits"] == {"memory": "512Mi"}
    assert one.env["KAFKA_CONSUMER_GROUP_ID"] == "org_BneDtWovPqXaA2VZ.production"


@pytest.mark.usefixtures("actions")
def test_the_values_that_migrate_writes_take_the_place_of_the_old_ones(helm: str) -> None:
    _, _, _, rendered, installed = commands(ROOT / "docs" / "migrating.md")
    assert rendered == installed
    one = render(helm, {}, *installed)
    assert one.env["AGENT_ROUTES_PATH"]
    assert "CONTROL_THE_PAYLOAD_CONFIG_PATH" not in one.env
    assert one.workload["metadata"]["name"] == "agent-action-agent"
    assert one.container["image"] == "registry.internal/action-agent:0.1.0"
    assert one.env["KAFKA_CONSUMER_GROUP_ID"] == "org_BneDtWovPqXaA2VZ.production"


@pytest.mark.parametrize(
    "name", ["registry.internal/action-agent:1.0", "localhost:5000/team/agent:2", "registry.internal:5000/agent"]
)
def test_what_make_image_says_of_the_chart_names_the_image_that_it_built(helm: str, name: str) -> None:
    said = subprocess.run([ROOT / ".ci/image/next", name, "buildah"], check=True, capture_output=True, text=True)
    assert f"buildah push {name}\n" in said.stdout
    options = re.findall(r"--set(?:-string)? image\.\w+=\S+", said.stdout)
    one = render(helm, {}, *(word for option in options for word in option.split()))
    assert one.container["image"] == (name if ":" in name.rsplit("/", 1)[1] else f"{name}:latest")
