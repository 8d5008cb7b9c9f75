from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.domain.route import EntityVerb
from agent.executors.outputs import MAX_COMPLAINTS, Complaint, EntityRequest, Outputs, parse_outputs

_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,9}", fullmatch=True)
_OWN_NAMES = _NAMES.filter(
    lambda name: name not in {"link", "summary", "status_label", "external_run_id", "entity"}
)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)


def _complaints(content: bytes) -> list[str]:
    return [str(complaint) for complaint in parse_outputs(content).complaints]


# ── what must hold for any bytes ──────────────────────────────────────────────────────────────────────


@given(st.binary(max_size=400))
@example(b"a<<\n")
@example(b"a<<EOF\nEOF\r\n\xff\xfeb=1")
@example(b"entity=" + b"[" * 100_000)
@example(b'entity={"blueprint":"b","properties":{"n":1e999}}')
@example(b'entity={"blueprint":"b","properties":{"n":' + b"1" * 5000 + b"}}")
def test_no_bytes_raise_and_every_line_number_exists(content: bytes) -> None:
    lines = content.count(b"\n") + 1
    assert all(c.line is not None and 1 <= c.line <= lines for c in parse_outputs(content).complaints)


@given(st.lists(st.sampled_from(["a=1", "b<<E", "E", "", "=", "entity={}", "entity<<E", "x", "\ufeff", "\0"])))
def test_no_lines_raise(lines: list[str]) -> None:
    parse_outputs("\n".join(lines).encode())


@given(st.dictionaries(_OWN_NAMES, _TEXTS, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_blocks_carry_any_text(values: dict[str, str], end: str, bom: bool) -> None:  # noqa: FBT001 - hypothesis
    """Whatever a block holds arrives, but for carriage returns at ends of lines, which may be Windows'."""
    expected = {
        name: "\n".join(line.removesuffix("\r") for line in text.split("\n")) for name, text in values.items()
    }
    content = "".join(f"{name}<<E-{name}{end}{text}{end}E-{name}{end}" for name, text in expected.items())
    outputs = parse_outputs(("\ufeff" if bom else "").encode() + content.encode())
    assert outputs.values == expected or any(f"E-{name}" in text for name, text in values.items())
    assert not outputs.complaints


@given(st.dictionaries(_OWN_NAMES, _TEXTS.filter(lambda text: not set(text) & {"\n", "\r"})))
def test_lines_carry_any_text_without_line_ends(values: dict[str, str]) -> None:
    content = "".join(f"{name}={text}\n" for name, text in values.items())
    assert parse_outputs(content.encode()).values == values


@given(st.lists(st.sampled_from(["good=1", "bad line", ""]), max_size=30))
def test_bad_lines_are_named_by_their_number(lines: list[str]) -> None:
    bad = [number for number, line in enumerate(lines, start=1) if line == "bad line"]
    outputs = parse_outputs("\n".join(lines).encode())
    assert [complaint.line for complaint in outputs.complaints] == bad[:MAX_COMPLAINTS]
    assert outputs.more_complaints == len(bad[MAX_COMPLAINTS:])


def test_of_many_bad_lines_only_some_are_kept_and_the_first_that_may_have_been_an_entity() -> None:
    lines = ["x"] * 30 + ["entity: lost", "entity: lost too"]
    outputs = parse_outputs("\n".join(lines).encode())
    assert [complaint.line for complaint in outputs.complaints] == [*range(1, 21), 31]
    assert [complaint.line for complaint in outputs.complaints if complaint.grave] == [31]
    assert outputs.more_complaints == 11


def test_a_file_of_bad_lines_takes_memory_in_proportion() -> None:
    count = 50_000
    content = b"x\n" * count
    tracemalloc.start()
    try:
        outputs = parse_outputs(content)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outputs.more_complaints == count - MAX_COMPLAINTS
    assert peak_bytes < 40 * len(content)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"%b=\0" % (b"n" * 50_000), "the value contains a NUL character"),
        (b"%b=\xff" % (b"n" * 50_000), "the value is not UTF-8 (invalid start byte)"),
        (b'entity={"%b":1}' % (b"n" * 50_000), "entity: unknown key of 50000 characters; it may have blueprint,"),
        (b'entity={"%b":1}' % (b"\x7f" * 40), "entity: unknown key of 40 characters; it may have blueprint,"),
        (b'entity={"blueprint":%b}' % (b"1" * 5000), "entity: a number 5000 characters long is too large"),
        (b'entity={"blueprint":%b.0}' % (b"1" * 5000), "entity: a number 5002 characters long is too large"),
    ],
)
def test_complaints_are_short_whatever_they_are_about(content: bytes, complaint: str) -> None:
    (said,) = _complaints(content)
    assert said.startswith(f"$AGENT_OUTPUT line 1: {complaint}")
    assert len(said) < 200


# ── what the words mean ───────────────────────────────────────────────────────────────────────────────


