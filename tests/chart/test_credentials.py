"""The organisation's credentials: files, from a Secret that is there already or from one of the release."""

from __future__ import annotations

import base64

import pytest

from tests.chart.rendering import Rendered, Values, render

pytestmark = pytest.mark.chart
INLINE: Values = {"port": {"existingSecret": "", "clientId": "my-id", "clientSecret": "my-s3cret"}}


def files(one: Rendered) -> dict[str, str]:
    """The mounted files, by the variables that name them, with the keys of the Secret."""
    directory = one.mount("credentials")["mountPath"]
    items = {f"{directory}/{item['path']}": item["key"] for item in one.volume("credentials")["secret"]["items"]}
    return {name: items[path] for name, path in one.env.items() if name.endswith("_FILE")}


def test_an_existing_secret_is_mounted_and_none_is_made(helm: str) -> None:
    one = render(helm, {})
    assert one.volume("credentials")["secret"]["secretName"] == "port-credentials"
    assert files(one) == {"PORT_CLIENT_ID_FILE": "PORT_CLIENT_ID", "PORT_CLIENT_SECRET_FILE": "PORT_CLIENT_SECRET"}
    assert one.all("Secret") == []
    assert not {"PORT_CLIENT_ID", "PORT_CLIENT_SECRET"} & one.env.keys()


def test_its_keys_may_have_other_names(helm: str) -> None:
    one = render(helm, {"port": {"clientIdKey": "id", "clientSecretKey": "secret"}})
    assert files(one) == {"PORT_CLIENT_ID_FILE": "id", "PORT_CLIENT_SECRET_FILE": "secret"}


def test_inline_ones_become_a_secret(helm: str) -> None:
    one = render(helm, INLINE)
    secret = one.one("Secret")
    assert one.volume("credentials")["secret"]["secretName"] == secret["metadata"]["name"]
    held = {key: base64.b64decode(secret["data"][key]).decode() for key in files(one).values()}
    assert held == {"PORT_CLIENT_ID": "my-id", "PORT_CLIENT_SECRET": "my-s3cret"}


def test_the_pods_roll_when_our_own_secret_changes_and_only_then(helm: str) -> None:
    first = render(helm, INLINE).pod
    assert render(helm, {**INLINE, "replicaCount": 3}).pod == first
    other = {"port": {**INLINE["port"], "clientSecret": "another"}}
    assert render(helm, other).pod["metadata"]["annotations"] != first["metadata"]["annotations"]
    assert "checksum/secret" not in render(helm, {}).pod["metadata"]["annotations"]


def test_no_credential_stands_in_a_pod(helm: str) -> None:
    one = render(helm, INLINE)
    assert "my-s3cret" not in str(one.pod) + str(one.doctor)


def test_other_secret_variables_have_a_secret_beside_the_existing_one(helm: str) -> None:
    one = render(helm, {"env": {"secret": {"GIT_TOKEN": "t0ken"}}})
    secret = one.one("Secret")
    assert list(secret["data"]) == ["GIT_TOKEN"]
    assert one.env["GIT_TOKEN"] == {"secretKeyRef": {"name": secret["metadata"]["name"], "key": "GIT_TOKEN"}}
    assert one.volume("credentials")["secret"]["secretName"] == "port-credentials"
