"""The kept end of a flood is, to the line, what keeping it line by line would give."""

from __future__ import annotations

import sys
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runs_api.log_tail import LogTail

_MAX_BYTES = 300

lines = st.one_of(st.text("aü😀\ud83d", max_size=20), st.integers(60, 400).map(lambda length: "x" * length))
writes = st.lists(st.tuples(st.lists(lines, max_size=40), st.sampled_from(["INFO", "ERROR"])), max_size=12)


def _line_by_line(written: list[tuple[list[str], str]]) -> tuple[list[tuple[str, str]], int, int]:
    """What is kept, and the count and size of what is not."""
    kept: deque[tuple[str, str]] = deque()
    left_out_lines = left_out_bytes = 0

    def size_bytes(line: str) -> int:
        return len(line.encode("utf-8", "surrogatepass")) + 1

    for added, level in written:
        for line in added:
            kept.append((line, level))
            while len(kept) > 1 and sum(max(64, size_bytes(text)) for text, _ in kept) > _MAX_BYTES:
                left_out_lines += 1
                left_out_bytes += size_bytes(kept.popleft()[0])
    return list(kept), left_out_lines, left_out_bytes


@given(writes)
def test_what_is_kept_does_not_depend_on_how_lines_came(written: list[tuple[list[str], str]]) -> None:
    tail = LogTail(_MAX_BYTES)
    for added, level in written:
        tail.add(added, level)
    expected, left_out_lines, left_out_bytes = _line_by_line(written)
    assert tail.line_count == len(expected)
    assert [(line.text, line.level) for line in tail.take()] == expected
    assert (tail.left_out_lines, tail.left_out_bytes) == (left_out_lines, left_out_bytes)
    assert tail.take() == []


@given(writes, writes)
def test_asking_for_the_counts_meanwhile_changes_nothing(
    before: list[tuple[list[str], str]], after: list[tuple[list[str], str]]
) -> None:
    asked, unasked = LogTail(_MAX_BYTES), LogTail(_MAX_BYTES)
    for part, so_far in ((before, before), (after, before + after)):
        for added, level in part:
            asked.add(added, level)
            unasked.add(added, level)
        expected, left_out_lines, left_out_bytes = _line_by_line(so_far)
        assert asked.line_count == len(expected)
        assert (asked.left_out_lines, asked.left_out_bytes) == (left_out_lines, left_out_bytes)
    assert asked.take() == unasked.take()
    assert asked.left_out_bytes == unasked.left_out_bytes


@pytest.mark.parametrize("last", ["x", "😀"])
@pytest.mark.parametrize("at_once", [1, 7, 600, 6000])
def test_memory_stays_within_a_few_times_what_is_kept(at_once: int, last: str) -> None:
    tail = LogTail(64 * 1024)
    most_bytes = 0
    for _ in range(6000 // at_once):
        tail.add([*["x" * 100] * (at_once - 1), "x" * 99 + last], "INFO")
        most_bytes = max(most_bytes, sum(map(sys.getsizeof, (piece.raw for piece in tail._pieces))))
    assert most_bytes < (64 + 256) * 1024
