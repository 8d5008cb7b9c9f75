from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from agent.domain.outcome import Failed, FailureKind, Succeeded
from agent.domain.route import EntityVerb
from agent.ports import EntityChange
from agent.testing import FakeRun
from tests.executors.process_helpers import execute


@pytest.fixture
def run() -> Iterator[FakeRun]:
    with FakeRun() as run:
        yield run


def test_outputs_count_after_a_failure_too(run: FakeRun) -> None:
    script = 'echo link=https://x/1 >>$AGENT_OUTPUT; echo entity=\'{"blueprint": "b"}\' >>$AGENT_OUTPUT; exit 1'
    assert execute(run, script) == Failed("exit code 1", FailureKind.EXIT_CODE)
    assert run.links == ["https://x/1"]
    assert run.entity_changes == [EntityChange(EntityVerb.UPSERT, "b", None)]


def test_a_bad_line_is_named_and_forgiven(run: FakeRun) -> None:
    assert execute(run, "printf 'a=1\\nnonsense\\nb=2\\n' >>$AGENT_OUTPUT") == Succeeded()
    assert run.outputs == {"a": "1", "b": "2"}
    (line,) = run.lines
    assert (line.level, line.text) == (
        "WARN",
        "$AGENT_OUTPUT line 2: expected name=value or name<<EOF: nonsense",
    )


def test_complaints_do_not_flood_the_log(run: FakeRun) -> None:
    assert execute(run, "seq 500 >>$AGENT_OUTPUT") == Succeeded()
    assert len(run.lines) == 21
    assert run.lines[-1].text == "$AGENT_OUTPUT: 480 more lines could not be used"


def test_a_broken_entity_is_not_forgiven(run: FakeRun) -> None:
    outcome = execute(run, "printf 'entity<<EOF\\n{oops\\nEOF\\n' >>$AGENT_OUTPUT")
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.BAD_OUTPUT
    assert outcome.reason.startswith("$AGENT_OUTPUT line 1: entity: not JSON")


def test_an_entity_that_port_refuses_fails_the_run() -> None:
    with FakeRun(refuse_entities="blueprint service has no property tier") as run:
        outcome = execute(run, """echo 'entity={"blueprint":"service","identifier":"x"}' >>$AGENT_OUTPUT""")
    assert outcome == Failed("entity x of service: blueprint service has no property tier", FailureKind.BAD_OUTPUT)


def test_entities_are_patched_and_deleted(run: FakeRun) -> None:
    patch = {"verb": "patch", "blueprint": "b", "identifier": "i", "title": "T", "team": ["t"]}
    delete = {"verb": "delete", "blueprint": "b", "identifier": "j"}
    script = (
        f"echo 'entity={json.dumps(patch)}' >>$AGENT_OUTPUT; echo 'entity={json.dumps(delete)}' >>$AGENT_OUTPUT"
    )
    assert execute(run, script) == Succeeded()
    assert run.entity_changes == [
        EntityChange(EntityVerb.PATCH, "b", "i", {"title": "T", "team": ["t"]}),
        EntityChange(EntityVerb.DELETE, "b", "j"),
    ]


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("rm $AGENT_OUTPUT; mkfifo $AGENT_OUTPUT", "$AGENT_OUTPUT is not a regular file"),
        ("rm $AGENT_OUTPUT; mkdir $AGENT_OUTPUT", "$AGENT_OUTPUT cannot be read: Is a directory"),
        ("ln -sf /etc/passwd $AGENT_OUTPUT", "$AGENT_OUTPUT cannot be read: Too many levels of symbolic links"),
        ("head -c 1048577 /dev/zero >$AGENT_OUTPUT", "$AGENT_OUTPUT is larger than 1024 KiB"),
    ],
)
def test_an_output_file_that_was_replaced_is_not_followed(run: FakeRun, script: str, complaint: str) -> None:
    assert execute(run, script) == Failed(complaint, FailureKind.BAD_OUTPUT)
    assert run.log_text == complaint


def test_an_output_file_that_is_gone_says_nothing(run: FakeRun) -> None:
    assert execute(run, "rm $AGENT_OUTPUT") == Succeeded()
    assert not run.lines


def test_a_large_output_file_is_taken_whole(run: FakeRun) -> None:
    assert execute(run, "for i in $(seq 5000); do echo v$i=$i; done >$AGENT_OUTPUT") == Succeeded()
    assert len(run.outputs) == 5000
