from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runs_api.lines import LineCutter, clean


def cut(*chunks: bytes, max_chars: int = 1000) -> list[str]:
    cutter = LineCutter(max_chars)
    return [line for chunk in chunks for line in cutter.feed(chunk)] + cutter.close()


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b""], []),
        ([b"\n"], [""]),
        ([b"a\n\nb\n"], ["a", "", "b"]),
        ([b"no end"], ["no end"]),
        ([b"a\r\nb\r\n"], ["a", "b"]),
        ([b"a\r", b"\nb"], ["a", "b"]),
        ([b"a\r\r\nb"], ["a", "b"]),
        ([b" 10%\r 50%\r100%\n", b"done"], ["100%", "done"]),
        ([b" 10%\r", b" 50%", b"\r100%", b"\n"], ["100%"]),
        ([b"last\r"], ["last"]),
        ([b"\xc3", b"\xbc\xe2\x82", b"\xac\n"], ["ü€"]),
        ([b"a\xffb\n", b"\xe2\x82"], ["a\ufffdb", "\ufffd"]),
    ],
)
def test_lines(chunks: list[bytes], lines: list[str]) -> None:
    assert cut(*chunks) == lines


@given(st.text(alphabet="ab\r\nü").map(str.encode), st.lists(st.integers(0, 60), max_size=5))
def test_where_the_bytes_were_cut_makes_no_difference(raw: bytes, points: list[int]) -> None:
    edges = [0, *sorted(min(p, len(raw)) for p in points), len(raw)]
    chunks = [raw[a:b] for a, b in pairwise(edges)]
    assert cut(*chunks) == cut(raw)


@pytest.mark.parametrize("step", [1, 3, 100])
def test_of_a_long_line_the_beginning_stays_and_a_note(step: int) -> None:
    raw = b"ok\n" + b"x" * 50 + b"\nnext\n" + b"y" * 11
    chunks = [raw[i : i + step] for i in range(0, len(raw), step)]
    assert cut(*chunks, max_chars=10) == [
        "ok",
        "x" * 10 + " … 40 characters left out …",
        "next",
        "y" * 10 + " … 1 characters left out …",
    ]


@given(st.text(alphabet="ab\t\n\r\0\x1b[m\x7f\x85\x9b\xa0©ü€"))
def test_clean_text_is_left_as_it_is_and_other_text_is_made_clean(text: str) -> None:
    shown = clean(text)
    assert not {c for c in shown if (c < " " and c not in "\t\n") or "\x7f" <= c <= "\x9f"}
    if not {c for c in text if (c < " " and c not in "\t\n") or "\x7f" <= c <= "\x9f"}:
        assert shown == text


def test_a_line_without_end_is_not_held_in_memory() -> None:
    cutter = LineCutter(100)
    for chunk in (b"x" * 5000, b"\r" * 5000):
        for _ in range(20):
            assert cutter.feed(chunk) == []
            assert len(cutter._partial) <= 100
    assert len(cutter.close()) == 1


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain\tä\nline", "plain\tä\nline"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1bPq#0\x1b\\after", "after"),
        ("a\x1b(Bb\x1b=c", "abc"),
        ("nul\0 bell\a back\b", "nul bell back"),
        ("one\r\ntwo", "one\ntwo"),
        ("cut \x1b[3", "cut 3"),
    ],
)
def test_terminal_escapes_and_control_characters_go(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
