"""A values file of Port's own chart, port-agent, works as it is."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from agent import __version__
from agent.settings import load
from tests.chart.combinations import COMBINATIONS, OFFICIAL
from tests.chart.rendering import Rendered, merged, notes_alone, render, render_alone

pytestmark = pytest.mark.chart


@pytest.fixture
def one(helm: str) -> Rendered:
    return render_alone(helm, OFFICIAL)


def test_its_settings_are_the_agents(one: Rendered) -> None:
    for name, value in OFFICIAL["env"]["normal"].items():
        assert one.env[name] == value


def test_its_credentials_are_mounted_and_its_other_secrets_are_variables(one: Rendered) -> None:
    secret = one.one("Secret", "port-agent-credentials")
    assert {key: base64.b64decode(value).decode() for key, value in secret["data"].items()} == OFFICIAL["env"][
        "secret"
    ]
    assert secret["metadata"]["annotations"] == OFFICIAL["secret"]["annotations"]
    assert one.volume("credentials")["secret"]["secretName"] == "port-agent-credentials"
    assert one.env["GROUP_PROJECT_TOKEN"]["secretKeyRef"]["name"] == "port-agent-credentials"
    assert not {"PORT_CLIENT_ID", "PORT_CLIENT_SECRET"} & one.env.keys()


def test_it_is_replaced_as_it_was_and_scaled_as_it_was(one: Rendered) -> None:
    assert one.workload["spec"]["strategy"] == {"type": "Recreate"}
    assert one.workload["spec"]["replicas"] == 2
    assert one.workload["metadata"]["name"] == "port-agent"


def test_its_pod_is_as_asked_and_hardened_where_nothing_was(one: Rendered) -> None:
    spec = one.pod["spec"]
    assert OFFICIAL["podSecurityContext"].items() <= spec["securityContext"].items()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert OFFICIAL["containerSecurityContext"].items() <= one.container["securityContext"].items()
    assert one.container["securityContext"]["readOnlyRootFilesystem"] is True
    resources = one.container["resources"]
    assert resources["limits"] == OFFICIAL["resources"]["limits"]
    assert OFFICIAL["resources"]["requests"].items() <= resources["requests"].items()
    assert spec["imagePullSecrets"] == OFFICIAL["imagePullSecrets"]
    assert one.pod["metadata"]["labels"]["team"] == "platform"
    assert one.pod["metadata"]["annotations"]["example.com/owner"] == "platform"


def test_its_certificate_is_trusted(one: Rendered) -> None:
    assert one.env["SSL_CERT_FILE"] == "/etc/action-agent/ca/crt"
    assert one.volume("ca")["secret"]["secretName"] == "port-agent-cert"
    held = base64.b64decode(one.one("Secret", "-cert")["data"]["crt"]).decode()
    assert held == OFFICIAL["selfSignedCertificate"]["certificate"]


def test_a_limit_of_its_can_be_taken_away(helm: str) -> None:
    one = render_alone(helm, merged(OFFICIAL, {"resources": {"limits": {"cpu": None}}}))
    assert one.container["resources"]["limits"] == {"memory": "256Mi"}
    none = render_alone(helm, merged(OFFICIAL, {"resources": {"limits": None}}))
    assert "limits" not in none.container["resources"]


def test_what_its_limits_mean_here_is_said() -> None:
    said = notes_alone(OFFICIAL)
    assert "resources.limits.cpu is 200m: a throttled agent misses heartbeats" in said
    assert "resources.limits.memory is 256Mi" in said


def test_its_image_is_not_meant_and_that_is_said(one: Rendered) -> None:
    assert one.container["image"] == f"action-agent:{__version__}"
    assert "names the image of Port's own agent. It is not used" in notes_alone(OFFICIAL)


def test_its_mapping_is_mounted(helm: str, one: Rendered) -> None:
    path = one.env["CONTROL_THE_PAYLOAD_CONFIG_PATH"]
    assert path == f"{one.mount('mapping')['mountPath']}/mapping.json"
    assert one.one("ConfigMap", "-mapping")["data"]["mapping.json"] == OFFICIAL["controlThePayloadConfig"]
    assert "CONTROL_THE_PAYLOAD_CONFIG_PATH" not in render(helm, {}).env


def test_of_such_a_secret_the_files_count_and_not_the_variables(
    helm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`env` of a container wins over its `envFrom`, and what is empty is not set: so files can be rotated."""
    one = render(helm, COMBINATIONS["port-agent with a secret of its own"])
    monkeypatch.chdir(tmp_path)
    for name in ("PORT_CLIENT_ID", "PORT_CLIENT_SECRET"):
        path = tmp_path / Path(one.env[f"{name}_FILE"]).name
        path.write_text(f"{name} of the file")
        monkeypatch.setenv(f"{name}_FILE", str(path))
        monkeypatch.setenv(name, one.env[name])
    monkeypatch.setenv("PORT_ORG_ID", "org_1")
    loaded = load()
    assert loaded.PORT_CLIENT_ID == "PORT_CLIENT_ID of the file"
    assert loaded.file_of("PORT_CLIENT_SECRET") is not None


def test_a_secret_that_is_there_already_gives_all_its_keys_and_credentials_as_files(helm: str) -> None:
    one = render(helm, COMBINATIONS["port-agent with a secret of its own"])
    assert one.all("Secret") == []
    assert one.container["envFrom"] == [{"secretRef": {"name": "old-secret"}}]
    assert one.volume("credentials")["secret"]["secretName"] == "old-secret"
    assert one.pod["spec"]["serviceAccountName"] == "old-account"
    assert one.all("ServiceAccount") == []
    assert one.env["SSL_CERT_FILE"] == "/etc/action-agent/ca/tls.crt"
    assert one.volume("ca")["secret"]["secretName"] == "old-ca"
