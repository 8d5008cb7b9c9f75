from typing import Any

import pytest

from agent.domain.errors import TemplateError
from agent.domain.invocation import Channel, Invocation, InvocationKind, InvocationMethod, Trigger
from agent.domain.json import Json
from agent.intake.decode import requested_run, unwrapped
from agent.intake.reader import MessageIntake
from agent.ports import Decoded, NotOurs
from tests.intake.port import SECRET, Decode, StillClock, agent_message, document, packed, received, signed

# ── the documented shapes ────────────────────────────────────────────────────────────────────────────


def test_the_tutorials_message_is_taken_out_of_its_wrap(decode: Decode) -> None:
    body = received("create_wrapped")
    invocation = decode(body)
    assert invocation == Invocation(
        kind=InvocationKind.ACTION_RUN,
        run_id=invocation.run_id,
        action="create_microservice",
        blueprint="microservice",
        trigger=Trigger("auth0|638879fa62c686d381b36ecb", None, "UI", "2022-12-07T12:53:52.916Z", "CREATE"),
        entity=None,
        entity_id=None,
        inputs={"name": "my-microservice", "region": "eu-west-1"},
        method=InvocationMethod(
            "WEBHOOK",
            url="https://smee.io/HWbNEEngVPEQRJA",
            raw={"url": "https://smee.io/HWbNEEngVPEQRJA", "agent": False, "type": "WEBHOOK"},
        ),
        document=document("create_wrapped")["payload"],
    )
    assert invocation.run_id == "r_QOz6WoOB1Q2lmhZZ"
    assert not invocation.for_agents


def test_a_wrapped_day_2_message_names_its_entity_and_user(decode: Decode) -> None:
    invocation = decode(received("day2_wrapped"))
    assert invocation.run_id == "r_z0nJYJv0wCm2ASTR"
    assert invocation.entity_id == "my-microservice"
    assert invocation.entity is not None
    assert invocation.entity["properties"] == {"region": "eu-west-1"}
    assert invocation.trigger.user_email == "test@test.com"
    assert invocation.trigger.operation == "DAY-2"


def test_a_message_with_its_own_context_is_not_wrapped() -> None:
    wrapped = document("create_wrapped")
    assert unwrapped(wrapped) == wrapped["payload"]
    assert unwrapped({**wrapped, "context": None}) is None
    assert unwrapped({"payload": {"context": {"runId": 7}}}) is None
    assert unwrapped([wrapped]) is None


def test_an_agents_webhook(decode: Decode) -> None:
    invocation = decode(received("webhook_signed"))
    assert invocation.for_agents
    assert invocation.run_id == "r_HardNzG6kzc9vWOQ"
    assert invocation.action == "action_identifier"
    assert invocation.blueprint == "myBlueprint"
    assert invocation.method.url == "https://internal.example.com/hook"
    assert invocation.method.http_method == "POST"
    assert not invocation.method.synchronized
    assert invocation.inputs == {"network_port": "8080"}


def test_what_transports_the_signature_is_not_part_of_the_document(decode: Decode) -> None:
    assert decode(received("webhook_signed")).document == {**document("webhook_signed"), "headers": {}}
    gitlab = document("gitlab_signed")
    del gitlab["headers"]
    assert decode(received("gitlab_signed")).document == gitlab


def test_a_gitlab_message_keeps_the_name_in_action(decode: Decode) -> None:
    invocation = decode(received("gitlab_signed"))
    assert invocation.method.type == "GITLAB"
    assert invocation.method.raw["projectName"] == "project"
    assert invocation.action == "Create"
    assert invocation.inputs == {"foo": "x", "bar": 3, "on": True, "obj": {"k": [1, 2]}}


def test_a_v1_kafka_message(decode: Decode) -> None:
    invocation = decode(received("kafka_v1"))
    assert invocation.method.type == "KAFKA"
    assert not invocation.for_agents
    assert invocation.run_id == "run_q2mGf9ZYkFRnZJjB"
    assert (invocation.action, invocation.blueprint) == ("create_vm", "vm")
    assert invocation.inputs == {"cpu": 2, "memory": 4, "storage": 50, "region": "eu-west-1"}


