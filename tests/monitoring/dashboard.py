"""Makes helm/files/dashboard.json of the panels: `python -m tests.monitoring.dashboard`.

The JSON is what Grafana imports and what the chart installs; a test demands that it is what this makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from tests.monitoring.panels import OURS, Panel, Query
from tests.monitoring.rows import ROWS

FILE = Path(__file__).parents[2] / "helm" / "files" / "dashboard.json"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
ROW_WIDTH = 24
HEIGHTS = {"stat": 4, "table": 6, "state-timeline": 6, "timeseries": 8}
COLOURS = {
    "status": {
        "success": "green",
        "failure": "red",
        "cancelled": "orange",
        "rejected": "purple",
        "accepted": "blue",
    },
    "result": {"delivered": "green", "ok": "green", "undelivered": "red", "refused": "orange", "nothing": "blue"},
    "code": {"200": "green", "429": "orange", "503": "red"},
    "executor": {"limit": "dark-red"},
}
"""What series are called that a label tells apart, and their colours."""


def dashboard() -> dict[str, Any]:
    """The whole, as Grafana imports it."""
    return {
        "title": "action-agent",
        "uid": "action-agent",
        "description": "Agents that execute Port's action runs: what they do, and what keeps them from it.",
        "tags": ["port", "action-agent"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": variables()},
        "annotations": {"list": [_alerts()]},
        "panels": list(_panels()),
    }


def variables() -> list[dict[str, Any]]:
    """Where the data comes from, and of which agents. "All" also finds agents without the label."""
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return [
        source,
        _variable("namespace", "Namespace", "label_values(agent_ready, namespace)"),
        _variable("job", "Job", 'label_values(agent_ready{namespace=~"$namespace"}, job)'),
    ]


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": f'ALERTS{{alertname=~"ActionAgent.+", alertstate="firing", {OURS}}}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{namespace}} {{pod}}",
        "step": "60s",
    }


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 1, 0
    for row, panels in ROWS.items():
        place = {"h": 1, "w": ROW_WIDTH, "x": 0, "y": y}
        yield {"id": number, "type": "row", "title": row, "collapsed": False, "gridPos": place, "panels": []}
        number, y = number + 1, y + 1
        x = height = 0
        for panel in panels:
            if x + panel.width > ROW_WIDTH:
                x, y, height = 0, y + height, 0
            height = max(height, HEIGHTS[panel.kind])
            place = {"h": HEIGHTS[panel.kind], "w": panel.width, "x": x, "y": y}
            yield {"id": number, "gridPos": place, **_panel(panel)}
            number, x = number + 1, x + panel.width
        y += height


def _panel(panel: Panel) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "targets": [_target(panel, *one) for one in zip(ascii_uppercase, panel.queries, strict=False)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _OPTIONS[panel.kind],
    }
    if panel.kind == "table":
        shown = {"namespace": 0, "pod": 1, "version": 2, "python": 3}
        keep = {"id": "filterFieldsByName", "options": {"include": {"names": list(shown)}}}
        order = {"id": "organize", "options": {"indexByName": shown}}
        made["transformations"] = [keep, order]
    return made


def _target(panel: Panel, ref: str, query: Query) -> dict[str, Any]:
    is_table = panel.kind == "table"
    return {
        "refId": ref,
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": is_table,
        "range": not is_table,
        "format": "table" if is_table else "time_series",
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps = [{"value": None if n == 0 else value, "color": colour} for n, (value, colour) in enumerate(panel.steps)]
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if steps else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps or [{"value": None, "color": "green"}]},
        "noValue": "none",
    }
    if panel.kind == "timeseries":
        defaults["min"] = 0
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 40 if panel.stacked else 8,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none"},
        }
    if panel.names:
        names = {f"{value:g}": {"text": name, "index": n} for n, (value, name) in enumerate(panel.names.items())}
        defaults["mappings"] = [{"type": "value", "options": names}]
    return defaults


def _overrides(panel: Panel) -> list[dict[str, Any]]:
    legends = {query.legend for query in panel.queries}
    colours = [name for label, names in COLOURS.items() if f"{{{{{label}}}}}" in legends for name in names.items()]
    return [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for name, colour in colours
    ]


_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "value",
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "state-timeline": {
        "mergeValues": True,
        "showValue": "never",
        "rowHeight": 0.8,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "tooltip": {"mode": "single"},
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
}


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
