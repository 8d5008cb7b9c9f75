"""Redaction is proven against an oracle that marks bytes one by one."""

from __future__ import annotations

import base64
import json
import shlex
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.domain import redaction
from agent.domain.json import Json
from agent.domain.redaction import MASK, Redactor, is_maskable, needles
from tests.domain.redaction_oracle import cut, oracle

SECRET = "pä$s/w+rd'1 2\\é"


def redactor_of(*wanted: bytes) -> Redactor:
    """A redactor with exactly these needles, short ones too: the algorithm does not care for their length."""
    redactor = Redactor()
    redactor._search_for(wanted)
    return redactor


def streamed(redactor: Redactor, chunks: list[bytes]) -> bytes:
    stream = redactor.stream()
    return b"".join(map(stream.feed, chunks)) + stream.close()


few_letters = st.text(alphabet="ab", max_size=40).map(str.encode)
few_needles = st.lists(st.text(alphabet="ab", min_size=1, max_size=6).map(str.encode), max_size=4)


@settings(max_examples=600, deadline=None)
@given(few_letters, few_needles.map(tuple), st.lists(st.integers(0, 40), max_size=6))
def test_shows_exactly_the_bytes_that_no_needle_covers_wherever_the_stream_is_cut(
    raw: bytes, wanted: tuple[bytes, ...], points: list[int]
) -> None:
    assert streamed(redactor_of(*wanted), cut(raw, points)) == oracle(raw, wanted)


@settings(max_examples=200, deadline=None)
@given(few_letters, few_needles.map(tuple))
def test_byte_by_byte_is_the_same_as_at_once(raw: bytes, wanted: tuple[bytes, ...]) -> None:
    one_by_one = [raw[i : i + 1] for i in range(len(raw))]
    assert streamed(redactor_of(*wanted), one_by_one) == oracle(raw, wanted)


@settings(max_examples=200, deadline=None)
@given(few_letters, few_needles.map(tuple), st.lists(st.integers(0, 40), max_size=6))
def test_never_holds_back_as_much_as_the_longest_needle(
    raw: bytes, wanted: tuple[bytes, ...], points: list[int]
) -> None:
    stream = redactor_of(*wanted).stream()
    for chunk in cut(raw, points):
        stream.feed(chunk)
        assert len(stream._pending) < max(map(len, wanted), default=1)


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=6, max_size=20).filter(is_maskable), st.text(max_size=20), st.text(max_size=20))
def test_text_never_shows_the_secret(secret: str, before: str, after: str) -> None:
    masked = Redactor([secret]).mask_text(before + secret + after)
    wanted = tuple(needles(secret))
    raw = (before + secret + after).encode()
    assert masked.encode() == oracle(raw, wanted)


def test_touching_and_overlapping_secrets_become_one_mask() -> None:
    redactor = Redactor(["abcdef", "defghi", "123456"])
    assert redactor.mask_text("x abcdefghi123456 y") == f"x {MASK} y"


def test_what_failed_half_way_is_learned_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(_needle: bytes) -> int:
        raise MemoryError

    redactor = Redactor(["abcdef"])
    monkeypatch.setattr(redaction, "_least_usual", no_memory)
    with pytest.raises(MemoryError):
        redactor.add("hunter2hunter2")
    monkeypatch.undo()
    assert redactor.mask_text("hunter2hunter2 abcdef") == f"hunter2hunter2 {MASK}"
    assert redactor.add("hunter2hunter2")
    assert redactor.mask_text("hunter2hunter2 abcdef") == f"{MASK} {MASK}"


def test_self_overlap_across_writes() -> None:
    redactor = redactor_of(b"aabaabaac")
    assert streamed(redactor, [b"aabaab", b"aabaac", b"!"]) == oracle(b"aabaabaabaac!", (b"aabaabaac",))


def test_an_endless_run_of_a_self_overlapping_secret_is_one_mask_and_little_memory() -> None:
    stream = Redactor(["aaaaaa"]).stream()
    shown = b"".join(stream.feed(b"a" * 1000) for _ in range(50))
    assert len(stream._pending) < 6
    assert shown + stream.feed(b"!") + stream.close() == MASK.encode() + b"!"


def test_close_lets_out_the_beginning_of_a_secret_that_did_not_come() -> None:
    stream = Redactor(["password1"]).stream()
    assert stream.feed(b"my passw") == b"my "
    assert stream.feed(b"") == b""
    assert stream.close() == b"passw"
    assert stream.close() == b""


def test_a_secret_added_while_the_stream_is_open_counts_for_later_bytes() -> None:
    redactor = Redactor()
    stream = redactor.stream()
    assert stream.feed(b"hunter2hunter2 ") == b"hunter2hunter2 "
    assert redactor.add("hunter2hunter2")
    assert stream.feed(b"hunter2hunt") == b""
    assert stream.feed(b"er2 ") == MASK.encode() + b" "


ENCODINGS = {
    "plain": SECRET,
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 url": base64.urlsafe_b64encode(SECRET.encode()).decode(),
    "url": quote(SECRET, safe=""),
    "url keeping the slash": quote(SECRET),
    "form": quote_plus(SECRET),
    "javascript url": quote(SECRET, safe="!'()*"),
    "json": json.dumps(SECRET)[1:-1],
    "json not ascii": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "shell": shlex.quote(SECRET)[1:-1],
    "shell backslash": SECRET.replace("'", "'\\''"),
    "shell double quotes": "pä\\$s/w+rd'1 2\\\\é",
}


