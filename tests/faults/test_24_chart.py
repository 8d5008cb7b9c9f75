"""Scenario 24: the rendered pod gives the agent the time, the probes and the confinement that it counts on.

How a stop takes its time is shown by `test_11_stopping`; here that the pod leaves it that time.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest

from agent.domain.timeline import Timeline
from agent.settings import Settings
from tests.chart.rendering import HELMS, RefusedError, render

pytestmark = [pytest.mark.chart, pytest.mark.parametrize("helm", HELMS)]
NAMES = ("AGENT_DRAIN_TIMEOUT_S", "AGENT_KILL_GRACE_S", "AGENT_REPORT_TIMEOUT_S")
MATRIX = [*product((0, 30, 3600), (0, "10"), (0.5, 20)), (0.1, 0.2, 0.3), ("29.999", 10, 20.001), (86400, 60, 300)]


@pytest.mark.parametrize("times", MATRIX, ids=lambda times: "+".join(map(str, times)))
def test_the_grace_period_is_the_timelines(helm: str, times: tuple[float | str, ...]) -> None:
    settings = dict(zip(NAMES, times, strict=True))
    timeline = Timeline(*map(float, times))
    check_grace(render(helm, {"settings": settings}), timeline)


def test_without_settings_it_is_the_timelines_of_the_defaults(helm: str) -> None:
    defaults = [Settings.model_fields[name].default for name in NAMES]
    assert Timeline(*defaults) == Timeline()
    check_grace(render(helm, {}), Timeline())


def test_settings_of_port_agents_values_count_as_well(helm: str) -> None:
    check_grace(render(helm, {"env": {"normal": {"AGENT_DRAIN_TIMEOUT_S": "120"}}}), Timeline(drain_s=120))


def check_grace(one: Any, timeline: Timeline) -> None:
    """The pod has the least whole number of seconds, the agent knows it, and agrees."""
    granted = one.pod["spec"]["terminationGracePeriodSeconds"]
    assert granted == math.ceil(round(timeline.grace_s, 6))
    assert one.env["AGENT_TERMINATION_GRACE_S"] == str(granted)
    assert granted >= round(timeline.grace_s, 6)


def test_a_longer_one_may_be_given(helm: str) -> None:
    one = render(helm, {"terminationGracePeriodSeconds": 900})
    assert one.pod["spec"]["terminationGracePeriodSeconds"] == 900
    assert one.env["AGENT_TERMINATION_GRACE_S"] == "900"


def test_one_that_is_too_short_is_refused_with_what_would_do(helm: str) -> None:
    least = math.ceil(Timeline(drain_s=100).grace_s)
    settings = {"AGENT_DRAIN_TIMEOUT_S": 100}
    one = render(helm, {"settings": settings, "terminationGracePeriodSeconds": least})
    assert one.pod["spec"]["terminationGracePeriodSeconds"] == least
    with pytest.raises(RefusedError) as caught:
        render(helm, {"settings": settings, "terminationGracePeriodSeconds": least - 1})
    total = int(Timeline(drain_s=100).total_s)
    assert f"is {least - 1}, but a stop can take {total} s, and one second is to spare" in str(caught.value)
    assert f"give {least} or more, or shorten AGENT_DRAIN_TIMEOUT_S" in str(caught.value)


def test_the_probes_ask_what_they_are_for(helm: str) -> None:
    container = render(helm, {}).container

    def probe(name: str) -> tuple[str, int, int]:
        asked = container[name]
        assert asked["httpGet"]["port"] == container["ports"][0]["name"] == "http"
        return asked["httpGet"]["path"], asked["periodSeconds"], asked["failureThreshold"]

    assert probe("startupProbe") == ("/livez", 5, 60)
    assert probe("livenessProbe") == ("/livez", 10, 6)
    assert probe("readinessProbe") == ("/readyz", 5, 3)
    # An agent that stands still does not drain: it is not given the time for it.
    assert container["livenessProbe"]["terminationGracePeriodSeconds"] == 30


@pytest.mark.parametrize("persistence", [{"enabled": False}, {"enabled": True}])
def test_it_is_confined(helm: str, persistence: dict[str, Any]) -> None:
    one = render(helm, {"persistence": persistence})
    for spec in (one.pod["spec"], one.doctor["spec"]):
        user = spec["securityContext"]
        assert (user["runAsNonRoot"], user["runAsUser"], user["runAsGroup"], user["fsGroup"]) == (
            True,
            10001,
            10001,
            10001,
        )
        assert user["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
        assert writable == [one.env["AGENT_STATE_DIR"], "/tmp"]


def test_on_openshift_the_ids_are_the_platforms(helm: str) -> None:
    ids = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"))
    user = render(helm, {"podSecurityContext": ids}).pod["spec"]["securityContext"]
    assert user.keys() == {"runAsNonRoot", "fsGroupChangePolicy", "seccompProfile"}


def test_what_is_read_once_rolls_the_pods_and_what_is_read_anew_does_not(helm: str) -> None:
    base = {
        "port": {"existingSecret": "", "clientId": "i", "clientSecret": "s"},
        "routes": {"file": "routes: [{a: 1}]"},
    }

    def pod(**changed: Any) -> Any:
        return render(helm, {**base, **changed}).pod

    first = pod()
    assert pod(settings={"LOG_LEVEL": "DEBUG"}) != first
    assert pod(port={**base["port"], "clientSecret": "t"}) != first
    assert pod(python={"files": {"a.py": "1"}}) != first
    assert pod(routes={"file": "routes: [{b: 2}]"}) == first
