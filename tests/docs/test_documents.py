"""The documents are tested: their files are written, their commands run, their tables compared with the code."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.clock import SystemClock
from agent.composition import Silent, open_registry
from agent.executors.command import OWN_VARIABLES
from agent.observability import metric_table
from agent.observability.metric_table import CounterSpec, GaugeSpec, HistogramSpec
from agent.routing.file import RoutesReader
from agent.routing.schema import routes_schema
from agent.sandbox.routes_file import RoutesFile
from agent.settings import Settings, defaults

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
METRICS = {
    spec.name for spec in vars(metric_table).values() if isinstance(spec, CounterSpec | GaugeSpec | HistogramSpec)
}
COMMANDS = {"action-agent", "cat", "helm", "kafka-consumer-groups", "kubectl", "make"}
NOT_SETTINGS = {"KAFKA_CONSUMER_BROKERS", "KAFKA_LIBS"}
ELSEWHERE = ("make ", ". .venv", "cd ..", "kubectl ")
"""How commands begin that are tried elsewhere: by .ci/run itself, and by the tests of image and chart."""
MOST_OF_A_LINE = 8
QUOTING = {"alerts.md", "delivery.md", "operations.md", "scaling.md"}
"""Documents that quote the agent's log and nobody else."""
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> list[tuple[str, str, str]]:
    """Language, file name (or nothing) and text of every fenced block."""
    return [(m[1], m[2] or "", m[3]) for m in BLOCK.finditer(document.read_text())]


def anchors(document: Path) -> set[str]:
    """What the headings of a document are linked by, as GitHub makes it."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Said:
    """Every text in the agent's code, with whatever is filled in."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._templates: list[str] = []
        for path in (ROOT / "agent").rglob("*.py"):
            nodes = list(ast.walk(ast.parse(path.read_text())))
            docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
            for node in nodes:
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                    self._texts.add(node.value)
                if isinstance(node, ast.JoinedStr):
                    fixed = [str(part.value) if isinstance(part, ast.Constant) else "" for part in node.values]
                    if sum(map(len, fixed)) > MOST_OF_A_LINE:
                        self._templates.append("".join(re.escape(part) or ".+" for part in fixed))

    def has(self, quoted: str) -> bool:
        """Whether the agent may say so; HOST:PORT and … stand for anything."""
        parts = [part for part in re.split(r" ?(?:…|\bHOST:PORT\b) ?", quoted) if part]
        return all(any(part in text for text in self._texts) for part in parts) or any(
            re.fullmatch(template, quoted) for template in self._templates
        )


def reader(environment: dict[str, str] | None = None) -> RoutesReader:
    settings = defaults(environment or {})
    registry = open_registry(settings, environment or {}, Silent(), SystemClock())
    return RoutesReader(registry, environment or {})


def test_the_readme_can_be_followed(tmp_path: Path) -> None:
    """Writes its files, and runs its commands in one shell; but for those of `ELSEWHERE`."""
    script = []
    for language, name, text in blocks(ROOT / "README.md"):
        if name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        elif language == "sh" and not text.startswith(ELSEWHERE):
            script.append(text)
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "settings and routes are in order: 3 routes" in done.stdout
    assert "create-microservice: MATCHES" in done.stdout
    assert '"./scripts/create.sh"' in done.stdout
    assert '"my-service"' in done.stdout


