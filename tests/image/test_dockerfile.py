"""What must stay true of the image, read off its Dockerfile: nothing is built here."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from agent.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text("utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@dataclass(frozen=True)
class Instruction:
    name: str
    rest: str


def instructions() -> list[Instruction]:
    """In order, without comments, continued lines joined."""
    lines = [line for line in TEXT.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, from its FROM on."""
    found: list[list[Instruction]] = []
    for instruction in instructions():
        if instruction.name == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


BUILDER, FINAL = stages()


def of(stage: list[Instruction], name: str) -> list[str]:
    return [instruction.rest for instruction in stage if instruction.name == name]


def variables(stage: list[Instruction]) -> dict[str, str]:
    pairs = (word.partition("=") for rest in of(stage, "ENV") for word in shlex.split(rest))
    return {name: value for name, _, value in pairs}


def copied(stage: list[Instruction]) -> Iterator[tuple[str, str]]:
    """Every source in the build context with where it goes."""
    for rest in of(stage, "COPY"):
        words = rest.split()
        if not words[0].startswith("--from="):
            yield from ((source.rstrip("/"), words[-1]) for source in words[:-1])


def commands(stage: list[Instruction]) -> list[list[str]]:
    """The shell commands of every RUN, its options left out."""
    runs = (re.sub(r"^(--\S+\s+)+", "", rest) for rest in of(stage, "RUN"))
    return [shlex.split(command) for run in runs for command in run.split("&&")]


# ── where it comes from ──────────────────────────────────────────────────────────────────────────────────


def test_every_stage_stands_on_the_base_that_the_builder_chooses() -> None:
    before = list(takewhile(lambda instruction: instruction.name != "FROM", instructions()))
    [base] = before
    assert base.name == "ARG"
    assert re.fullmatch(r"BASE_IMAGE=\S+:3\.\d+-slim\S*", base.rest)
    assert [rest.split()[0] for stage in stages() for rest in of(stage, "FROM")] == ["${BASE_IMAGE}"] * 2


def test_it_names_no_index_and_trusts_no_host() -> None:
    for word in ("://", "index-url", "INDEX_URL", "find-links", "FIND_LINKS", "trusted-host", "TRUSTED_HOST"):
        assert word not in TEXT


def test_wheels_are_installed_with_hashes_and_nothing_else_is_installed() -> None:
    always = variables(BUILDER)
    assert always["PIP_REQUIRE_HASHES"] == "1"
    assert always["PIP_ONLY_BINARY"] == ":all:"
    requirements = set()
    for run in of(BUILDER, "RUN"):
        if "PIP_REQUIRE_HASHES" in run:
            # Our own wheel has no hash yet: from the files at hand, then, and nothing with it.
            assert "export PIP_REQUIRE_HASHES=0 PIP_NO_INDEX=1 PIP_NO_DEPS=1 " in run
        else:
            requirements |= set(re.findall(r"requirements/\S+\.txt(?= |$)", run))
    assert requirements == {"requirements/${EXTRAS:-runtime}.txt", "requirements/dev.txt"}
    installs = [command[-1] for command in commands(BUILDER) if "install" in command]
    assert installs == ["pip.txt", "hatchling", "requirements/${EXTRAS:-runtime}.txt", "wheels/*.whl"]


def test_the_extras_that_can_be_built_in_have_their_hashes_with_all_that_the_agent_needs() -> None:
    assert "EXTRAS=otel" in of(BUILDER, "ARG")
    pinned = {
        name: set(
            re.findall(r"^\S+==\S+", (ROOT / "requirements" / f"{name}.txt").read_text("utf-8"), re.MULTILINE)
        )
        for name in ("runtime", *PROJECT["project"]["optional-dependencies"])
    }
    assert pinned.keys() == {"runtime", "otel"}
    assert pinned["runtime"] < pinned["otel"]
    assert any(line.startswith("opentelemetry-sdk==") for line in pinned["otel"])


@pytest.mark.parametrize("package", ["pip", "hatchling"])
def test_what_builds_the_wheel_has_its_hashes_in_dev_txt(package: str) -> None:
    """As the builder's sed takes them: a pinned line, and hashes up to the first line that goes no further."""
    dev = (ROOT / "requirements" / "dev.txt").read_text("utf-8")
    assert re.search(rf"^{package}==\S+ \\\n(    --hash=sha256:\w+ \\\n)*    --hash=sha256:\w+$", dev, re.MULTILINE)
    assert "hatchling" in PROJECT["build-system"]["requires"]


# ── what gets in ─────────────────────────────────────────────────────────────────────────────────────────


def in_the_context(path: str) -> bool:
    """Whether .dockerignore lets it through: the last pattern that fits it or a directory above decides."""
    let_through = True
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = re.escape(line.lstrip("!").rstrip("/"))
        pattern = pattern.replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        above = (str(part) for part in (PurePosixPath(path), *PurePosixPath(path).parents) if part.name)
        if any(re.fullmatch(pattern, part) for part in above):
            let_through = line.startswith("!")
    return let_through


