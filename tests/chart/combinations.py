"""Values in many combinations: every one must give manifests that a cluster takes."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.chart.rendering import Values

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
ROUTES = [
    {
        "name": "create",
        "match": {"action": "create_*"},
        "process": {"command": ["./scripts/create.sh", "{{ .inputs.name }}"], "timeout": "10m"},
        "max_concurrent": 1000000,
    },
    {"name": "scaffold", "match": {"action": "scaffold"}, "python": {"callable": "my_actions:scaffold"}},
]
OFFICIAL = Path(__file__).with_name("port_agent_values.yaml")
"""As somebody has it who runs Port's own agent with its chart."""

COMBINATIONS: dict[str, Values] = {
    "nothing but what is needed": {},
    "inline credentials": {"port": {"existingSecret": "", "clientId": "id", "clientSecret": "s3cret", "baseUrl": "https://api.us.port.io"}},
    "keys of an existing secret": {"port": {"clientIdKey": "id", "clientSecretKey": "secret"}},
    "everything from values": {
        "routes": {"list": ROUTES},
        "scripts": {"files": {"create.sh": "#!/bin/sh\necho \"creating $1\"\n"}},
        "python": {"files": {"my_actions.py": "def scaffold(run):\n    return 'done'\n"}, "path": "/opt/actions"},
        "settings": {"AGENT_MAX_CONCURRENT_RUNS": 1000000, "LOG_LEVEL": "debug", "AGENT_HTTP_PORT": 9090, "WEBHOOK_VERIFY_SSL": False, "AGENT_JQ_TIMEOUT_S": 0.5},
    },
    "routes as a file": {"routes": {"file": "routes: [{name: a, match: {action: b}, http: {}}]\n"}},
    "config maps": {
        "routes": {"existingConfigMap": "my-routes", "key": "my.yaml"},
        "scripts": {"existingConfigMap": "my-scripts"},
        "python": {"existingConfigMap": "my-python"},
    },
    "a derived image": {
        "routes": {"path": "routes.yaml"},
        "python": {"path": "/etc/action-agent/python:/opt/more"},
        "image": {"registry": "registry.internal:5000", "repository": "team/agent", "tag": "7"},
        "imagePullSecrets": [{"name": "regcred"}],
    },
    "an image by digest": {"image": {"registry": "registry.internal", "digest": "sha256:" + "0" * 64}},
    "volumes of their own": {
        "routes": {"path": "/actions/routes.yaml"},
        "extraVolumes": [{"name": "actions", "persistentVolumeClaim": {"claimName": "{{ .Release.Name }}-actions"}}],
        "extraVolumeMounts": [{"name": "actions", "mountPath": "/actions", "readOnly": True}],
    },
    "persistent state": {
        "persistence": {"enabled": True, "storageClass": "fast", "size": "5Gi", "annotations": {"a": "b"}},
        "replicaCount": 3,
    },
    "a long drain": {"settings": {"AGENT_DRAIN_TIMEOUT_S": 3600, "AGENT_KILL_GRACE_S": "20"}},
    "a longer grace period": {"terminationGracePeriodSeconds": 900},
    "several replicas": {"replicaCount": 3},
    "several replicas without a budget": {"replicaCount": 3, "podDisruptionBudget": {"enabled": False}},
    "no replicas": {"replicaCount": 0},
    "recreate": {"strategy": {"type": "Recreate"}},
    "keda by waiting runs": {"keda": {"enabled": True, "maxReplicas": 6, "annotations": {"a": "b"}}},
    "keda of a stateful set": {"keda": {"enabled": True, "maxReplicas": 6, "fallbackReplicas": 2}, "persistence": {"enabled": True}},
    "keda by prometheus": {
        "keda": {
            "enabled": True, "maxReplicas": 6, "trigger": "prometheus",
            "prometheus": {"serverAddress": "http://prometheus.monitoring:9090", "authenticationRef": "prometheus"},
            "extraTriggers": [{"type": "cron", "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 18 * * *", "desiredReplicas": "2"}}],
        },
    },
    "keda by lag": {
        "keda": {
            "enabled": True, "maxReplicas": 6, "trigger": "kafka",
            "kafka": {"bootstrapServers": "b-1:9196,b-2:9196", "existingSecret": "kafka-credentials"},
        },
        "settings": {"KAFKA_CONSUMER_AUTO_OFFSET_RESET": "latest", "KAFKA_CONSUMER_GROUP_ID": "org_1.mine"},
    },
    "keda by lag, brokers by an own ca": {
        "keda": {"enabled": True, "maxReplicas": 6, "trigger": "kafka", "kafka": {"bootstrapServers": "kafka:9093"}},
        "extraCA": {"configMap": "corporate-ca", "kafka": True},
    },
    "keda by lag, by a secret's ca and without tls": {
        "keda": {"enabled": True, "maxReplicas": 6, "trigger": "kafka", "kafka": {"bootstrapServers": "kafka:9092", "tls": False}},
        "extraCA": {"secret": "corporate-ca", "key": "bundle.pem", "kafka": True},
    },
    "a horizontal autoscaler": {"autoscaling": {"enabled": True, "maxReplicas": 4}},
    "a horizontal autoscaler on waiting runs": {
        "autoscaling": {
            "enabled": True, "minReplicas": 2, "maxReplicas": 4,
            "metrics": [{"type": "Pods", "pods": {"metric": {"name": "agent_runs_waiting"}, "target": {"type": "AverageValue", "averageValue": "10"}}}],
        },
        "persistence": {"enabled": True},
    },
    "network policy": {"networkPolicy": {"enabled": True}},
    "network policy with rules": {
        "networkPolicy": {
            "enabled": True, "kafkaPorts": [9093],
            "ingressFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"protocol": "TCP", "port": 8443}]}],
        },
    },
    "extra ca": {"extraCA": {"configMap": "corporate-ca"}},
    "openshift": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
    "where it runs": {
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "actions", "effect": "NoSchedule"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app.kubernetes.io/instance": "{{ .Release.Name }}"}}}}]}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app.kubernetes.io/instance": "{{ .Release.Name }}"}}}],
        "priorityClassName": "important", "runtimeClassName": "gvisor",
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["ops.internal"]}],
        "dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.10"]},
    },
    "extras": {
        "extraEnv": [{"name": "REGION", "value": "{{ .Release.Namespace }}"}, {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "tokens", "key": "git"}}}],
        "envFrom": [{"configMapRef": {"name": "{{ .Release.Name }}-env"}}],
        "initContainers": [{"name": "fetch", "image": "git", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}],
        "extraContainers": [{"name": "sync", "image": "git", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}],
        "extraManifests": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}, "data": {"a": "b"}},
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-text\n",
        ],
        "podAnnotations": {"example.com/release": "{{ .Release.Name }}"}, "podLabels": {"team": "platform"}, "extraLabels": {"cost": "4711"},
        "service": {"annotations": {"a": "b"}},
    },
    "service account of another": {"serviceAccount": {"create": False, "name": "robot", "automount": True}},
    "service account for a cloud": {"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"}}},
    "names": {"nameOverride": "actions", "fullnameOverride": "port-actions"},
    "no probes": {"probes": {"startup": None, "liveness": None, "readiness": None}},
    "port-agent": yaml.safe_load(OFFICIAL.read_text("utf-8")),
    "port-agent with a secret of its own": {
        "port": {"orgId": "", "existingSecret": ""},
        "env": {"normal": {"PORT_ORG_ID": "org_1", "KAFKA_CONSUMER_GROUP_ID": "org_1.old"}},
        "secret": {"useExistingSecret": True, "name": "old-secret"},
        "podServiceAccount": {"name": "old-account"},
        "selfSignedCertificate": {"enabled": True, "secret": {"useExistingSecret": True, "name": "old-ca", "key": "tls.crt"}},
    },
}  # fmt: skip
