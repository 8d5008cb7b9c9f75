"""What of the chart is made from elsewhere; ``python -m tests.chart.derived`` writes it anew.

The table of values in ``helm/README.md`` comes from the comments in ``values.yaml``; so do the descriptions in
``values.schema.json``, whose types of settings come from `agent.settings`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from agent.settings import Settings
from tests.chart.documented_values import HELM, documented_values

SCHEMA = HELM / "values.schema.json"
README = HELM / "README.md"
MADE_BY_OTHER_VALUES = frozenset({
    "PORT_ORG_ID", "PORT_CLIENT_ID", "PORT_CLIENT_SECRET", "PORT_API_BASE_URL", "AGENT_ROUTES_PATH",
    "AGENT_PYTHONPATH", "AGENT_STATE_DIR", "AGENT_TERMINATION_GRACE_S",
})  # fmt: skip
"""Settings that the chart makes itself: it says which value to give instead."""

_BOOLEAN = "^(|true|false|True|False|TRUE|FALSE|yes|no|on|off|1|0)$"
_TABLE = re.compile(r"(?<=<!-- values -->\n).*(?=<!-- /values -->)", re.DOTALL)
_WITH_A_UNIT = re.compile(r"((AGENT|KAFKA)_.*_(S|MS|BYTES)|WEBHOOK_INVOKER_TIMEOUT)")
"""Settings of whose texts the templates say what is wrong: a pattern can only say that something is."""
_OTHER_WORDS = ("WARN", "FATAL")
"""Which the agent takes for some of its own."""


def values_table() -> str:
    """Every value with its default and meaning, in Markdown."""
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for value in documented_values():
        default = f"`{value.shown_default}`" if value.shown_default else ""
        lines.append(f"| `{value.name}` | {default} | {value.text} |")
    return "\n".join(lines) + "\n"


def readme() -> str:
    """The README with the table as it should be."""
    return _TABLE.sub(lambda _: values_table(), README.read_text("utf-8"))


def schema() -> str:
    """The schema with descriptions and settings as they should be."""
    whole: dict[str, Any] = json.loads(SCHEMA.read_text("utf-8"))
    for value in documented_values():
        place = whole
        for key in value.path:
            place = place["properties"][key]
        place["description"] = value.text
    types = {
        name: {"description": field.description, **setting_schema(name, field)}
        for name, field in Settings.model_fields.items()
    }
    whole["definitions"]["settings"] = {
        "type": "object",
        # Those that other values make are let through here: the templates say which values.
        "properties": types,
        "additionalProperties": False,
    }
    whole["definitions"]["variables"] = {
        "type": "object",
        "properties": {name: {"$ref": f"#/definitions/settings/properties/{name}"} for name in types},
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def setting_schema(name: str, field: FieldInfo) -> dict[str, Any]:
    """What may be given for a setting: its own type, or a text of it, as the environment has; empty is not set."""
    made = Settings.model_json_schema()["properties"][name]
    made = next((one for one in made.get("anyOf", ()) if one["type"] != "null"), made)
    if name == "STREAMER_NAME":
        return {
            "type": ["string", "null"]
        }  # Other words of port-agent's are refused by the templates, with a reason.
    if "enum" in made or "const" in made:
        return {"enum": [*_accepted(field, made.get("enum") or [made["const"]]), None]}
    limits = {key: made[key] for key in ("minimum", "maximum", "exclusiveMinimum") if key in made}
    if _WITH_A_UNIT.fullmatch(name):
        return {"type": [made["type"], "string", "null"], **limits}
    match made["type"]:
        case "boolean":
            return {"type": ["boolean", "string", "null"], "pattern": _BOOLEAN}
        case "integer":
            return {"type": ["integer", "string", "null"], "pattern": "^[0-9]*$", **limits}
        case "number":
            return {"type": ["number", "string", "null"], "pattern": r"^([0-9]+(\.[0-9]+)?)?$", **limits}
        case _:
            return {"type": ["string", "null"]}


def _accepted(field: FieldInfo, values: list[str]) -> list[str]:
    """The words that the agent takes: in capitals or not, and some others."""
    adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
    candidates = dict.fromkeys(["", *values, *_OTHER_WORDS])
    candidates |= dict.fromkeys(word.upper() for word in candidates)
    candidates |= dict.fromkeys(word.lower() for word in candidates)
    return [word for word in candidates if not word or _takes(adapter, word)]


def _takes(adapter: TypeAdapter[Any], word: str) -> bool:
    try:
        adapter.validate_python(word)
    except ValidationError:
        return False
    return True


def main() -> None:
    """Writes both files."""
    SCHEMA.write_text(schema(), "utf-8")
    README.write_text(readme(), "utf-8")


if __name__ == "__main__":
    main()