def test_words_with_a_meaning() -> None:
    content = b"link=https://a\nlink = https://b \nsummary<<E\none\ntwo\nE\nstatus_label=x\nexternal_run_id=7\n"
    assert parse_outputs(content) == Outputs(
        links=["https://a", "https://b"], summary="one\ntwo", status_label="x", external_run_id="7"
    )


def test_last_one_wins_and_an_equals_sign_may_stand_in_a_value() -> None:
    assert parse_outputs(b"a=1\na=2=<<E\n") == Outputs(values={"a": "2=<<E"})


def test_empty_words_are_complained_about() -> None:
    assert _complaints(b"link=\nsummary=  \nfree=\n") == [
        "$AGENT_OUTPUT line 1: link is empty",
        "$AGENT_OUTPUT line 2: summary is empty",
    ]


def test_delimiter_that_never_comes_swallows_the_rest() -> None:
    outputs = parse_outputs(b"a=1\nb<<EOF\nEOF \nc=2\n")
    assert outputs.values == {"a": "1"}
    assert outputs.complaints == [Complaint(2, "the block is never closed, and all after it ignored: b<<EOF")]


@pytest.mark.parametrize("content", [b"entity<<E\n{}", b"b<<E\nx\nentity<<F\n{}\nF\n", b"entity: {}"])
def test_what_may_have_been_an_entity_is_grave(content: bytes) -> None:
    (complaint,) = parse_outputs(content).complaints
    assert complaint.grave


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a<<\nx\n", "the block is never closed, and all after it ignored: a<<"),
        (b"stray words", "expected name=value or name<<EOF: stray words"),
        (b"a b=1", "expected name=value or name<<EOF"),
        (b"\xc3\xa9=1", "expected name=value or name<<EOF"),
        (b"just words of a stray echo that goes on and on", "expected name=value or name<<EOF"),
        (b"a=\xff", "the value of a is not UTF-8 (invalid start byte)"),
        (b"a=1\0", "the value of a contains a NUL character"),
        (b"\xff\xfea\0=\x001\0", "expected name=value or name<<EOF"),
    ],
)
def test_what_is_no_line_of_ours(content: bytes, complaint: str) -> None:
    (said,) = _complaints(content)
    assert said == f"$AGENT_OUTPUT line 1: {complaint}"


def test_complaints_do_not_repeat_values() -> None:
    assert "s3cr3t" not in "".join(_complaints(b"my token=s3cr3t\nentity=s3cr3t\na=s3cr3t\0\ns3cr3t==\n"))


# ── entities ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_entity_in_full() -> None:
    entity = {
        "verb": "patch",
        "blueprint": "service",
        "identifier": "billing",
        "title": "Billing",
        "icon": "Cart",
        "properties": {"tier": 1},
        "relations": {"team": "core"},
        "team": ["core"],
    }
    content = f"entity<<EOF\n{json.dumps(entity, indent=2)}\nEOF\n".encode()
    parts = {key: entity[key] for key in ("title", "icon", "properties", "relations", "team")}
    (request,) = parse_outputs(content).entities
    assert request == EntityRequest(EntityVerb.PATCH, "service", "billing", request.parts)
    assert request.parts == parts


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON: Expecting value at line 1 of the block"),
        ("[]", "must be a JSON object"),
        ("{}", "blueprint is missing"),
        ('{"blueprint": 1}', "blueprint must be a text that is not empty"),
        ('{"blueprint": "b", "identifier": ""}', "identifier must be a text that is not empty"),
        ('{"blueprint": "b", "identifier": 7}', "identifier must be a text that is not empty"),
        ('{"blueprint": "b", "verb": "delete"}', "identifier is missing; delete needs it"),
        ('{"blueprint": "b", "verb": "create"}', "verb must be one of upsert, patch, delete"),
        ('{"blueprint": "b", "verb": ["patch"]}', "verb must be one of upsert, patch, delete"),
        ('{"blueprint": "b", "properties": []}', "properties must be an object"),
        ('{"blueprint": "b", "title": 1}', "title must be a text that is not empty"),
        ('{"blueprint": "b", "propertys": {}}', "unknown key 'propertys'; it may have blueprint, identifier, verb"),
        ('{"blueprint": "b", "properties": {"n": NaN}}', "not JSON: NaN"),
        ('{"blueprint": "b", "properties": {"n": 1e999}}', "the number 1e999 is too large"),
        ("[" * 100_000, "nested too deeply"),
        ('{"blueprint": "b", "properties": {"a": ' + "[" * 600 + "]" * 600 + "}}", "nested too deeply"),
    ],
)
def test_an_entity_that_cannot_be_used_is_grave(text: str, complaint: str) -> None:
    outputs = parse_outputs(f"entity={text}".encode())
    assert not outputs.entities
    (said,) = outputs.complaints
    assert said.grave
    assert complaint in said.message
