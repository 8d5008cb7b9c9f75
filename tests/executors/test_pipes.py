from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.executors.pipes import Tail


def _tail(*chunks: bytes) -> str:
    tail = Tail()
    stream = tail.stream()
    for chunk in chunks:
        stream.write(chunk)
    stream.close()
    return tail.text


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"d\ne", b"\n\n", b"f\n"] + [b"%d\n" % n for n in range(5)])))
def test_the_tail_does_not_depend_on_how_the_output_was_cut(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    lines = [line.decode() for line in whole.split(b"\n") if line]
    assert _tail(*pieces) == "\n".join(lines[-10:])


@given(st.lists(st.binary(max_size=30)))
def test_no_bytes_raise_and_no_control_character_stays(pieces: list[bytes]) -> None:
    assert not {c for c in _tail(*pieces) if c < " " and c not in "\n\t"}


def test_long_lines_are_left_out_whole() -> None:
    assert _tail(b"first\n" + b"x" * 5000, b"y" * 5000, b"z\nlast") == "first\nlast"
    assert _tail(b"first\n" + b"x" * 2000 + b"\nlast") == "last"
    assert not _tail(b"x" * 9000)


def test_the_end_of_a_long_line_is_left_out_with_it() -> None:
    assert _tail(b"first\n" + b"x" * 5000, b"the end of a secret") == "first"


def test_streams_are_cut_into_lines_separately() -> None:
    tail = Tail()
    stdout, stderr = tail.stream(), tail.stream()
    stdout.write(b"half of ")
    stderr.write(b"whole\n")
    stdout.write(b"a line\n")
    assert tail.text == "whole\nhalf of a line"
