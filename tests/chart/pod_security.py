"""The Pod Security Standard ``restricted``, as the API server asks it of a pod (Kubernetes 1.28 to 1.36)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
}  # fmt: skip
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_SECCOMP = {"RuntimeDefault", "Localhost"}


def violations(spec: dict[str, Any]) -> list[str]:
    """Why a namespace that enforces ``restricted`` would refuse a pod with this spec; nothing: it would not."""
    return [*_of_pod(spec), *(line for one in _containers(spec) for line in _of_container(one, spec))]


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [container for kind in kinds for container in spec.get(kind, ())]


def _of_pod(spec: dict[str, Any]) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"{name} is true"
    for volume in spec.get("volumes", ()):
        kinds = volume.keys() - {"name"}
        if not kinds <= _VOLUMES:
            yield f"volume {volume['name']} is {kinds}"
    for sysctl in spec.get("securityContext", {}).get("sysctls", ()):
        if sysctl["name"] not in _SYSCTLS:
            yield f"sysctl {sysctl['name']}"


def _of_container(container: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    own, pod = container.get("securityContext", {}), spec.get("securityContext", {})
    either = {**pod, **own}
    capabilities = own.get("capabilities", {})
    asked = {
        "is privileged": not own.get("privileged"),
        "may escalate its privileges": own.get("allowPrivilegeEscalation") is False,
        "does not drop all capabilities": "ALL" in capabilities.get("drop", ()),
        "adds capabilities": set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"},
        "may be root": either.get("runAsNonRoot") is True,
        "is root": either.get("runAsUser") != 0,
        "has no seccomp profile": either.get("seccompProfile", {}).get("type") in _SECCOMP,
        "has another /proc": own.get("procMount", "Default") == "Default",
        "has a port of the host": not any(port.get("hostPort") for port in container.get("ports", ())),
        "probes another host": not any(
            container.get(probe, {}).get("httpGet", {}).get("host") for probe in _PROBES
        ),
    }
    yield from (f"{container['name']} {what}" for what, is_so in asked.items() if not is_so)