def test_everything_that_is_copied_is_there_and_let_through() -> None:
    sources = [source for source, _ in copied(BUILDER)]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert in_the_context(source), source


def test_every_file_of_the_package_is_let_through() -> None:
    files = [path.relative_to(ROOT) for path in (ROOT / "agent").rglob("*") if path.is_file()]
    kept = [path for path in files if "__pycache__" not in path.parts]
    assert len(kept) > 100
    assert [path for path in kept if not in_the_context(str(path))] == []


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        ".venv/bin/python",
        ".cache/ci/tests.xml",
        "agent/.env",
        "agent/__pycache__/cli.cpython-311.pyc",
        "agent/domain/__pycache__/run.cpython-311.pyc",
        "docs/image.md",
        "tests/image/test_dockerfile.py",
        "Dockerfile",
    ],
)
def test_what_the_image_is_not_made_of_stays_out(path: str) -> None:
    assert not in_the_context(path)


def test_all_that_the_wheel_is_built_from_is_copied() -> None:
    project = PROJECT["project"]
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {"pyproject.toml", project["readme"], *project["license-files"], *packages}
    # A file lands in a directory under its own name; of a directory only what is in it does.
    places = {
        source: PurePosixPath(place) if (ROOT / source).is_dir() else PurePosixPath(place) / source
        for source, place in copied(BUILDER)
    }
    assert {source: str(places.get(source)) for source in needed} == {source: source for source in needed}


def test_the_final_stage_takes_only_what_the_builder_made_and_installs_nothing() -> None:
    assert list(copied(FINAL)) == []
    assert of(FINAL, "COPY") == ["--from=builder /opt/action-agent /opt/action-agent"]
    assert of(FINAL, "ADD") == []
    programs = {command[0] for command in commands(FINAL)}
    assert programs == {"groupadd", "useradd", "install", "/opt/action-agent/bin/action-agent"}


# ── how it runs ──────────────────────────────────────────────────────────────────────────────────────────


def test_it_runs_as_a_user_that_a_cluster_can_see_is_not_root() -> None:
    [user] = of(FINAL, "USER")
    assert user == "10001:10001"
    assert [command[command.index("--uid") + 1] for command in commands(FINAL) if "--uid" in command] == ["10001"]


def test_it_is_the_agent_without_a_shell_in_between() -> None:
    """Else SIGTERM would end a shell, and the agent without its drain."""
    [entrypoint], [command] = of(FINAL, "ENTRYPOINT"), of(FINAL, "CMD")
    assert json.loads(entrypoint) == ["action-agent"]
    assert json.loads(command) == ["run"]
    assert "action-agent" in PROJECT["project"]["scripts"]
    assert variables(FINAL)["PATH"].startswith("/opt/action-agent/bin:")
    assert of(FINAL, "STOPSIGNAL") == []


def test_on_a_read_only_root_all_that_is_written_to_is_a_volume() -> None:
    [volumes] = of(FINAL, "VOLUME")
    state = variables(FINAL)["AGENT_STATE_DIR"]
    assert json.loads(volumes) == ["/tmp", state]
    made = [command for command in commands(FINAL) if command[0] == "install"]
    assert ["install", "--directory", "--owner=10001", "--group=0", "--mode=0770", state] in made


def test_the_working_directory_is_made_and_stays_root_s() -> None:
    """WORKDIR alone makes none in buildah; a runtime then would, for the user, or fail on a read-only root."""
    assert of(FINAL, "WORKDIR") == ["/etc/action-agent"]
    assert ["install", "--directory", "--mode=0755", "/etc/action-agent"] in commands(FINAL)


def test_bytecode_is_made_at_build_and_never_later() -> None:
    assert ["python3", "-m", "compileall"] in [command[:3] for command in commands(BUILDER)]
    assert variables(FINAL)["PYTHONDONTWRITEBYTECODE"] == "1"


def test_it_exposes_the_port_that_is_the_default() -> None:
    assert of(FINAL, "EXPOSE") == [str(Settings.model_fields["AGENT_HTTP_PORT"].default)]


def test_it_sets_no_setting_that_does_not_exist() -> None:
    ours = {name for name in variables(FINAL) if name.startswith(("AGENT_", "PORT_", "KAFKA_"))}
    assert ours == {"AGENT_STATE_DIR"}
    assert ours <= Settings.model_fields.keys()


def test_its_labels_say_what_it_is() -> None:
    [labels] = of(FINAL, "LABEL")
    said = dict(word.split("=", 1) for word in shlex.split(labels))
    prefix = "org.opencontainers.image."
    assert said[f"{prefix}licenses"] == PROJECT["project"]["license"]
    for name, argument in (("version", "VERSION"), ("revision", "REVISION"), ("base.name", "BASE_IMAGE")):
        assert said[prefix + name] == f"${{{argument}}}"
        assert any(rest.partition("=")[0] == argument for rest in of(FINAL, "ARG"))
