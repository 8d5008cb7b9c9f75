from __future__ import annotations

import asyncio

import pytest

from agent import EntityRefusedError, Run, Succeeded
from agent.domain.errors import TemplateError
from agent.domain.invocation import View
from agent.domain.route import EntityVerb
from agent.executors.sync_run import SyncRun
from agent.ports import EntityChange, RunContext
from agent.testing import FakeRun, FakeTemplates, LogLine


async def create(run: Run) -> Succeeded:
    await run.upsert_entity("service", identifier=str(run.inputs["name"]))
    run.link(f"https://git.internal/{run.inputs['name']}")
    return Succeeded("New entity created")


def create_sync(run: SyncRun) -> Succeeded:
    run.upsert_entity("service", identifier=str(run.inputs["name"]))
    run.link(f"https://git.internal/{run.inputs['name']}")
    return Succeeded("New entity created")


def test_an_action_is_tested_without_an_agent() -> None:
    with FakeRun({"name": "billing"}) as run, FakeRun({"name": "billing"}) as second:
        assert asyncio.run(create(run)) == Succeeded("New entity created")
        assert create_sync(second.sync) == Succeeded("New entity created")
    for each in (run, second):
        assert each.links == ["https://git.internal/billing"]
        assert each.entity_changes == [EntityChange(EntityVerb.UPSERT, "service", "billing")]


def test_a_fake_run_is_a_run_context() -> None:
    with FakeRun() as run:
        context: RunContext = run
        workspace = context.workspace
        assert workspace.is_dir()
    assert not workspace.exists()


def test_entities_can_be_refused() -> None:
    with FakeRun(refuse_entities="no such blueprint") as run, pytest.raises(EntityRefusedError, match="no such"):
        run.sync.delete_entity("service", identifier="x")


def test_a_forgotten_await_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="upsert_entity was called without await"), FakeRun() as run:
        run.upsert_entity("service", identifier="x")  # type: ignore[unused-coroutine]  # the mistake
    assert run.entity_changes == []


def test_a_forgotten_await_hides_no_other_failure_of_the_test() -> None:
    with FakeRun() as run:
        run.upsert_entity("service", identifier="x")  # type: ignore[unused-coroutine]  # the mistake
        run.__exit__(ValueError, ValueError("another"), None)
    closed = FakeRun()
    closed.upsert_entity("service", identifier="x")  # type: ignore[unused-coroutine]  # the mistake
    closed.close()


def test_the_log_is_masked_and_capped() -> None:
    with FakeRun(log_max_bytes=30) as run:
        run.mask("s3cr3t")
        stream = run.stream("stdout")
        stream.write(b"a s3c")
        stream.write(b"r3t\r\nlast")
        stream.close()
        run.log("this does not fit any more")
        assert run.lines == [LogLine("a [masked]", stream="stdout"), LogLine("last", stream="stdout")]
        assert run.dropped_bytes == 26


def test_an_action_may_cut_what_is_masked() -> None:
    with FakeRun() as run:
        run.mask("s3cr3t-word")
        for each in (run, run.sync):
            assert each.masked("a s3cr3t-word, a s3cr3t") == "a [masked], a s3cr3t"
            assert each.masked("a s3cr3t-word, a s3cr3t", is_cut=True) == "a [masked], a "


def test_fake_templates_encode_what_stands_inside_of_text() -> None:
    template = FakeTemplates().template(["{{ .x }}", "{{ .x }}/{{ .x }}"], "path", encode=str.upper)
    assert template.render(View({"x": "a"})) == ["a", "a/A"]


def test_fake_templates_refuse_null_inside_of_names() -> None:
    templates = FakeTemplates()
    assert templates.template("a-{{ .x }}", "path").render(View({})) == "a-null"
    with pytest.raises(TemplateError, match=r"path: \.x gave null inside of text"):
        templates.template("a-{{ .x }}", "path", is_name=True).render(View({}))


def test_fake_templates_know_paths() -> None:
    view = View({"a": {"b": [1, 2]}, "c": None})
    template = FakeTemplates().template({"x": "{{ .a.b }}", "y": ["{{.a}}!", "{{ .c.d }}"], "z": 1}, "path")
    assert template.render(view) == {"x": [1, 2], "y": ['{"b":[1,2]}!', None], "z": 1}
    assert FakeTemplates().expression(".a.b", "path").render(view) == [1, 2]
    with pytest.raises(TemplateError, match="path: cannot look up 'c'"):
        FakeTemplates().expression(".a.b.c", "path").render(view)
