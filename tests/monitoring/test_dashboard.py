"""The dashboard's file: what is in it, short of a Prometheus."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.monitoring.dashboard import FILE, text

DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
ROWS = [panel["title"] for panel in PANELS if panel["type"] == "row"]
OTHERS = [panel for panel in PANELS if panel["type"] != "row"]


def test_the_file_is_what_its_source_makes() -> None:
    assert FILE.read_text() == text(), "run: python -m tests.monitoring.dashboard"


def test_it_has_its_rows() -> None:
    assert ROWS == ["Overview", "Runs", "Kafka", "Port API", "Logs", "Resources", "Scaling"]


def test_each_panel_says_what_it_shows_in_which_unit() -> None:
    for panel in OTHERS:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_every_query_asks_for_the_chosen_agents_of_the_chosen_source() -> None:
    for panel in OTHERS:
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            metrics = target["expr"].count("agent_") + target["expr"].count("process_")
            assert metrics == target["expr"].count('{namespace=~"$namespace", job=~"$job"') > 0


def test_no_panel_lies_upon_another_or_over_the_edge() -> None:
    taken: Counter[tuple[int, int]] = Counter()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
    assert set(taken.values()) == {1}


def test_panels_have_numbers_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_it_is_small_enough_for_what_tools_keep_of_a_configmap() -> None:
    """An annotation of 256 KiB at most, where it is applied by kubectl or Argo CD."""
    assert len(FILE.read_bytes()) < 200 * 1024
