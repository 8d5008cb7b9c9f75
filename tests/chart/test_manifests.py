"""What holds of all manifests, whatever the values."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.combinations import COMBINATIONS, PORT_AGENT
from tests.chart.documented_values import HELM
from tests.chart.pod_security import violations
from tests.chart.rendering import HELMS, NEEDED, RefusedError, Rendered, merged, render, render_alone, run, tools
from tests.chart.schemas import VERSIONS, complaints

pytestmark = pytest.mark.chart
every_combination = pytest.mark.parametrize("name", COMBINATIONS)


def rendered(name: str, helm: str = "helm4") -> Rendered:
    return (render_alone if name == PORT_AGENT else render)(helm, COMBINATIONS[name])


def pods(one: Rendered) -> list[dict[str, Any]]:
    specs: list[dict[str, Any]] = [one.pod["spec"], *(pod["spec"] for pod in one.all("Pod"))]
    return specs


@every_combination
def test_helm_3_and_helm_4_make_the_same(name: str) -> None:
    def in_order(one: Rendered) -> list[Any]:
        return sorted(one.manifests, key=lambda manifest: (manifest["kind"], manifest["metadata"]["name"]))

    three, four = (in_order(rendered(name, helm)) for helm in HELMS)
    assert three == four


@every_combination
def test_clusters_of_every_version_take_it(name: str) -> None:
    for manifest in rendered(name).manifests:
        for version in VERSIONS:
            said = complaints(manifest, version)
            assert not said, f"Kubernetes {version}, {manifest['kind']} {manifest['metadata']['name']}: {said}"


@every_combination
def test_a_restricted_namespace_takes_its_pods(name: str) -> None:
    for spec in pods(rendered(name)):
        assert violations(spec) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hostNetwork": True}, "hostNetwork is true"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "volume v is {'hostPath'}"),
        ({"securityContext": {}}, "agent may be root"),
        ({"securityContext": {"runAsNonRoot": True}}, "agent has no seccomp profile"),
    ],
)
def test_the_check_of_pods_finds_what_is_wrong(change: dict[str, Any], said: str) -> None:
    assert said in violations({**rendered("extras").pod["spec"], **change})


def test_the_check_of_manifests_finds_what_is_wrong() -> None:
    deployment = copy.deepcopy(rendered("extras").workload)
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    assert complaints(deployment, "1.28")
    scaled = copy.deepcopy(rendered("keda by waiting runs").one("ScaledObject"))
    scaled["spec"]["maxReplicas"] = scaled["spec"].pop("maxReplicaCount")
    assert complaints(scaled, "1.28")


@every_combination
def test_everything_is_labelled_and_has_a_namespace(name: str) -> None:
    for manifest in rendered(name).manifests:
        metadata = manifest["metadata"]
        if metadata["name"] in {"release-extra", "release-text"}:
            continue
        assert metadata["namespace"] == "actions"
        assert metadata["labels"]["app.kubernetes.io/instance"] == "release"
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm"


@every_combination
def test_what_selects_pods_selects_the_agents_and_not_the_doctors(name: str) -> None:
    one = rendered(name)
    labels, doctor = one.pod["metadata"]["labels"], one.doctor["metadata"]["labels"]
    budgets = [budget["spec"]["selector"]["matchLabels"] for budget in one.all("PodDisruptionBudget")]
    for selector in [
        one.workload["spec"]["selector"]["matchLabels"],
        *(service["spec"]["selector"] for service in one.all("Service")),
        *budgets,
    ]:
        assert selector.items() <= labels.items()
        assert not selector.items() <= doctor.items()


@every_combination
def test_every_mounted_volume_is_there_and_every_volume_is_mounted(name: str) -> None:
    one = rendered(name)
    claims = {claim["metadata"]["name"] for claim in one.workload["spec"].get("volumeClaimTemplates", ())}
    for spec, claimed in ((one.pod["spec"], claims), (one.doctor["spec"], set[str]())):
        volumes = [*(volume["name"] for volume in spec["volumes"]), *claimed]
        mounts = [mount["name"] for mount in spec["containers"][0]["volumeMounts"]]
        assert sorted(volumes) == sorted(mounts)


@every_combination
def test_nothing_is_mounted_by_a_sub_path_which_would_never_change(name: str) -> None:
    for spec in pods(rendered(name)):
        assert not [mount for mount in spec["containers"][0]["volumeMounts"] if "subPath" in mount]


@every_combination
def test_no_variable_is_given_twice(name: str) -> None:
    names = [variable["name"] for variable in rendered(name).container["env"]]
    assert len(names) == len(set(names))


def test_what_our_pods_are_by_default(helm: str) -> None:
    one = render(helm, {})
    assert one.kinds == {"Deployment", "Service", "ServiceAccount", "Pod"}
    for spec in pods(one):
        assert spec["enableServiceLinks"] is False
        assert spec["automountServiceAccountToken"] is False
        assert spec["serviceAccountName"] == "release-action-agent"
        container = spec["containers"][0]
        assert container["resources"] == {
            "requests": {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "256Mi"},
            "limits": {"memory": "512Mi"},
        }
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert {
            name: volume["emptyDir"]
            for volume in spec["volumes"]
            if "emptyDir" in volume
            for name in [volume["name"]]
        } == {
            "state": {"sizeLimit": "2Gi"},
            "tmp": {"sizeLimit": "256Mi"},
        }
    assert one.workload["spec"]["revisionHistoryLimit"] == 3
    assert one.workload["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert one.one("ServiceAccount")["automountServiceAccountToken"] is False


def test_labels_and_annotations_that_are_given_take_the_place_of_the_charts(helm: str) -> None:
    given = {
        "extraLabels": {"app.kubernetes.io/version": "7", "team": "platform"},
        "podLabels": {"team": "{{ .Release.Name }}", "helm.sh/chart": "mine"},
        "podAnnotations": {"kubectl.kubernetes.io/default-container": "sync", "checksum/python": "never"},
        "python": {"files": {"a.py": ""}},
    }
    command = [tools() / helm, "template", "release", HELM, "--values", "-"]
    text = run(command, yaml.safe_dump(merged(NEEDED, given)))
    assert list(twice(text)) == []
    metadata = render(helm, given).pod["metadata"]
    assert metadata["labels"]["app.kubernetes.io/version"] == "7"
    assert metadata["labels"]["team"] == "release"
    assert metadata["labels"]["helm.sh/chart"] == "mine"
    assert metadata["annotations"]["kubectl.kubernetes.io/default-container"] == "sync"
    # Or a change of what is read once would roll no pods.
    assert metadata["annotations"]["checksum/python"] != "never"


def twice(text: str) -> Iterator[str]:
    """Keys that stand twice in one map."""
    nodes = list(yaml.compose_all(text))
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            yield from {key for key in keys if keys.count(key) > 1}
            nodes += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value


def test_a_release_may_be_called_by_a_number(helm: str) -> None:
    text = run([tools() / helm, "template", "123", HELM, "--values", "-"], yaml.safe_dump(NEEDED))
    for manifest in yaml.safe_load_all(text):
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "123"


def test_a_network_policy_lets_names_be_asked_for_on_openshift_too(helm: str) -> None:
    dns, *_ = render(helm, {"networkPolicy": {"enabled": True}}).one("NetworkPolicy")["spec"]["egress"]
    assert dns == {
        "ports": [{"protocol": protocol, "port": port} for port in (53, 5353) for protocol in ("UDP", "TCP")]
    }


@pytest.mark.parametrize("name", ["startup", "liveness", "readiness"])
def test_a_probe_of_another_kind_takes_the_place_of_ours(helm: str, name: str) -> None:
    probe = {"httpGet": None, "tcpSocket": {"port": "http"}}
    one = render(helm, {"probes": {name: probe}})
    assert complaints(one.workload, "1.36") == []
    assert "httpGet" not in one.container[f"{name}Probe"]
    assert one.container[f"{name}Probe"]["tcpSocket"] == {"port": "http"}


def test_the_doctor_is_a_test_of_helm_with_the_agents_own_settings(helm: str) -> None:
    one = render(helm, COMBINATIONS["everything from values"])
    assert one.doctor["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (doctor,) = one.doctor["spec"]["containers"]
    assert doctor["args"] == ["doctor"]
    assert doctor["image"] == one.container["image"]
    assert doctor["env"] == one.container["env"]
    assert doctor["volumeMounts"] == one.container["volumeMounts"]


def test_it_refuses_older_clusters(helm: str) -> None:
    command = [tools() / helm, "template", "release", HELM, "--set", "port.orgId=o,port.existingSecret=s"]
    assert run([*command, "--kube-version", "1.28.0-gke.100"])
    with pytest.raises(RefusedError, match=r"requires kubeVersion: >=1\.28\.0-0"):
        run([*command, "--kube-version", "1.27.9"])


@pytest.mark.parametrize("name", ["nothing but what is needed", "everything from values", "port-agent"])
def test_the_strictest_lint_has_nothing_to_say(helm: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(merged(NEEDED, COMBINATIONS[name])))
    said = run([tools() / helm, "lint", HELM, "--strict", "--values", tmp_path / "values.yaml"])
    assert "0 chart(s) failed" in said
