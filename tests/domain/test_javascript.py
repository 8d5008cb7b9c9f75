import json
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.javascript import _printed, number_text, stringify
from agent.domain.json import Json

# What Node.js prints for JSON.stringify(JSON.parse(literal)).
NUMBERS = [
    ("0", "0"),
    ("-0", "0"),
    ("0.0", "0"),
    ("-0.0", "0"),
    ("1.0", "1"),
    ("1e2", "100"),
    ("-17", "-17"),
    ("1.5", "1.5"),
    ("0.1", "0.1"),
    ("4.35", "4.35"),
    ("0.000001", "0.000001"),
    ("-0.000001", "-0.000001"),
    ("0.0000001", "1e-7"),
    ("-1e-7", "-1e-7"),
    ("1.5e-9", "1.5e-9"),
    ("123456.789e3", "123456789"),
    ("1e20", "100000000000000000000"),
    ("123456789012345680000", "123456789012345680000"),
    ("1e21", "1e+21"),
    ("123e20", "1.23e+22"),
    ("1e300", "1e+300"),
    ("1.7976931348623157e308", "1.7976931348623157e+308"),
    ("5e-324", "5e-324"),
    ("2.2250738585072014e-308", "2.2250738585072014e-308"),
    ("0.1234567890123456789", "0.12345678901234568"),
    ("9007199254740991", "9007199254740991"),
    ("9007199254740992", "9007199254740992"),
    ("9007199254740993", "9007199254740992"),
    ("-9007199254740993", "-9007199254740992"),
    ("12345678901234567890", "12345678901234567000"),
    ("1152921504606846976", "1152921504606847000"),
    ("999999999999999999999", "1e+21"),
    ("1000000000000000000000", "1e+21"),
    ("9" * 400, "null"),
]

# Likewise for strings, written with the escapes of a Python literal.
STRINGS = [
    ('\x00\x01\b\t\n\x0b\f\r\x1f"\\/\x7f\x80', r'"\u0000\u0001\b\t\n\u000b\f\r\u001f\"\\/' + '\x7f\x80"'),
    ("Grüße ✓ \U0001f600\u2028\u2029", '"Grüße ✓ \U0001f600\u2028\u2029"'),
    ("\ud800", r'"\ud800"'),
    ("a\udc00b", r'"a\udc00b"'),
    ("\udc00\ud800", r'"\udc00\ud800"'),
]


@pytest.mark.parametrize(("literal", "printed"), NUMBERS)
def test_numbers_are_printed_as_javascript_prints_them(literal: str, printed: str) -> None:
    assert number_text(json.loads(literal)) == printed


@pytest.mark.parametrize(("text", "printed"), STRINGS)
def test_strings_are_printed_as_javascript_prints_them(text: str, printed: str) -> None:
    assert stringify(text) == printed
    assert stringify({text: text}) == f"{{{printed}:{printed}}}"


def test_containers_have_no_spaces_and_keep_their_order() -> None:
    value: Json = {"b": [True, False, None, {}, []], "a": {"x": 1.0}}
    assert stringify(value) == '{"b":[true,false,null,{},[]],"a":{"x":1}}'


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_printed_float_reads_back_as_itself(number: float) -> None:
    assert float(number_text(number)) == number


@given(st.integers(min_value=-(2**53), max_value=2**53))
def test_an_exact_integer_is_printed_whole(number: int) -> None:
    assert number_text(number) == str(number)


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@given(_VALUES)
def test_the_short_cut_never_shows(value: Json) -> None:
    assert stringify(value) == _printed(value, exact=False)


@pytest.mark.parametrize("number", [1.0, -0.0, 1e-6, 1e-7, 1e21, 1.5e300, 2**53 + 1, 10**400])
@pytest.mark.parametrize(
    "place", ["alone", "in a list", "first in a list", "in an object", "beside a string", "in a tuple of views"]
)
def test_numbers_are_found_wherever_they_stand(number: float, place: str) -> None:
    values: dict[str, Json] = {
        "alone": number,
        "in a list": [0, number, 0],
        "first in a list": [number],
        "in an object": {"a": {"b": number}},
        "beside a string": {"at": "16:20.5", "n": number},
        "in a tuple of views": (MappingProxyType({"n": (number,)}), None, True),
    }
    assert stringify(values[place]) == _printed(values[place], exact=False)


@pytest.mark.parametrize("number", [2**53 + 1, -(2**64), 12345678901234567890])
def test_integers_beyond_javascripts_are_exact_where_that_is_wanted(number: int) -> None:
    value = {"a": [number, 1e-7]}
    assert stringify(value, exact=True) == f'{{"a":[{number},1e-7]}}'
    assert stringify(value) != stringify(value, exact=True)
