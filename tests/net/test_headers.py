"""What is looked at in one look is taken for what it is: nothing passes that a look at each would refuse."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.net.headers import are_plain, header_problem

_TEXTS = st.text("aZ-:\0\n\r\t é\x7f", max_size=6)


@example([("a", "b\nEvil\0c")])
@example([("a\0b\nc", "d")])
@example([("a", "b\n")])
@example([("a\n", "b")])
@example([("", "b")])
@given(st.lists(st.tuples(_TEXTS, _TEXTS), max_size=4))
def test_what_is_plain_can_be_sent(headers: list[tuple[str, str]]) -> None:
    if are_plain(headers):
        assert [header_problem(name, value) for name, value in headers] == [None] * len(headers)
        assert all(value.isascii() for _, value in headers)


@pytest.mark.parametrize("headers", [[], [("a", "")], [("X-Is_fine.1", "of ~ 7 !"), ("Accept", "*/*")]])
def test_usual_headers_are_plain(headers: list[tuple[str, str]]) -> None:
    assert are_plain(headers)
