"""Wrong and missing values: they fail when they are rendered, with a sentence that helps."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.chart.rendering import NEEDED, RefusedError, Rendered, Values, merged, render_alone

pytestmark = pytest.mark.chart
COMPONENT = "app.kubernetes.io/component"
KEDA: Values = {"enabled": True, "maxReplicas": 3}

DIGEST = "sha256:" + "0" * 64
ELSEWHERE: Values = {"command": ["./scripts/b.sh"], "cwd": "/opt/tools"}
SCRIPTS: Values = {
    "routes": {
        "list": [
            {"name": name, "match": {"action": name}, "process": {"command": [f"./scripts/{name}.sh"]}}
            for name in ("a", "b")
        ]
    },
    "scripts": {"files": {"a.sh": "#!/bin/sh\n"}},
}

SENTENCES: list[tuple[Values, str]] = [
    ({"port": {"orgId": ""}}, "port.orgId is missing: the organisation's id, such as org_"),
    (
        {"port": {"existingSecret": ""}},
        "the credentials are missing: give port.existingSecret, a Secret with the keys",
    ),
    ({"port": {"existingSecret": "", "clientId": "id"}}, "port.clientSecret is missing"),
    ({"port": {"existingSecret": "", "clientSecret": "s"}}, "port.clientId is missing"),
    ({"port": {"clientId": "id", "clientSecret": "s"}}, "give one of the two"),
    (
        {"secret": {"useExistingSecret": True}, "port": {"existingSecret": "", "clientId": "id"}},
        "give one of the two",
    ),
    (
        {"routes": {"path": "r.yaml", "existingConfigMap": "routes"}},
        "routes.existingConfigMap and routes.path are given: routes come from one of them",
    ),
    ({"routes": {"file": "./routes.yaml"}}, 'routes.file is "./routes.yaml": it takes the text of a file'),
    ({"routes": {"file": "routes: ["}}, "routes.file is no routes file: "),
    ({"routes": {"file": "- name: a\n"}}, "routes.file is no routes file: "),
    ({"routes": {"file": "route: []"}}, 'routes.file has no routes: it needs the key "routes" with a list'),
    ({"scripts": {"files": {"a": "b"}, "existingConfigMap": "c"}}, "scripts.files and scripts.existingConfigMap"),
    ({"python": {"files": {"a": "b"}, "existingConfigMap": "c"}}, "python.files and python.existingConfigMap"),
    ({"env": {"normal": {"AGENT_STATE_DIR": "/state"}}}, "env.normal.AGENT_STATE_DIR cannot be given there"),
    (
        {"extraEnv": [{"name": "PORT_CLIENT_ID_FILE", "value": "f"}]},
        "extraEnv gives PORT_CLIENT_ID_FILE once more",
    ),
    (
        {"extraEnv": [{"name": "TOKEN", "value": "t"}], "env": {"secret": {"TOKEN": "t"}}},
        "extraEnv gives TOKEN once more",
    ),
    (
        {"env": {"secret": {"LOG_LEVEL": "INFO"}}, "settings": {"LOG_LEVEL": "INFO"}},
        "env.secret gives LOG_LEVEL once more",
    ),
    ({"extraLabels": {COMPONENT: "a"}}, f"extraLabels.{COMPONENT} cannot be given: the chart's selectors ask"),
    ({"podLabels": {COMPONENT: "a"}}, f"podLabels.{COMPONENT} cannot be given: the chart's selectors ask"),
    (
        {"strategy": {"type": "Recreate"}, "persistence": {"enabled": True}},
        "strategy.type is Recreate, which a StatefulSet (persistence.enabled) does not have",
    ),
    ({"secret": {"useExistingSecret": True}}, "secret.name is missing: the Secret that is there already"),
    (
        {"extraEnv": [{"name": "LOG_LEVEL", "value": "INFO"}], "settings": {"LOG_LEVEL": "INFO"}},
        "extraEnv gives LOG_LEVEL",
    ),
    ({"settings": {"AGENT_HTTP_PORT": 0}}, "AGENT_HTTP_PORT is 0, which takes any free port"),
    ({"keda": {"enabled": True}}, "keda.maxReplicas is missing: the number of partitions of the topic org_1.runs"),
    ({"keda": {**KEDA, "minReplicas": 4}}, "keda.minReplicas is 4, more than keda.maxReplicas, 3"),
    ({"keda": {**KEDA, "trigger": "kafka"}}, "keda.kafka.bootstrapServers is missing: KEDA cannot ask Port"),
    ({"keda": {**KEDA, "trigger": "prometheus"}}, "keda.prometheus.serverAddress is missing"),
    ({"autoscaling": {"enabled": True}}, "autoscaling.maxReplicas is missing"),
    (
        {"autoscaling": {"enabled": True, "maxReplicas": 2}, "keda": KEDA},
        "only one of them can decide over the replicas",
    ),
    ({"extraCA": {"configMap": "a", "secret": "b"}}, "extraCA.configMap and extraCA.secret are given"),
    ({"extraCA": {"kafka": True}}, "extraCA.kafka is true, but there are no CAs"),
    (
        {"extraCA": {"secret": "a"}, "selfSignedCertificate": {"enabled": True, "certificate": "c"}},
        "the agent reads one file of CAs",
    ),
    ({"selfSignedCertificate": {"enabled": True}}, "selfSignedCertificate.certificate is missing"),
    (
        {"selfSignedCertificate": {"enabled": True, "secret": {"useExistingSecret": True}}},
        "selfSignedCertificate.secret.name is missing",
    ),
    ({"image": {"repository": "mirror.internal/port-labs/port-agent"}}, "this chart runs another program"),
    ({"image": {"repository": "agent:1.0"}}, "image.repository is agent:1.0: a tag goes into image.tag"),
    ({"image": {"repository": f"agent@{DIGEST}"}}, "a digest into image.digest"),
    ({"image": {"registry": "registry.internal/"}}, "image.registry is registry.internal/: give a host"),
    ({"image": {"registry": "https://registry.internal"}}, "with no scheme and no slash at its ends"),
    ({"image": {"tag": "1.0:latest"}}, "image.tag is 1.0:latest, which is no tag"),
    ({"image": {"tag": DIGEST}}, "a digest goes into image.digest"),
    (SCRIPTS, "routes call ./scripts/b.sh, which scripts.files does not have: give it there by that name"),
    (
        {
            "routes": {"list": [], "file": yaml.safe_dump({"routes": SCRIPTS["routes"]["list"]})},
            "scripts": SCRIPTS["scripts"],
        },
        "routes call ./scripts/b.sh, which",
    ),
    (
        {"env": {"normal": {"STREAMER_NAME": "KafkaToWebhookStreamer"}}},
        "STREAMER_NAME is KafkaToWebhookStreamer: give KAFKA, POLLING, or leave it out",
    ),
    (
        {"resources": {"limits": {"memory": 512}}},
        "resources.limits.memory is 512: a number without a unit is bytes",
    ),
    ({"resources": {"requests": {"memory": "512m"}}}, "resources.requests.memory is 512m: "),
    ({"resources": {"limits": {"ephemeral-storage": "2"}}}, "resources.limits.ephemeral-storage is 2: "),
    ({"persistence": {"size": 2}}, "persistence.size is 2: "),
    ({"persistence": {"sizeLimit": 2}}, "persistence.sizeLimit is 2: "),
    ({"tmp": {"sizeLimit": 256}}, "tmp.sizeLimit is 256: "),
]

WRONG_FORMS: list[tuple[Values, tuple[str, ...]]] = [
    ({"replicas": 3}, ("replicas",)),
    ({"port": {"orgID": "o"}}, ("port", "orgID")),
    ({"settings": {"AGENT_DRAIN_TIMEOUT": 5}}, ("settings", "AGENT_DRAIN_TIMEOUT")),
    ({"settings": {"AGENT_DRAIN_TIMEOUT_S": -1}}, ("AGENT_DRAIN_TIMEOUT_S",)),
    ({"settings": {"LOG_LEVEL": "chatty"}}, ("LOG_LEVEL", "DEBUG")),
    ({"settings": {"AGENT_HTTP_PORT": 70000}}, ("AGENT_HTTP_PORT",)),
    ({"replicaCount": "many"}, ("replicaCount", "integer")),
    ({"port": {"baseUrl": "api.port.io"}}, ("baseUrl",)),
    ({"routes": {"list": [{"match": {"action": "a"}}]}}, ("routes", "name")),
    ({"keda": {"minReplicas": 0}}, ("minReplicas",)),
    ({"keda": {"trigger": "apache-kafka"}}, ("trigger", "kafka")),
    ({"resources": {"limits": {"memory": "512 MB"}}}, ("memory",)),
    ({"persistence": {"mountPath": "state"}}, ("mountPath",)),
    ({"image": {"repository": ""}}, ("repository",)),
    ({"image": {"digest": "latest"}}, ("digest",)),
    ({"probes": {"liveness": {"perodSeconds": 5}}}, ("perodSeconds",)),
    ({"extraEnv": {"A": "b"}}, ("extraEnv",)),
    ({"scripts": {"files": {"sub/create.sh": "a"}}}, ("sub/create.sh",)),
    ({"terminationGracePeriodSeconds": "30s"}, ("terminationGracePeriodSeconds",)),
    ({"metrics": {"prometheusRule": {"thresholds": {"Saturated": "high"}}}}, ("Saturated",)),
    ({"networkPolicy": {"dnsPorts": ["dns"]}}, ("dnsPorts",)),
]


def refusal(helm: str, values: Values) -> str:
    with pytest.raises(RefusedError) as caught:
        render_alone(helm, merged(NEEDED, values))
    return str(caught.value)


@pytest.mark.parametrize(("values", "sentence"), SENTENCES, ids=lambda one: one if isinstance(one, str) else "")
def test_values_that_contradict_or_lack_something(helm: str, values: Values, sentence: str) -> None:
    assert sentence in refusal(helm, values)


@pytest.mark.parametrize(
    ("values", "words"), WRONG_FORMS, ids=lambda one: ".".join(one) if isinstance(one, tuple) else ""
)
def test_values_of_a_wrong_form_or_name(helm: str, values: Values, words: tuple[str, ...]) -> None:
    said = refusal(helm, values)
    assert "don't meet the specifications of the schema" in said
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    "values",
    [
        {"routes": SCRIPTS["routes"]},
        {"routes": SCRIPTS["routes"], "scripts": {"existingConfigMap": "mine"}},
        {
            "routes": {"list": [{**SCRIPTS["routes"]["list"][1], "process": ELSEWHERE}]},
            "scripts": SCRIPTS["scripts"],
        },
        {"settings": {"STREAMER_NAME": "Kafka"}},
        {"settings": {"STREAMER_NAME": "POLLING", "POLLING_INTERVAL_SECONDS": 5}},
        {"settings": {"KAFKA_CONSUMER_GROUP_ID": "foo"}},
        {"resources": {"limits": {"memory": 536870912}, "requests": {"memory": 0, "cpu": "100m"}}},
        {"image": {"repository": "registry.internal:5000/team/agent", "tag": "v1.0_rc.1"}},
        {"image": {"tag": f"1.0@{DIGEST}"}},
        {"strategy": {"type": None}, "persistence": {"enabled": True}},
        {"env": {"normal": {"MY_TOOL_TIMEOUT_S": "10m"}}},
    ],
    ids=str,
)
def test_what_may_be_right_is_taken(helm: str, values: Values) -> None:
    assert render_alone(helm, merged(NEEDED, values)).workload


def test_all_problems_are_said_at_once(helm: str) -> None:
    said = refusal(helm, {"port": {"orgId": "", "existingSecret": ""}, "terminationGracePeriodSeconds": 5})
    assert said.count("\n  - ") == 3


@pytest.mark.parametrize("values", [{"global": {"imageRegistry": "r", "deep": {"er": 1}}}, {"enabled": True}])
def test_a_parent_chart_may_share_its_values(helm: str, values: dict[str, Any]) -> None:
    assert isinstance(render_alone(helm, merged(NEEDED, values)), Rendered)