def test_what_the_readme_says_to_type_is_what_its_routes_read(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `({.*})` \| (?:`(.+)` )?\|$", text, re.MULTILINE)
    typed = {action: (json.loads(inputs), entity) for action, inputs, entity in rows}
    path = tmp_path / "routes.yaml"
    path.write_text(next(text for _, name, text in blocks(ROOT / "README.md") if name == "actions/routes.yaml"))
    suggested = RoutesFile(path, is_copy=False).suggestions
    assert typed.keys() == {one.action for one in suggested}
    for one in suggested:
        inputs, entity = typed[one.action]
        assert inputs.keys() >= one.inputs.keys()
        assert bool(entity) == bool(one.entity)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_yaml_example_is_a_good_route(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = (ROOT / "README.md", ROOT / "docs" / "executors.md")
    modules = [text for path in documents for _, name, text in blocks(path) if Path(name).name == "my_actions.py"]
    (tmp_path / "my_actions.py").write_text("\n".join(modules))
    monkeypatch.syspath_prepend(str(tmp_path))
    with_routes = reader(dict.fromkeys(("DEPLOY_TOKEN", "GITLAB_TRIGGER_TOKEN"), "a-token-of-the-examples"))
    try:
        for language, name, text in blocks(document):
            if language != "yaml" or name == "values.yaml":
                continue
            whole = text
            if not text.startswith("routes:"):
                options = "".join(f"    {line}\n" for line in text.splitlines())
                whole = f"routes:\n  - name: example\n    match: {{action: example}}\n{options}"
            with_routes.parse(whole.encode(), document.name)
    finally:
        with_routes.close()
        sys.modules.pop("my_actions", None)


def test_every_key_of_a_route_is_described() -> None:
    registry = open_registry(defaults(), {}, Silent(), SystemClock())
    schema: Any = json.loads(json.dumps(routes_schema(registry)))
    properties = schema["properties"]["routes"]["items"]["properties"]
    routes, executors = (ROOT / "docs" / "routes.md").read_text(), (ROOT / "docs" / "executors.md").read_text()
    for key in properties:
        assert f"`{key}`" in routes, f"docs/routes.md says nothing of `{key}`"
    for name in registry.names:
        for key in properties[name]["properties"]:
            known = f"`{key}`" in executors or f"`{key}:" in executors or f"  {key}: " in executors
            assert known, f"docs/executors.md says nothing of {name}.{key}"


def test_the_reference_shows_every_key_of_a_route() -> None:
    registry = open_registry(defaults(), {}, Silent(), SystemClock())
    schema: Any = routes_schema(registry)["properties"]
    text = next(text for _, _, text in blocks(ROOT / "docs" / "routes.md") if "max_attempts" in text)
    [shown] = yaml.load(text, yaml.BaseLoader)["routes"]  # noqa: S506 - makes texts only; for others `on` is true
    route = schema["routes"]["items"]["properties"]
    assert shown.keys() | registry.names == route.keys()
    assert shown["match"].keys() == route["match"]["properties"].keys()
    assert shown["report"].keys() == route["report"]["properties"].keys()
    assert shown["entities"][0].keys() == route["entities"]["items"]["properties"].keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_settings_and_files_that_are_named_exist(document: Path) -> None:
    text = document.read_text()
    for name in set(re.findall(r"\b((?:AGENT|PORT|KAFKA)_[A-Z0-9_]*[A-Z0-9])\b", text)):
        settings = {name, name.removesuffix("_FILE")} & Settings.model_fields.keys()
        is_known = settings or name in OWN_VARIABLES or name in NOT_SETTINGS
        assert is_known, f"{document.name} names {name}, which is no setting"
    for path in re.findall(r"`((?:agent|tests)/[a-z_/]+\.py)`", text):
        assert (ROOT / path).exists(), f"{document.name} names {path}"
    for path in re.findall(r"`([a-z_]+/test_[a-z0-9_]+\.py)`", text):
        assert (ROOT / "tests" / path).exists(), f"{document.name} names a test {path}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), f"{document.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{document.name} links to {link}; there is {sorted(anchors(target))}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_metrics_that_are_named_exist(document: Path) -> None:
    named = set(re.findall(r"\bagent_[a-z0-9_]*[a-z0-9]\b", document.read_text()))
    known = {name + suffix for name in METRICS for suffix in ("", "_bucket", "_sum", "_count")}
    assert named <= known, f"{document.name} names {sorted(named - known)}, which are no metrics"


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if path.name in QUOTING], ids=lambda path: path.name
)
def test_what_is_quoted_of_the_agent_is_what_it_says(document: Path) -> None:
    """Whatever is two words or more, in backticks or quotation marks, unless it is to be typed."""
    said = Said()
    prose = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for quoted in (first or second for first, second in re.findall(r"`([^`\n]+)`|\"([^\"\n]+)\"", prose)):
        is_to_be_typed = quoted.split()[0] in COMMANDS or re.match(r"[\w.]+: ", quoted)
        if is_to_be_typed or not re.fullmatch(r"[a-z][^={}<>$&|@*\[\]]* [^={}<>$&|@*\[\]]+", quoted):
            continue
        assert said.has(quoted), f"{document.name} quotes {quoted!r}, which the agent never says"