@pytest.mark.parametrize("form", ENCODINGS.values(), ids=list(ENCODINGS))
def test_each_encoding_is_masked_whole(form: str) -> None:
    shown = Redactor([SECRET]).mask_text(f"<<{form}>>")
    assert shown.replace("=", "") == f"<<{MASK}>>"


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("altchars", [b"+/", b"-_"])
def test_base64_at_each_alignment_leaves_nothing_that_the_secret_alone_decides(
    before: int, after: int, altchars: bytes
) -> None:
    secret = "\x7f\x7e?>~topsecret?>"
    raw = b"u" * before + secret.encode() + b"v" * after
    encoded = base64.b64encode(raw, altchars)
    shown = Redactor([secret]).mask_text(encoded.decode())
    left = shown.replace(MASK, "").rstrip("=")
    neighbours = -(-before * 8 // 6) + -(-after * 8 // 6)
    assert MASK in shown
    assert len(left) <= neighbours + (1 if after == 0 else 2)


def test_each_line_of_a_secret_with_many_lines_is_masked_but_not_its_short_ones() -> None:
    key = "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\n  hkiG9w0BAQEFAASC\nab\n-----END KEY-----\n"
    shown = Redactor([key]).mask_text("1 MIIBVgIBADANBgkq 2 hkiG9w0BAQEFAASC 3 ab")
    assert shown == f"1 {MASK} 2 {MASK} 3 ab"


def test_halves_of_user_and_password_are_masked() -> None:
    shown = Redactor(["deploy-bot:s3cr3t-pw"]).mask_text("deploy-bot s3cr3t-pw " + "x:y")
    assert shown == f"{MASK} {MASK} x:y"
    assert b"short" not in needles("short:also-long-enough")


def test_the_password_inside_a_url_is_masked() -> None:
    assert Redactor(["postgres://app:hunter2-x@db/x"]).mask_text("pw=hunter2-x") == f"pw={MASK}"


def test_a_copy_begins_with_the_same_secrets_and_grows_by_itself() -> None:
    shared = Redactor(["hunter2-x"])
    own = shared.copy()
    own.add("another-1")
    assert own.mask_text("hunter2-x another-1") == f"{MASK} {MASK}"
    assert shared.mask_text("hunter2-x another-1") == f"{MASK} another-1"


def test_short_secrets_are_told_and_not_masked() -> None:
    redactor = Redactor()
    assert not redactor.add("abc")
    assert not redactor.add("  abc   ")
    assert redactor.mask_text("abc") == "abc"
    assert needles("12345") == frozenset()


def test_lone_surrogates_survive_and_can_be_secret() -> None:
    redactor = Redactor(["s\ud800cret-1"])
    assert redactor.mask_text("a\udfff s\ud800cret-1") == f"a\udfff {MASK}"


def test_json_is_masked_in_strings_and_keys_and_made_fit_to_send() -> None:
    redactor = Redactor(["hunter2-x"])
    value: Json = {"hunter2-x": [1, 2.5, True, None, ("a hunter2-x", float("inf"))], "n": {"k": "v"}}
    assert redactor.mask_json(value) == {MASK: [1, 2.5, True, None, [f"a {MASK}", "inf"]], "n": {"k": "v"}}
    foreign: object = Redactor
    assert isinstance(redactor.mask_json(foreign), str)  # type: ignore[arg-type] # strangers' code passes anything


def test_numbers_are_masked_in_json_where_a_secret_stands_in_them() -> None:
    redactor = Redactor(["12345678", "hunter2-x", "-98765.25"])
    value: Json = {"pin": 12345678, "longer": 9123456789, "float": -98765.25, "other": [1, 87654321, 0.5, True]}
    assert redactor.mask_json(value) == {
        "pin": MASK,
        "longer": f"9{MASK}9",
        "float": MASK,
        "other": [1, 87654321, 0.5, True],
    }
    assert redactor.copy().mask_json(12345678) == MASK


@pytest.mark.parametrize("secrets", [[], ["12345678"]])
def test_an_integer_that_python_does_not_print_becomes_text(secrets: list[str]) -> None:
    masked = Redactor(secrets).mask_json([10**4000, 10**5000, -(10**5000)])
    assert json.loads(json.dumps(masked)) == [10**4000, hex(10**5000), hex(-(10**5000))]


@pytest.mark.alone
def test_is_fast_enough_for_a_flood() -> None:
    """The bound is far below what it does (over 75 MiB/s), so that a busy machine does not fail it."""
    redactor = redactor_of(*(b"%032x" % (0x9E3779B97F4A7C15F39CC0605CEDC835 ^ i << 90) for i in range(40)))
    chunk = (b"The quick brown fox jumps over the lazy dog 0123456789 abcdef\n" * 1100)[: 64 * 1024]
    stream = redactor.stream()
    began = time.process_time()
    for _ in range(64):
        stream.feed(chunk)
    assert 64 * len(chunk) / (time.process_time() - began) > 10 * 2**20


@pytest.mark.parametrize("length", range(len("<<hunter2-x>>") + 1))
def test_of_a_text_that_is_cut_within_a_secret_no_part_is_shown(length: int) -> None:
    cut = "<<hunter2-x>>"[:length]
    expected = {11: f"<<{MASK}", 12: f"<<{MASK}>", 13: f"<<{MASK}>>"}
    assert Redactor(["hunter2-x"]).mask_text(cut, is_cut=True) == expected.get(length, cut[:2])