@pytest.mark.parametrize(
    ("name", "blueprint"), [("kafka_custom_run_id", None), ("kafka_custom_context", "microservice")]
)
def test_a_payload_that_the_owner_made_up(name: str, blueprint: str | None, decode: Decode) -> None:
    invocation = decode(received(name))
    assert invocation.run_id == "r_k86OUzq80jRlxFV0"
    assert invocation.blueprint == blueprint
    assert invocation.action is None
    assert invocation.inputs == {}
    assert invocation.method == InvocationMethod("KAFKA")
    assert invocation.document == document(name)


def test_an_array_names_no_run(decode: Decode) -> None:
    invocation = decode(b'[{"context":{"runId":"r_1"}}, 2]')
    assert invocation.run_id is None
    assert invocation.document == [{"context": {"runId": "r_1"}}, 2]


def test_a_workflows_webhook_node(decode: Decode) -> None:
    invocation = decode(received("node_signed"))
    assert invocation.kind is InvocationKind.NODE_RUN
    assert invocation.run_id == "wfnr_abc123"
    assert invocation.for_agents
    assert invocation.method.synchronized


def test_a_workflows_kafka_node(decode: Decode) -> None:
    message = {"context": {"workflowRunId": "wfr_1", "nodeRunId": "wfnr_2"}, "inputs": {"a": 1}}
    invocation = decode(packed(message))
    assert invocation.kind is InvocationKind.NODE_RUN
    assert invocation.run_id == "wfnr_2"
    assert invocation.inputs == {"a": 1}
    assert decode(b'{"context":{"nodeRunId":"another_style"}}').kind is InvocationKind.NODE_RUN


def test_a_workflow_run_is_no_run_of_ours(decode: Decode) -> None:
    assert decode(b'{"context":{"runId":"wfr_1"}}').run_id is None
    assert decode(b'{"context":{"runId":"wfr_1","nodeRunId":"wfnr_2"}}').run_id == "wfnr_2"


def test_an_automation_that_sends_its_whole_context(decode: Decode) -> None:
    invocation = decode(received("automation"))
    assert invocation.run_id == "r_k86OUzq80jRlxFV0"
    assert invocation.action == "automation"
    assert invocation.blueprint == "service"
    assert invocation.entity is None
    assert invocation.entity_id == "example-service-identifier"
    assert invocation.trigger.origin == "AUTOMATION"
    assert invocation.inputs == {}


def test_a_v2_template_context_with_everything(decode: Decode) -> None:
    message = {
        "run": {"id": "r_1"},
        "action": {"identifier": "scale", "blueprint": "service", "encryptedProperties": ["token", 7]},
        "inputs": {"replicas": 3, "token": "…"},
        "entity": {"identifier": "api", "blueprint": "service"},
        "trigger": {"operation": "DAY-2", "by": {"user": {"id": "u1", "email": "u@x"}}},
    }
    invocation = decode(packed(message))
    assert (invocation.run_id, invocation.action, invocation.blueprint) == ("r_1", "scale", "service")
    assert invocation.inputs == message["inputs"]
    assert (invocation.entity, invocation.entity_id) == (message["entity"], "api")
    assert invocation.trigger == Trigger("u1", "u@x", None, None, "DAY-2")
    assert invocation.encrypted == ("token",)


# ── the change log ───────────────────────────────────────────────────────────────────────────────────


def test_a_changed_entity(decode: Decode) -> None:
    invocation = decode(received("change_entity"), Channel.CHANGE_LOG)
    assert invocation.kind is InvocationKind.CHANGE_EVENT
    assert invocation.run_id is None
    assert (invocation.action, invocation.blueprint, invocation.entity_id) == ("UPDATE", "vm", "storage-example")
    assert invocation.entity is not None
    assert invocation.entity["properties"] == {"free_storage": 0.5}
    assert invocation.method == InvocationMethod("KAFKA", raw={"type": "KAFKA"})


def test_a_deleted_entity_is_the_one_before() -> None:
    message = document("change_entity")
    message["diff"]["after"] = None
    invocation = MessageIntake(SECRET, StillClock()).decode(packed(message), Channel.CHANGE_LOG)
    assert isinstance(invocation, Decoded)
    assert invocation.invocation.entity == message["diff"]["before"]


