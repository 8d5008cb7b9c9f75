import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.intake.parse import MAX_DEPTH, UndecodableError, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "not JSON: Expecting value at character 0"),
        (b"   ", "not JSON"),
        (b"\xff\xfe{\x00", "not UTF-8 at byte 0"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8 at byte 6"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a":1', "not JSON"),
        (b'{"a":1} {"b":2}', "not JSON: Extra data at character 8"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":"\x00"}', "not JSON: Invalid control character"),
        (b"null", "bare JSON scalar"),
        (b'"text"', "bare JSON scalar"),
        (b"42", "bare JSON scalar"),
        (b'{"a":NaN}', "holds NaN"),
        (b'{"a":-Infinity}', "holds -Infinity"),
        (b'{"a":1e400}', "too large"),
        (b'{"a":' + b"9" * 5000 + b"}", "too many digits"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "nested deeper"),
    ],
)
def test_what_is_not_a_message_is_refused_with_a_sentence(body: bytes, detail: str) -> None:
    with pytest.raises(UndecodableError, match=detail) as refusal:
        parse(body)
    error = refusal.value
    assert error.__context__ is None or error.__suppress_context__  # a traceback would quote the message


def test_a_sentence_quotes_nothing_of_the_message() -> None:
    with pytest.raises(UndecodableError) as refusal:
        parse(b'{"password":"hunter2", oops}')
    assert "hunter2" not in str(refusal.value)
    assert "oops" not in str(refusal.value)


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_the_deepest_allowed_nesting_is_read(wrap: Callable[[object], object]) -> None:
    document: object = wrap(1)
    for _ in range(MAX_DEPTH - 1):
        document = wrap(document)
    assert parse(json.dumps(document).encode())[1] == document


def test_many_siblings_are_not_depth() -> None:
    document = [{"a": [i]} for i in range(1000)]
    assert parse(json.dumps(document).encode())[1] == document


def test_brackets_in_strings_are_not_depth() -> None:
    document = ["[{" * MAX_DEPTH, {'\\"[' * MAX_DEPTH: '"' + "[" * MAX_DEPTH}, "\\"]
    assert parse(json.dumps(document).encode())[1] == document
    with pytest.raises(UndecodableError, match="nested deeper"):
        parse(b'["\\"]]]",' * (MAX_DEPTH + 1) + b"1" + b"]" * (MAX_DEPTH + 1))


def test_a_message_over_the_size_limit_is_not_read() -> None:
    with pytest.raises(UndecodableError, match="11 bytes, more than AGENT_MAX_MESSAGE_BYTES=10"):
        parse(b"not json!!!", max_bytes=10)
    assert parse(b'["ninety"]', max_bytes=10)[1] == ["ninety"]


def test_of_equal_keys_the_last_wins() -> None:
    assert parse(b'{"a":1,"a":2}')[1] == {"a": 2}


def test_escaped_nul_and_lone_surrogates_are_json() -> None:
    assert parse(rb'["\u0000", "\ud800"]')[1] == ["\0", "\ud800"]


@given(JSON)
def test_every_json_document_is_read_as_it_was_written(value: object) -> None:
    text = json.dumps({"value": value})
    assert parse(text.encode()) == (text, {"value": value})


@given(st.binary())
def test_arbitrary_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        text, document = parse(body)
    except UndecodableError:
        return
    assert text.encode() == body
    assert isinstance(document, dict | list)
