"""The actions that the sandbox offers, each with the form that Port would show and the end it must come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from agent.domain.invocation import NODE_RUN_PREFIX
from agent.domain.json import JsonObject
from agent.sandbox import messages
from agent.sandbox.broker import EmbeddedBroker
from agent.sandbox.ledger import Ledger, new_run_id
from agent.sandbox.messages import Click


class Shape(StrEnum):
    """In which of Port's message shapes an invocation travels; the value is for people."""

    TUTORIAL = "Kafka, inside an outer payload (as in Port's tutorials)"
    KAFKA_V1 = "Kafka"
    TEMPLATE = "Kafka, a payload template of the action's own"
    OWN_PAYLOAD = "Kafka, a payload of your own"
    WEBHOOK = "webhook for agents, signed"
    NODE_RUN = "webhook node of a workflow, signed"


OWN_SHAPES = {
    Shape.KAFKA_V1: "An action whose invocation is of type KAFKA. Without a route it is passed over.",
    Shape.WEBHOOK: "An action whose invocation is of type WEBHOOK with agent: true. Without a route it fails.",
    Shape.OWN_PAYLOAD: (
        "The inputs are the whole message, beside port_context with the run's id. It carries no action's name: "
        "only a route with `when`, or without `action`, can take it."
    ),
}
"""The shapes that the page offers for an action of the visitor's own, and what a newcomer should know of each."""


@dataclass(frozen=True, slots=True)
class Input:
    """One field of an action's form. ``kind``: text, number or secret; ``choices`` make it a list to pick from."""

    name: str
    title: str
    default: str | int
    kind: str = "text"
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """How a run of an example ends; texts are parts of what Port must have been told, ``log_lines`` the least."""

    status: str = "SUCCESS"
    summary: str = ""
    links: int = 0
    entities: tuple[str, ...] = ()
    log_lines: int = 0


@dataclass(frozen=True, slots=True)
class SandboxAction:
    """One example: what the page offers, how it is sent, who executes it and what becomes of it."""

    identifier: str
    title: str
    about: str
    executor: str
    shape: Shape
    inputs: tuple[Input, ...] = ()
    expected: Expected = field(default_factory=Expected)
    blueprint: str = "service"
    entity: JsonObject | None = None
    path: str = ""

    @property
    def defaults(self) -> JsonObject:
        """The inputs as the form shows them at first."""
        return {one.name: one.default for one in self.inputs}

    @property
    def secret_names(self) -> tuple[str, ...]:
        """The inputs that Port encrypts."""
        return tuple(one.name for one in self.inputs if one.kind == "secret")


_BILLING: JsonObject = {
    "identifier": "billing",
    "title": "Billing",
    "blueprint": "service",
    "properties": {"tier": "gold"},
    "relations": {},
}

ACTIONS: tuple[SandboxAction, ...] = (
    SandboxAction(
        "create_microservice",
        "Create microservice",
        "A shell script with arguments from the form; its output streams into the run's log.",
        "process",
        Shape.TUTORIAL,
        (
            Input("name", "Service name", "my-microservice"),
            Input("region", "Cloud region", "eu-west-1", choices=("eu-west-1", "us-east-1")),
        ),
        Expected(summary="my-microservice is up in eu-west-1", links=1, entities=("my-microservice",), log_lines=5),
    ),
    SandboxAction(
        "import_services",
        "Import services",
        "A process that prints one line per service and writes entities through $AGENT_OUTPUT.",
        "process",
        Shape.KAFKA_V1,
        (Input("count", "Number of services", 400, kind="number"),),
        Expected(summary="imported 400 services", entities=("service-1", "service-2"), log_lines=400),
    ),
    SandboxAction(
        "restart_service",
        "Restart service",
        "An HTTP request to an internal service, for an entity of the catalogue; the answer gives the link.",
        "http",
        Shape.WEBHOOK,
        (Input("reason", "Reason", "memory leak"),),
        Expected(summary="billing restarted", links=1),
        entity=_BILLING,
    ),
    SandboxAction(
        "scaffold_repository",
        "Scaffold repository",
        "A Python coroutine that logs, links and writes an entity while it works; the payload is the user's own.",
        "python",
        Shape.TEMPLATE,
        (
            Input("repository", "Repository", "payments"),
            Input("language", "Language", "python", choices=("python", "go", "typescript")),
        ),
        Expected(summary="payments is ready", links=1, entities=("payments",), log_lines=3),
        blueprint="repository",
    ),
    SandboxAction(
        "rotate_credentials",
        "Rotate credentials",
        "A plain Python function with an encrypted input: opened for the action, masked in the log.",
        "python",
        Shape.WEBHOOK,
        (Input("user", "User", "deployer"), Input("password", "New password", "correct horse", kind="secret")),
        Expected(summary="deployer has a new password", log_lines=2),
    ),
    SandboxAction(
        "notify_team",
        "Notify team (workflow node)",
        "A node of a workflow: reported through the workflow routes, with an output.",
        "http",
        Shape.NODE_RUN,
        path="/target/notify",
    ),
    SandboxAction(
        "deploy_to_production",
        "Deploy to production",
        "A process that ends with exit code 3: the run fails with its last lines as summary.",
        "process",
        Shape.KAFKA_V1,
        (Input("version", "Version", "v2.4.1"),),
        Expected("FAILURE", summary="quota exceeded", log_lines=3),
    ),
    SandboxAction(
        "build_report",
        "Build report",
        "A process that never ends: stopped when its two seconds are over.",
        "process",
        Shape.TUTORIAL,
        expected=Expected("FAILURE", log_lines=1),
    ),
    SandboxAction(
        "scale_service",
        "Scale service",
        "An HTTP target that answers 409: the run fails and says what the target said.",
        "http",
        Shape.WEBHOOK,
        (Input("replicas", "Replicas", 12, kind="number"),),
        Expected("FAILURE", summary="409"),
        entity=_BILLING,
    ),
    SandboxAction(
        "create_microservise",
        "Misspelt action",
        "No route matches: the run is ended with the nearest route's name, not left in progress for ever.",
        "-",
        Shape.WEBHOOK,
        expected=Expected("FAILURE", summary="create-microservice"),
    ),
)


