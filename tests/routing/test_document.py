"""Files: what they mean, where everything stands in them, and what is wrong with broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.errors import ConfigurationError, Problem
from agent.domain.json import Json
from agent.routing.document import parse, read_file


def value(text: str) -> Json:
    return parse(text.encode(), "f.yaml").value


def told(content: str | bytes) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(content if isinstance(content, bytes) else content.encode(), "f.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on: yes\noff: No", {"on": "yes", "off": "No"}),
        ("true: 1\n1: 2\nnull: 3", {"true": 1, "1": 2, "null": 3}),
        ("[1:30, 0755, 0o17, 0x1f, +5, -3, 1_000]", ["1:30", 755, 15, 31, 5, -3, "1_000"]),
        ("[1.5, .5, 1e3, 1E-2, 1., 1e999, .inf, .nan]", [1.5, 0.5, 1000.0, 0.01, 1.0, "1e999", ".inf", ".nan"]),
        ("[~, null, Null, '', \"~\", nulL]", [None, None, None, "", "~", "nulL"]),
        ("[true, True, FALSE, tRue, 'true']", [True, True, False, "tRue", "true"]),
        ("[2024-01-01, =, <<]", ["2024-01-01", "=", "<<"]),
        ("a: !!str 5\nb: ! 6", {"a": "5", "b": "6"}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("---\na: 1\n", {"a": 1}),
        ("\ufeffa: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("", None),
        ("# nothing\n", None),
    ],
)
def test_yaml_is_read_as_version_1_2(text: str, expected: Json) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}", {"k": 1, "l": 3}),
        ("a: &x {k: 1}\nc: &y {k: 2, m: 3}\nb:\n  <<: [*x, *y]\n  n: 4", {"k": 1, "m": 3, "n": 4}),
        ("a: &x {k: 1}\nc: &y {k: 2}\nb: {<<: *x, n: 1, <<: *y}", {"k": 1, "n": 1}),
        ('b: {"<<": 1}', {"<<": 1}),
    ],
)
def test_merge_keys(text: str, expected: Json) -> None:
    read = value(text)
    assert isinstance(read, dict)
    assert read["b"] == expected


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**30), 10**30)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(
            st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\x7f\ufeff")
        ).filter(lambda t: all(c not in t for c in "\x80\x81\x82\x83\x84\x86") and t.isprintable()),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        max_leaves=8,
    ),
    st.booleans(),
    st.sampled_from([None, 1, "\t"]),
)
def test_json_is_read_as_json(document: Json, ensure_ascii: bool, indent: int | str | None) -> None:  # noqa: FBT001 - drawn
    text = json.dumps([document], ensure_ascii=ensure_ascii, indent=indent)
    assert value(text) == [document]


def test_json_escapes_of_characters_beyond_the_first_plane() -> None:
    assert value('{"a": "\\ud83d\\ude00 \\\\ud83d\\\\ude00"}') == {"a": "\U0001f600 \\ud83d\\ude00"}


def test_everything_knows_its_line() -> None:
    document = parse(b"a: 1\nb:\n  - x\n  - {c: 1,\n     d e: 2}\nz:\n  k:\n    - 1\n", "f.yaml")
    lines = {
        "a": 1,
        "b": 2,
        "b[0]": 3,
        "b[1]": 4,
        "b[1].c": 4,
        'b[1]["d e"]': 5,
        "z.k[0]": 8,
        "b[1].missing": 4,
        "a.b.c": 1,
        "z.k[7].x": 7,
        "nowhere": 1,
        "": 1,
    }
    assert {path: document.at(path) for path in lines} == {path: f"f.yaml:{line}" for path, line in lines.items()}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            "a:\n\t- b",
            (
                "f.yaml:2: not YAML: found character that cannot start any token (column 1) (indent with spaces, "
                "not tabs)"
            ),
        ),
        (
            "a: b: c",
            (
                "f.yaml:1: not YAML: mapping values are not allowed in this context (column 5) (text that holds a "
                "colon and a blank needs quotes)"
            ),
        ),
        (
            "a: @b",
            (
                "f.yaml:1: not YAML: found character that cannot start any token (column 4) (text that begins "
                "with @ needs quotes)"
            ),
        ),
        (
            "a: b {{ .c }}: d",
            (
                "f.yaml:1: not YAML: mapping values are not allowed in this context (column 14) (text that "
                'holds {{ … }} needs quotes: "{{ .inputs.name }}")'
            ),
        ),
        (
            "a:\n  - b\n c: d",
            (
                "f.yaml:3: not YAML: did not find expected key (column 2) (check the indentation: what belongs "
                "together begins in the same column)"
            ),
        ),
        (
            "routes:\n  - name: a\n  match: {}\n",
            (
                "f.yaml:3: not YAML: did not find expected '-' indicator (column 3) (check the indentation: what "
                "belongs together begins in the same column)"
            ),
        ),
        ('a: "b" c\n', "f.yaml:1: not YAML: did not find expected key (column 8)"),
        ('a: 1\nb: "c\nd: 2\n', "f.yaml:2: not YAML: found unexpected end of stream (column 4)"),
        (
            "ü: 😀\na: \x7f",
            (
                "f.yaml:2: not YAML: the character U+007F is not allowed (write it as an escape in double "
                'quotes: "\\u…")'
            ),
        ),
        (
            "url: {{ .x }}",
            (
                "f.yaml:1: a list or object cannot be a key (text that holds {{ … }} needs quotes: "
                '"{{ .inputs.name }}")'
            ),
        ),
        (
            "a: [x, {{ .y }}]",
            (
                "f.yaml:1: a list or object cannot be a key (text that holds {{ … }} needs quotes: "
                '"{{ .inputs.name }}")'
            ),
        ),
        (
            "? [a]\n: b",
            (
                "f.yaml:1: a list or object cannot be a key (text that holds {{ … }} needs quotes: "
                '"{{ .inputs.name }}")'
            ),
        ),
        ("a: 1\n---\nb: 2", "f.yaml:2: a second document begins here (`---`); one is expected"),
        (
            "a: !!python/name:os.system",
            "f.yaml:1: the tag tag:yaml.org,2002:python/name:os.system is not supported",
        ),
        ("a: !env [X]", "f.yaml:1: the tag !env is not supported"),
        ("a: !!int five", "f.yaml:1: the tag tag:yaml.org,2002:int is not supported"),
        ("a: *b", "f.yaml:1: the alias *b has no anchor &b that ends before it"),
        ("a: &a [*a]", "f.yaml:1: the alias *a has no anchor &a that ends before it"),
        ("a: &a x\n*a : 1", "f.yaml:2: an alias (`*`) cannot be a key here (put the key in quotes)"),
        ("a:\n  <<: 1", "f.yaml:2: `<<` merges an object or a list of objects into this one"),
        (
            "x: \x07",
            (
                "f.yaml:1: not YAML: the character U+0007 is not allowed (write it as an escape in double quotes: "
                '"\\u…")'
            ),
        ),
        (
            b"a: 1\nb: \x00",
            (
                "f.yaml:2: not YAML: the character U+0000 is not allowed (write it as an escape in double "
                'quotes: "\\u…")'
            ),
        ),
        (b"a: 1\nb: \xff", "f.yaml:2: not UTF-8: byte 0xff (save the file as UTF-8)"),
        ("a: 1".encode("utf-16"), "f.yaml:1: not UTF-8: byte 0xff (save the file as UTF-8)"),
        ("[" * 5000, "f.yaml:1: nested more than 64 levels deep"),
        ("".join("  " * i + "a:\n" for i in range(100)), "f.yaml:65: nested more than 64 levels deep"),
        ('{"a": "\\ud800"}', "f.yaml:1: not YAML: found invalid Unicode character escape code (column 10)"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(content: str | bytes, problem: str) -> None:
    assert told(content) == [problem]


def test_every_repeated_key_is_told() -> None:
    assert told("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n") == [
        "f.yaml:4: b.c: the key 'c' stands here a second time; the first is on line 3",
        "f.yaml:5: a: the key 'a' stands here a second time; the first is on line 1",
    ]


def test_aliases_cannot_blow_up() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
    )
    assert told(bomb) == ["f.yaml:6: more than 100000 values, counting what aliases repeat"]


@given(st.binary() | st.text(st.sampled_from("ab:- \n\t[]{}&*!|>'\"%@#?,<")).map(str.encode))
def test_no_content_does_more_than_raise_a_configuration_error(content: bytes) -> None:
    told: tuple[Problem, ...] = ()
    try:
        parse(content, "f.yaml")
    except ConfigurationError as error:
        told = error.problems
    assert all(problem.where.startswith("f.yaml:") for problem in told)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, message in (
        (tmp_path / "none.yaml", "there is no such file (check AGENT_ROUTES_PATH and what is mounted)"),
        (tmp_path, "this is a directory, a file was expected (name the file in it)"),
        (large, "is larger than 4 MiB"),
        (loop, "cannot be read: Too many levels of symbolic links"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            read_file(path)
        assert str(caught.value) == f"{path}: {message}"