def test_a_changed_run_is_never_taken_for_ours(decode: Decode) -> None:
    invocation = decode(received("change_run"), Channel.CHANGE_LOG)
    assert invocation.kind is InvocationKind.CHANGE_EVENT
    assert invocation.run_id is None
    assert invocation.for_agents
    assert invocation.method.url == "http://localhost:80/api/test"
    assert invocation.entity is None


def test_an_expired_timer_has_no_diff_and_no_destination(decode: Decode) -> None:
    invocation = decode(received("change_timer"), Channel.CHANGE_LOG)
    assert (invocation.action, invocation.blueprint) == ("TIMER_EXPIRED", "timerExample")
    assert invocation.entity_id == "entityIdentifier"
    assert invocation.method == InvocationMethod()


@pytest.mark.parametrize("name", ["kafka_v1", "create_wrapped", "webhook_forged", "automation"])
def test_only_the_channel_tells_a_change_event(name: str, decode: Decode) -> None:
    invocation = decode(received(name), Channel.CHANGE_LOG)
    assert invocation.kind is InvocationKind.CHANGE_EVENT
    assert invocation.run_id is None


# ── what is ours ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("flag", [False, "false", "False", None, 0, 1, "yes", {"a": True}])
@pytest.mark.parametrize("type_", ["WEBHOOK", "GITLAB", "GITHUB", "UPSERT_ENTITY", "webhook"])
def test_other_types_without_the_agents_flag_are_passed_over(
    type_: str, flag: object, intake: MessageIntake
) -> None:
    message = agent_message(type_)
    message["payload"]["action"]["invocationMethod"]["agent"] = flag
    assert intake.decode(signed(message), Channel.RUNS) == NotOurs("not_for_agents")


@pytest.mark.parametrize("flag", [True, "true", "True", " TRUE "])
@pytest.mark.parametrize("type_", ["WEBHOOK", "GITLAB", "SOMETHING_NEW"])
def test_the_agents_flag_may_be_a_string(type_: str, flag: object, decode: Decode) -> None:
    message = agent_message(type_)
    message["payload"]["action"]["invocationMethod"]["agent"] = flag
    assert decode(signed(message)).for_agents


@pytest.mark.parametrize("method", [{}, {"type": None}, {"type": 5}, {"type": "kafka"}, "KAFKA", [1]])
def test_kafka_type_and_untyped_messages_are_for_whoever_routes_them(method: object, decode: Decode) -> None:
    message = {"context": {"runId": "r_1"}, "payload": {"action": {"invocationMethod": method}}}
    invocation = decode(packed(message))
    assert invocation.method.type in {"", "KAFKA"}
    assert not invocation.for_agents


# ── where the run's id may stand ─────────────────────────────────────────────────────────────────────

PLACES = [
    ("context", "runId"),
    ("context", "nodeRunId"),
    ("port_context", "runId"),
    ("port_context", "run_id"),
    ("headers", "RUN_ID"),
    ("runId",),
    ("run_id",),
    ("port_run_id",),
    ("run", "id"),
    ("port_context", "runID"),
    ("runID",),
]


def with_run_ids(places: list[tuple[str, ...]]) -> dict[str, Any]:
    message: dict[str, Any] = {}
    for number, (*parents, last) in enumerate(places):
        target = message
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = f"r_{number}"
    return message


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_the_run_id_is_taken_from_the_first_place_that_has_one(first: int, decode: Decode) -> None:
    assert decode(packed(with_run_ids(PLACES[first:]))).run_id == "r_0"


@pytest.mark.parametrize("place", PLACES)
def test_a_value_that_cannot_be_a_run_id_counts_as_absent(place: tuple[str, ...], decode: Decode) -> None:
    for value in (None, 5, "", " ", "r_1/../x", "{{ .run.id }}", ["r_1"], "r_1\n", "r" * 129):
        message = with_run_ids([place])
        *parents, last = place
        target = message
        for parent in parents:
            target = target[parent]
        target[last] = value
        assert decode(packed(message)).run_id is None


