"""The routes file that is written for a mapping file: what it does otherwise stands in its comments."""

from __future__ import annotations

from collections.abc import Sequence

from agent.commands.mapping_routes import Converted
from agent.commands.yaml_text import comment, yaml_text

_HEADER = """\
Written by `action-agent migrate`. Each route sends and reports what its mapping did. Where it does not, its
comments say so.
Of all of them: a plain path, such as .message.payload.properties.name, stands where all before its last name are
objects in Port's messages. Should one be none, the run ends as FAILURE, where the mapping went on with null.
In a header and in the query one that is a text in Port's messages, such as .message.context.runId, stands without
what others have behind them: headers that are no text fail the run, and true and false are sent as True and False.
Inputs that a message lists as encrypted are opened for routes; in a mapping only `fieldsToDecryptPaths` are. Where
a body sends the whole message, it sends them in clear text.
A target that answers with an error is summed up in other words than before: where automations go by those, write
them as `report.summary`.
What is .message.payload.properties here can mostly be written .inputs, and .message.payload.entity .entity: see
docs/routes.md.
"""

_LEFT_OVER = """\
Action runs that none of them takes end as FAILURE. With the mapping file they were left to others; so they are with
AGENT_UNROUTED=ignore.
"""


def routes_text(converted: Sequence[Converted], source: str) -> str:
    """The routes file; ``source`` names the mapping file."""
    header = _HEADER if any(one.takes_all for one in converted) else _HEADER + _LEFT_OVER
    parts = ["".join(f"# {line}\n" for line in header.splitlines())]
    routes = [one for one in converted if one.route is not None]
    parts.append("routes:\n" if routes else "routes: []\n")
    for one in converted:
        title = f"mapping {one.place} of {source}"
        if one.route is None:
            parts.append("\n" + comment([f"{title} is left out: {'; '.join(one.remarks)}"], 2))
            continue
        parts.append("\n" + comment([title, *one.remarks], 2))
        parts.append(yaml_text([one.route], 2))
    return "".join(parts)
