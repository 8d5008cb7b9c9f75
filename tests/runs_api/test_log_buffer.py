from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runs_api.log_buffer import LogBuffer, LogLimits

ROOMY = LogLimits(batch_bytes=1024)


def everything(buffer: LogBuffer, max_bytes: int = 10_000) -> list[str]:
    """What would be sent, line by line."""
    lines: list[str] = []
    while (batch := buffer.take(max_bytes)) is not None:
        lines.extend(batch.text.split("\n"))
    return lines


levels = st.sampled_from(["INFO", "ERROR"])
writes = st.lists(st.tuples(st.lists(st.text("aü", max_size=30), min_size=1, max_size=10), levels), max_size=12)


@given(writes, st.integers(130, 2000))
def test_gives_out_what_it_took_in_order_and_in_bounded_batches(
    written: list[tuple[list[str], str]], max_bytes: int
) -> None:
    buffer = LogBuffer(ROOMY)
    for lines, level in written:
        buffer.add(lines, level)
    expected = [line for lines, _ in written for line in lines]
    assert buffer.line_count == len(expected)
    sent: list[str] = []
    while (batch := buffer.take(max_bytes)) is not None:
        assert batch.size_bytes <= max_bytes + 1
        assert len(batch.text.encode()) <= max_bytes
        assert batch.line_count == sum(block.line_count for block in batch.blocks)
        assert buffer.line_count == len(expected) - len(sent) - batch.line_count
        sent.extend(batch.text.split("\n"))
    assert sent == expected
    assert buffer.waiting_bytes == buffer.line_count == 0


def test_lines_of_one_level_stay_together() -> None:
    buffer = LogBuffer(ROOMY)
    buffer.add(["a", "b"], "INFO")
    buffer.add(["c"], "ERROR")
    buffer.add(["d"], "ERROR")
    batch = buffer.take(1000)
    assert batch is not None
    assert [(block.level, block.text, block.line_count) for block in batch.blocks] == [
        ("INFO", "a\nb", 2),
        ("ERROR", "c\nd", 2),
    ]


def test_what_was_put_back_comes_first_and_can_be_halved() -> None:
    buffer = LogBuffer(ROOMY)
    buffer.add(["x" * 300, "y" * 300, "z"], "INFO")
    batch = buffer.take(10_000)
    assert batch is not None
    buffer.put_back(batch)
    assert buffer.waiting_bytes == batch.size_bytes
    half = buffer.take(batch.size_bytes // 2)
    assert half is not None
    assert (half.text, half.line_count) == ("x" * 300, 1)
    assert everything(buffer) == ["y" * 300, "z"]


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_a_line_longer_than_a_message_is_sent_in_parts(letter: str) -> None:
    buffer = LogBuffer(ROOMY)
    buffer.add([letter * 5000, "next"], "INFO")
    parts = []
    lines = 0
    while (batch := buffer.take(1000)) is not None:
        parts.append(batch.text)
        lines += batch.line_count
    assert "".join(parts).replace("\n", "") == letter * 5000 + "next"
    assert lines == 2


def test_beyond_the_cap_the_end_is_kept_and_the_rest_is_counted() -> None:
    limits = LogLimits(head_bytes=2000, tail_bytes=640)
    buffer = LogBuffer(limits)
    lines = [f"line {n:06d}" for n in range(20_000)]
    buffer.add(lines, "INFO")
    assert buffer.capped
    live = everything(buffer)
    assert lines[: len(live) - 1] == live[:-1]
    assert live[-1] == "… more than 2.0 KiB: from here on only the end is kept …"
    buffer.end()
    rest = everything(buffer)
    assert rest[1:] == lines[-10:]
    left_out = 20_000 - (len(live) - 1) - 10
    assert buffer.left_out_lines == left_out
    assert rest[0] == f"… {left_out:,} lines ({left_out * 12 / 1024:.1f} KiB) left out …"


def test_nothing_is_said_to_be_left_out_if_the_end_held_it_all() -> None:
    buffer = LogBuffer(LogLimits(head_bytes=100, tail_bytes=10_000))
    buffer.add(["x" * 60, "y" * 60, "z" * 60], "INFO")
    buffer.end()
    assert everything(buffer)[-2:] == ["y" * 60, "z" * 60]
    assert buffer.left_out_lines == 0


def test_dropping_counts_what_waited_and_what_was_kept() -> None:
    buffer = LogBuffer(LogLimits(head_bytes=100, tail_bytes=10_000))
    buffer.add(["x" * 60, "y" * 60, "z" * 60], "INFO")
    assert buffer.drop_all() == 4  # with the note
    assert (buffer.line_count, buffer.waiting_bytes, everything(buffer)) == (0, 0, [])


def test_memory_is_bounded_even_for_a_flood_of_empty_lines() -> None:
    buffer = LogBuffer(LogLimits())
    for _ in range(120):
        buffer.add([""] * 10_000, "INFO")
    texts = [line for block in buffer._blocks for line in block.lines]
    pieces = buffer._tail._pieces
    assert pieces  # the head is full
    kept_bytes = sum(map(sys.getsizeof, [*texts, *pieces, *(piece.raw for piece in pieces)]))
    assert kept_bytes < 3 * 1024 * 1024


def test_sizes_are_shown_in_a_readable_unit() -> None:
    buffer = LogBuffer(LogLimits(head_bytes=10, tail_bytes=1))
    buffer.add(["a" * 20, "b" * 20], "INFO")
    buffer.end()
    assert everything(buffer)[:2] == [
        "… more than 10 bytes: from here on only the end is kept …",
        "… 1 lines (21 bytes) left out …",
    ]
    large = LogBuffer(LogLimits(head_bytes=3 * 2**20))
    large.add(["x" * 2**20] * 4, "INFO")
    large.end()
    assert everything(large, 10**9)[2].startswith("… more than 3.0 MiB")
