"""The jq that a route needs behind an expression, so that headers and queries come out as a mapping's do."""

from __future__ import annotations

from agent.commands.route_expressions import is_object
from agent.net.headers import CONNECTION_HEADERS

TEXT_OR_NULL = 'if type == "string" or . == null then . else error({}) end'
"""For a header, with what to say of another value: as in a mapping, that fails the run."""
CAPITALS = '(., arrays[] | booleans) |= if . then "True" else "False" end'
"""For the value of a parameter: as in a mapping, true and false are sent as ``True`` and ``False``."""

_CONNECTION = "|".join(sorted(CONNECTION_HEADERS))
_NO_TEXT = TEXT_OR_NULL.format('"a header is no text"')
_OF_OBJECTS = f"""| if type == "object" then map_values({_NO_TEXT}) else . end"""
_OF_ANY_HEADERS = f"""\
| if type == "object" then
    with_entries(select(.key | test("^({_CONNECTION})$"; "i") | not))
    | map_values({_NO_TEXT})
  else . end"""
_OF_OBJECT_QUERY = f"""| . // {{}} | map_values({CAPITALS})"""
_OF_ANY_QUERY = f"""\
| if type == "string" then
    [split("&")[] | select(. != "") | split("=") | [.[0], (.[1:] | join("="))]
      | map(gsub("\\\\+"; " ") | @urid? // .)]
  elif . == null or . == false or . == 0 then []
  else . end
| if type == "array" and all(type == "array" and length == 2) then
    reduce .[] as [$name, $value] ({{}}; .[$name | tostring] += [$value | if type == "array" then .[] else . end])
  else . end
| if type == "object" then map_values({CAPITALS}) else . end"""


def of_headers(source: str) -> str:
    """What stands behind the expression ``source`` that gives all headers."""
    names_connection = any(
        f'"{name}"' in source.lower() or f"{name}:" in source.lower() for name in CONNECTION_HEADERS
    )
    return _OF_OBJECTS if is_object(source) and not names_connection else _OF_ANY_HEADERS


def of_query(source: str) -> str:
    """What stands behind the expression ``source`` that gives the whole query: an object, ``a=1&b=2``, or pairs."""
    return _OF_OBJECT_QUERY if is_object(source) else _OF_ANY_QUERY
