"""What the page's forms send, read: which action is to be started, with which inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from agent.domain.json import Json, JsonObject
from agent.sandbox.actions import OWN_SHAPES, SandboxAction, Shape, own_action


class OrderError(ValueError):
    """The order makes no sense; the text is a sentence for whoever filled in the form."""


def read_order(order: Json, actions: Mapping[str, SandboxAction]) -> tuple[SandboxAction, JsonObject]:
    """The action, one of ``actions`` or the visitor's own, and its inputs. Raises `OrderError`."""
    if not isinstance(order, dict):
        raise OrderError("An order is a JSON object with `action` and `inputs`.")
    inputs = order.get("inputs")
    if not isinstance(inputs, dict):
        raise OrderError('The inputs must be a JSON object, such as {"name": "billing"}.')
    if order.get("own"):
        return _own(order), inputs
    name = order.get("action")
    action = actions.get(name) if isinstance(name, str) else None
    if action is None:
        raise OrderError(f"There is no example called {name!r}.")
    titles = {one.name: one.title for one in action.inputs if one.kind == "number"}
    return action, {
        name: _number(titles[name], value) if name in titles else value for name, value in inputs.items()
    }


def _own(order: JsonObject) -> SandboxAction:
    action, blueprint, entity = (order.get(name, "") for name in ("action", "blueprint", "entity"))
    if not (isinstance(action, str) and isinstance(blueprint, str) and isinstance(entity, str) and action.strip()):
        raise OrderError("Say which action: its identifier, as a route's `match` names it.")
    shape = next((one for one in OWN_SHAPES if one == order.get("shape", Shape.KAFKA_V1)), None)
    if shape is None:
        raise OrderError(f"The message is one of these: {'; '.join(OWN_SHAPES)}.")
    return own_action(action.strip(), blueprint.strip(), shape, entity.strip())


def _number(title: str, value: Json) -> int | float:
    """What was typed, whole where it is whole. Raises `OrderError`."""
    try:
        number = float(str(value))
    except ValueError:
        raise OrderError(f"{title}: {value!r} is not a number.") from None
    if not math.isfinite(number):
        raise OrderError(f"{title}: {value!r} is not a number that JSON knows.")
    return int(number) if number.is_integer() else number
