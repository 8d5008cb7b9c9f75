import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.json import Json, as_flag, as_object, as_text, compact


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.5, None, True], "é": "✓"}, '{"a":[1,2.5,null,true],"é":"✓"}'),
        ("\ud800x", r'"\ud800x"'),
        ({"\udfff": "😀"}, r'{"\udfff":"😀"}'),
        ("\n\x01", r'"\n\u0001"'),
        ([], "[]"),
    ],
)
def test_compact_text_has_no_spaces_and_can_be_encoded(value: Json, text: str) -> None:
    assert compact(value) == text
    assert compact(value).encode()


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.characters(), st.lists))
def test_compact_text_reads_back_as_the_value(value: Json) -> None:
    assert json.loads(compact(value).encode()) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [("as it is", "as it is"), ("", ""), (5, "5"), (None, "null"), (True, "true"), ({"a": ["é"]}, '{"a":["é"]}')],
)
def test_text_for_ports_string_fields(value: Json, text: str) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize("value", [None, 1, "text", [], [{"a": 1}], True])
def test_what_is_no_object_reads_as_an_empty_one(value: Json) -> None:
    assert as_object(value) == {}
    assert as_object({"a": value}) == {"a": value}


@pytest.mark.parametrize("value", [True, "true", "True", " TRUE\n"])
def test_flags_that_mean_yes(value: Json) -> None:
    assert as_flag(value)


@pytest.mark.parametrize("value", [False, "false", "yes", "1", "", 1, None, [True], {"agent": True}])
def test_everything_else_means_no(value: Json) -> None:
    assert not as_flag(value)