class Invoker:
    """Plays the user who clicks in Port: begins a run in the ledger and puts its message on the topic.

    ``target_url`` is where the example HTTP targets are. `invoke` blocks for a moment; any thread may call it
    that the ledger belongs to. `invoked` knows which action each run is of, `messages` what was sent for it.
    """

    def __init__(
        self, ledger: Ledger, broker: EmbeddedBroker, *, topic: str, client_secret: str, target_url: str
    ) -> None:
        self._ledger = ledger
        self._broker = broker
        self._topic = topic
        self._client_secret = client_secret
        self._target_url = target_url
        self.invoked: dict[str, SandboxAction] = {}
        self.messages: dict[str, str] = {}

    def invoke(self, action: SandboxAction, inputs: JsonObject | None = None) -> str:
        """Starts a run with these inputs (the form's defaults if not given); returns its id."""
        given = action.defaults if inputs is None else inputs
        run_id = new_run_id(NODE_RUN_PREFIX if action.shape is Shape.NODE_RUN else "r_")
        shown = {name: "••••••" if name in action.secret_names else value for name, value in given.items()}
        entity = None if action.entity is None else str(action.entity["identifier"])
        self._ledger.create_run(action.identifier, shown, run_id=run_id, blueprint=action.blueprint, entity=entity)
        self.invoked[run_id] = action
        click = Click(run_id, action.identifier, given, action.blueprint, action.entity)
        click = click.with_secret_inputs(self._client_secret, *action.secret_names)
        self.messages[run_id] = self._text(action, click)
        self._broker.produce(self._topic, self.messages[run_id])
        return run_id

    def _text(self, action: SandboxAction, click: Click) -> str:
        plain: dict[Shape, Callable[[Click], JsonObject]] = {
            Shape.TUTORIAL: messages.tutorial,
            Shape.KAFKA_V1: messages.kafka_v1,
            Shape.TEMPLATE: _templated,
            Shape.OWN_PAYLOAD: messages.kafka_v2,
        }
        if action.shape in plain:
            return messages.wire_text(plain[action.shape](click))
        url = self._target_url + action.path
        if action.shape is Shape.NODE_RUN:
            document = messages.node_run(click.run_id, url)
        else:
            document = messages.webhook(click, url, synchronized=True)
        return messages.signed_message(document, self._client_secret)


def _templated(click: Click) -> JsonObject:
    """What a payload template might say: ``{"request": …, "inputs": "{{ .inputs }}", "port_context": …}``."""
    return messages.kafka_v2(replace(click, inputs={"request": click.action, "inputs": click.inputs}))


def own_action(identifier: str, blueprint: str, shape: Shape, entity: str) -> SandboxAction:
    """An action of the visitor's own, for routes of theirs; nothing is expected of it.

    ``entity`` is the identifier of the entity that it is about, empty for none. A webhook that its route forwards
    as it is finds somebody who answers.
    """
    about = None if not entity else {**_BILLING, "identifier": entity, "title": entity, "blueprint": blueprint}
    return SandboxAction(
        identifier, identifier, "", "", shape, blueprint=blueprint, entity=about, path="/target/notify"
    )