def test_the_operators_path_is_asked_last() -> None:
    def find(message: Json) -> Json:
        assert isinstance(message, dict | list)
        return message[0]["id"] if isinstance(message, list) else message.get("mine")

    intake = MessageIntake(SECRET, StillClock(), extra_run_id=find)
    for body, run_id, kind in [
        (b'{"mine":"r_1"}', "r_1", InvocationKind.ACTION_RUN),
        (b'[{"id":"wfnr_1"}]', "wfnr_1", InvocationKind.NODE_RUN),
        (b'{"mine":"r_1","runId":"r_2"}', "r_2", InvocationKind.ACTION_RUN),
        (b'{"mine":{"id":"r_1"}}', None, InvocationKind.ACTION_RUN),
    ]:
        result = intake.decode(body, Channel.RUNS)
        assert isinstance(result, Decoded)
        assert (result.invocation.run_id, result.invocation.kind) == (run_id, kind)


def test_a_failing_path_finds_nothing() -> None:
    def fail(_: Json) -> Json:
        raise TemplateError("no such thing")

    assert requested_run({"mine": "r_1"}, InvocationMethod(), find_run_id=fail).run_id is None


# ── fields ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("message", "action"),
    [
        ({"payload": {"action": {"identifier": "a"}}, "action": "b"}, "a"),
        ({"payload": {"action": {"identifier": 1}}, "action": "b"}, "b"),
        ({"payload": {"action": "x"}, "action": {"identifier": "c"}}, "c"),
        ({"action": ["a"]}, None),
        ({"action": ""}, None),
    ],
)
def test_the_actions_identifier(message: object, action: str | None, decode: Decode) -> None:
    assert decode(packed(message)).action == action


@pytest.mark.parametrize(
    ("message", "blueprint"),
    [
        ({"context": {"blueprint": "a"}, "port_context": {"blueprint": "b"}}, "a"),
        ({"context": {"blueprint": {}}, "port_context": {"blueprint": "b"}}, "b"),
        ({"payload": {"action": {"blueprint": "c"}, "entity": {"blueprint": "d"}}}, "c"),
        ({"payload": {"entity": {"blueprint": "d"}}}, "d"),
        ({"entity": {"blueprint": "e"}}, "e"),
        ({"context": "text", "payload": []}, None),
    ],
)
def test_the_blueprint(message: object, blueprint: str | None, decode: Decode) -> None:
    assert decode(packed(message)).blueprint == blueprint


@pytest.mark.parametrize(
    ("message", "inputs"),
    [
        ({"payload": {"properties": {"a": 1}}, "inputs": {"b": 1}}, {"a": 1}),
        ({"payload": {"properties": [], "inputs": {"c": 1}}, "inputs": {"b": 1}}, {"b": 1}),
        ({"payload": {"inputs": {"c": 1}}, "properties": {"d": 1}}, {"c": 1}),
        ({"properties": {"d": 1}}, {"d": 1}),
        ({"inputs": None, "port_context": {}, "name": "x"}, {}),
    ],
)
def test_the_inputs(message: object, inputs: object, decode: Decode) -> None:
    assert decode(packed(message)).inputs == inputs


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ({"payload": {"censoredProperties": ["a", None, "b"]}}, ("a", "b")),
        ({"payload": {"censoredProperties": []}, "action": {"encryptedProperties": ["c"]}}, ("c",)),
        ({"payload": {"action": {"encryptedProperties": ["d"]}}}, ("d",)),
        ({"payload": {"censoredProperties": "abc"}}, ()),
    ],
)
def test_the_names_of_encrypted_inputs(message: object, names: tuple[str, ...], decode: Decode) -> None:
    assert decode(packed(message)).encrypted == names


@pytest.mark.parametrize("odd", [None, 1, "text", [], [[]], True, {"runId": {}, "identifier": [], "by": 5}])
def test_wrong_types_anywhere_count_as_absent(odd: object, decode: Decode) -> None:
    keys = [
        "context",
        "payload",
        "trigger",
        "action",
        "entity",
        "event",
        "inputs",
        "headers",
        "run",
        "port_context",
        "diff",
        "resourceType",
    ]
    message = dict.fromkeys(keys, odd)
    nested = dict.fromkeys(keys, message)
    for body in (packed(message), packed(nested)):
        assert decode(body).run_id is None
        assert decode(body, Channel.CHANGE_LOG).kind is InvocationKind.CHANGE_EVENT
