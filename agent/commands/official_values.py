"""Turns a values file of Port's own chart (port-agent 0.8.15) into one of this project's chart."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.commands.official_settings import CREDENTIALS, MAPPING_PATH, hides, is_kept
from agent.domain.errors import ConfigurationError
from agent.domain.json import Json, JsonObject, as_object, as_text
from agent.routing.document import Document
from agent.routing.places import member
from agent.routing.templates import kind
from agent.settings import Settings

SECRET_NAME = "action-agent-credentials"  # noqa: S105 - the name of a Secret
"""The Secret that holds what stood in ``env.secret``; whoever migrates makes it."""

_SAME = (
    *("replicaCount", "imagePullSecrets", "nameOverride", "fullnameOverride", "extraLabels", "podAnnotations"),
    *("podSecurityContext", "containerSecurityContext", "extraVolumes", "extraVolumeMounts", "nodeSelector"),
    *("tolerations", "affinity"),
)
"""Values that mean the same under the same name."""
_READ = frozenset(
    {
        *_SAME,
        "image",
        "resources",
        "env",
        "secret",
        "podServiceAccount",
        "rolloutStrategy",
        "controlThePayloadConfig",
        "selfSignedCertificate",
    }
)
_DEFAULT_RESOURCES: JsonObject = {
    "requests": {"memory": "128Mi", "cpu": "100m"},
    "limits": {"memory": "256Mi", "cpu": "200m"},
}
_OTHER_VALUES = {"PORT_ORG_ID": "orgId", "PORT_API_BASE_URL": "baseUrl"}
"""Settings that the chart has values of its own for, under ``port``."""


def variables_of(document: Document) -> tuple[dict[str, str], dict[str, str]]:
    """The variables in ``env`` of a values file, and where each stands."""
    given: dict[str, str] = {}
    where: dict[str, str] = {}
    env = as_object(as_object(document.value).get("env"))
    for part in ("normal", "secret"):
        path = member("env", part)
        for name, value in as_object(env.get(part)).items():
            if value is not None:
                given[name] = as_text(value)
                where[name] = document.at(member(path, name))
    return given, where


def secret_names(document: Document) -> frozenset[str]:
    """The variables that stand in ``env.secret``, whatever their names and values look like."""
    return frozenset(as_object(as_object(as_object(document.value).get("env")).get("secret")))


@dataclass
class NewValues:
    """The values on their way; ``remarks`` say what is not carried over, ``keys`` what the Secret must hold.

    ``masked`` are the variables that must not stand in clear text, besides those that look like secrets. Without
    ``has_routes`` there is no route in ``routes``.
    """

    old: JsonObject
    routes: str | None
    masked: frozenset[str] = frozenset()
    remarks: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    has_routes: bool = True

    def made(self) -> dict[str, Json]:
        """The values; ``routes`` is the text of the routes file that they are to hold."""
        old = self.old
        new: dict[str, Json] = {}
        self._settings(new)
        if self.routes is not None and self.has_routes:
            new["routes"] = {"file": self.routes}
        elif self.routes is not None:
            new["controlThePayloadConfig"] = "[]"
            self.remarks.append(
                "no mapping is left, and the chart takes no routes file without routes: controlThePayloadConfig is "
                "[], with which the agent takes no message, as before"
            )
        new.update({name: old[name] for name in _SAME if old.get(name) not in (None, "", {}, [])})
        self._workload(new)
        self._left_out()
        return new

    def _settings(self, new: dict[str, Json]) -> None:
        env = as_object(self.old.get("env"))
        normal, secret = as_object(env.get("normal")), as_object(env.get("secret"))
        given = {**secret, **normal}
        port: JsonObject = {ours: given[name] for name, ours in _OTHER_VALUES.items() if given.get(name)}
        self.keys += [name for name in secret if name not in _OTHER_VALUES]
        plain: dict[str, Json] = {}
        for name, value in normal.items():
            is_hidden = name in CREDENTIALS or (name in self.masked and value is not None)
            if is_hidden or hides(name, "" if value is None else as_text(value)):
                self.keys += [name] if name not in self.keys else []
                self.remarks.append(f"env.normal.{name} is not copied: it goes into the Secret instead")
            elif name not in _OTHER_VALUES and not (name == MAPPING_PATH and self.routes is not None):
                plain[name] = value
        settings = {
            name: v for name, v in plain.items() if _is_setting(name) and is_kept(name) and v not in (None, "")
        }
        extra: list[Json] = [
            {"name": name, "value": "" if value is None else as_text(value)}
            for name, value in plain.items()
            if not _is_setting(name)
        ]
        parts: JsonObject = {"port": port, "secret": self._secret(), "settings": settings, "extraEnv": extra}
        new.update({name: part for name, part in parts.items() if part})

    def _secret(self) -> JsonObject:
        """The Secret of the credentials and tokens: one that is there already, never their values."""
        secret = as_object(self.old.get("secret"))
        name = secret.get("name")
        if secret.get("useExistingSecret") is True and name:
            self.remarks.append(f"the Secret {name} must be in the new release's namespace as well")
            return {"useExistingSecret": True, "name": name}
        if secret.get("annotations"):
            self.remarks.append("secret.annotations are not copied: give them to the Secret that you make")
        for credential in CREDENTIALS:
            if credential not in self.keys:
                self.keys.append(credential)
        begins = "the values in env.secret are not copied: " if as_object(self.old.get("env")).get("secret") else ""
        self.remarks.append(f"{begins}make a Secret {SECRET_NAME} with the keys {', '.join(self.keys)}")
        return {"useExistingSecret": True, "name": SECRET_NAME}

    def _workload(self, new: dict[str, Json]) -> None:
        account = as_object(self.old.get("podServiceAccount")).get("name")
        if account:
            new["serviceAccount"] = {"create": False, "name": account}
        certificate = as_object(self.old.get("selfSignedCertificate"))
        if certificate.get("enabled") is True:
            new["selfSignedCertificate"] = certificate
        strategy = self.old.get("rolloutStrategy")
        if strategy:
            new["strategy"] = (
                {"type": strategy, "rollingUpdate": None} if strategy == "Recreate" else {"type": strategy}
            )
        resources = self.old.get("resources")
        if resources == _DEFAULT_RESOURCES:
            self.remarks.append("resources are those of the old chart and too small: this chart's own count")
        elif resources:
            new["resources"] = resources

    def _left_out(self) -> None:
        if as_object(self.old.get("image")):
            self.remarks.append(
                "image is that of the old agent: name your own under image.registry, repository, tag"
            )
        for name in self.old:
            if name not in _READ:
                self.remarks.append(f"{name} is no value of port-agent 0.8.15, and left out")


def _is_setting(name: str) -> bool:
    return name in Settings.model_fields


def mapping_in(values: Document) -> str | None:
    """The text of the mapping file in the values, if they have one.

    Raises `ConfigurationError` for anything else in its place: without it the new agent would forward everything.
    """
    text = as_object(values.value).get("controlThePayloadConfig")
    if isinstance(text, str) or not text:
        return text if isinstance(text, str) and text.strip() else None
    message = f"is {kind(text)}; the text of a mapping file was expected"
    raise ConfigurationError(
        values.problem("controlThePayloadConfig", message, "write `|` before it, or give the file with --mapping")
    )
