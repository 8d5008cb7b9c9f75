"""``action-agent explain FILE``: what would happen to this message, rule by rule, without doing it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from agent.clock import SystemClock
from agent.commands.mapping_trial import where_it_ends
from agent.commands.variables import unset_variables
from agent.composition import Rules, Silent, open_intake, open_rules, others_rule
from agent.domain.errors import TemplateError
from agent.domain.invocation import Channel, Effort, Invocation, InvocationKind
from agent.domain.json import Json
from agent.domain.redaction import Redactor
from agent.domain.route import Route, Template, Unrouted
from agent.intake.signature import SignatureMode
from agent.ports import Decoded, NotOurs, Unacceptable, Unexecutable, Verdict
from agent.routing.document import parse, read_file
from agent.routing.expressions import sources_of
from agent.routing.mapping import REPORT_KEYS, Addressed
from agent.routing.mapping_lint import UNQUOTED, lint
from agent.routing.places import item
from agent.settings import Settings

Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Page:
    """What is written, line by line, masked."""

    print_line: Write
    redactor: Redactor

    def __call__(self, line: str) -> None:
        self.print_line(self.redactor.mask_text(line))


async def explain(
    settings: Settings, environment: Mapping[str, str], body: bytes, channel: Channel, print_line: Write
) -> int:
    """Prints how the message is read, each route's verdict, and what the one that matches would do.

    Encrypted inputs stay closed, and the secrets that routes declare are masked. 0 where a route matches or the
    message is plainly not ours, 1 where it would be refused or fail. Without the client secret no signature is
    verified, which is said. Raises `ConfigurationError`.
    """
    clock = SystemClock()
    rules = open_rules(settings, environment, Silent(), clock)
    named = [environment.get(name, "") for route in rules.current.routes for name in route.secrets]
    write = _Page(print_line, Redactor((*settings.secrets, *named)))
    if not settings.routes_file:
        write("routes       the built-in ones: AGENT_ROUTES_PATH is not set")
    try:
        if not settings.PORT_CLIENT_SECRET.get_secret_value():
            write("signature    not verified: PORT_CLIENT_SECRET is not set; what follows is as if it were valid")
            verdict = open_intake(settings, rules, clock, SignatureMode.OFF).decode(body, channel)
            return await _explain_decoded(settings, environment, rules, verdict, write)
        verdict = open_intake(settings, rules, clock).decode(body, channel)
        if isinstance(verdict, Unacceptable) and verdict.reason != "undecodable":
            write(f"signature    REFUSED ({verdict.reason}): {verdict.detail}; what follows is as if it were valid")
            verdict = open_intake(settings, rules, clock, SignatureMode.OFF).decode(body, channel)
            await _explain_decoded(settings, environment, rules, verdict, write)
            return 1
        return await _explain_decoded(settings, environment, rules, verdict, write)
    finally:
        await rules.close()


async def _explain_decoded(
    settings: Settings, environment: Mapping[str, str], rules: Rules, verdict: Verdict, write: _Page
) -> int:
    match verdict:
        case Unacceptable(_, detail):
            write(f"message      REFUSED: {detail}")
            return 1
        case NotOurs(reason):
            write(f"message      passed over: {_NOT_OURS.get(reason, reason)}")
            return 0
        case Unexecutable(invocation, detail):
            _write_invocation(invocation, write)
            for route in rules.current.explain(invocation):
                write(f"route        {route.route}: {'MATCHES' if route.reason is None else route.reason}")
            write(
                f"message      REFUSED: {detail}; if a route matches, or it is for agents, its run ends as FAILURE"
            )
            return 1
        case Decoded(invocation):
            _write_invocation(invocation, write)
            return await _explain_routes(settings, environment, rules, invocation, write)


_NOT_OURS = {"not_for_agents": "its invocation method is neither for agents (`agent: true`) nor of type KAFKA"}


def _write_invocation(invocation: Invocation, write: Write) -> None:
    if invocation.action is None and invocation.run_id is None:
        write("note         nothing here looks like a message of Port: no action, and no run's id")
    for name, value in (
        ("kind", str(invocation.kind)),
        ("run", invocation.run_id or "none (nothing will be reported)"),
        ("action", invocation.action or "none"),
        ("blueprint", invocation.blueprint or "none"),
        (
            "type",
            f"{invocation.method.type or 'none'}, {'for agents' if invocation.for_agents else 'not for agents'}",
        ),
        ("inputs", ", ".join(map(str, invocation.inputs)) or "none"),
        ("encrypted", ", ".join(invocation.encrypted)),
    ):
        if value:
            write(f"{name:<12} {value}")


async def _explain_routes(
    settings: Settings, environment: Mapping[str, str], rules: Rules, invocation: Invocation, write: _Page
) -> int:
    for verdict in rules.current.explain(invocation):
        write(f"route        {verdict.route}: {'MATCHES' if verdict.reason is None else verdict.reason}")
    invocation = replace(invocation, effort=Effort())  # what explaining cost is not what the message will cost
    routed = rules.current.resolve(invocation)
    if isinstance(routed, Unrouted):
        return _write_unrouted(settings, invocation, routed, write)
    write(f"would run    {routed.route.executor} of route {routed.route.name} ({routed.route.where})")
    failed = False
    unquoted = _unquoted(settings, rules.current.routes.index(routed.route))
    try:
        preview = await routed.executor.preview(invocation.view)
        for secret in invocation.view.secrets:
            write.redactor.add(secret)
        _write_json(preview, write)
    except TemplateError as error:
        write(f"  FAILS: {error}")
        failed = True
    for note in (*unquoted, *_idle(routed.route, invocation, environment), *invocation.view.notes):
        write(f"note         {note}")
    failed |= _write_rules(routed.route, invocation, write)
    return int(failed)


def _unquoted(settings: Settings, index: int) -> Iterator[str]:
    """Of the mapping at ``index``, the fixed texts that lack their quotes; nothing for routes."""
    path = settings.mapping_file
    if path is None:
        return
    place = item("", index)
    for problem in lint(parse(read_file(path), str(path))):
        if problem.path.startswith(f"{place}.") and problem.message.startswith(UNQUOTED):
            yield str(problem)


def _idle(route: Route, invocation: Invocation, environment: Mapping[str, str]) -> Iterator[str]:
    """What the route reads and is not there: variables, and what a mapping is to decrypt."""
    for name in unset_variables(route, environment):
        yield f"env.{name} is not set here"
    for path in () if route.decrypts_listed else route.decrypt:
        if missing := where_it_ends(invocation.document, path.split(".")):
            yield f"nothing would be decrypted at {path!r}: {missing}"


_WHY_PASSED_OVER = {
    False: "it is not addressed to agents, so it is meant for another consumer",
    True: "it is not addressed to agents, and whether it is for that route is not known",
}


def _write_unrouted(settings: Settings, invocation: Invocation, unrouted: Unrouted, write: Write) -> int:
    write(f"result       {unrouted.reason}")
    if invocation.kind is InvocationKind.CHANGE_EVENT or not invocation.for_agents:
        write(f"would        be passed over: {_WHY_PASSED_OVER[unrouted.undecided]}")
        return 0
    if others_rule(settings)(invocation, unrouted):
        why = "AGENT_UNROUTED=ignore" if settings.AGENT_UNROUTED else "as with Port's own agent; see AGENT_UNROUTED"
        write(f"would        be left to other agents ({why})")
        return 0
    write("would        end the run as FAILURE with that reason")
    return 1


_NEEDS_THE_WORK = re.compile(r"\.(?:response|request|outputs)\b")
_REPORT = ("link", "summary", "status_label", "external_run_id", "status")
_NAMES_IN_MAPPINGS = {ours: theirs for theirs, ours in REPORT_KEYS.items()}


def _write_rules(route: Route, invocation: Invocation, write: Write) -> bool:
    """What can be said of the rules before the work is done; what needs its response is said to.

    Returns whether they surely make the run a failure.
    """
    view = invocation.view.extended(outputs={}, request=None, response=None)
    rendered: list[tuple[str, Template]] = [("key", route.key)] if route.key is not None else []
    rendered += [(f"entities[{i}] ({rule.verb})", rule.body) for i, rule in enumerate(route.entities)]
    known_later = "the target has answered" if route.executor == "http" else "the work is done"
    names = _NAMES_IN_MAPPINGS if isinstance(route.match.when, Addressed) else {}
    for name in _REPORT:
        template: Template | None = getattr(route.report, name)
        shown = f"report.{names.get(name, name)}"
        if template is not None and any(map(_NEEDS_THE_WORK.search, sources_of(template))):
            write(f"{shown}: known once {known_later}")
        elif template is not None:
            rendered.append((shown, template))
    needed = [route.key, *(e.body for e in route.entities if e.when is None and e.on & {"success", "always"})]
    fails = False
    for name, template in rendered:
        try:
            value = template.render(view)
        except TemplateError as error:
            needs_the_work = _NEEDS_THE_WORK.search(str(error)) is not None
            write(f"{name}: {'before the work is done' if needs_the_work else 'FAILS'}: {error}")
            fails |= not needs_the_work and any(template is one for one in needed)
        else:
            text = json.dumps(value, ensure_ascii=False)
            write(f"{name}: {'null before the work is done' if value is None else text}")
    return fails


def _write_json(value: Json, write: Write) -> None:
    for line in json.dumps(value, indent=2, ensure_ascii=False).splitlines():
        write(f"  {line}")
