"""Parsing the JSON of a store: what JSON allows is read, and what readers disagree about is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.strict_json import DEEPEST, parse_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(value=VALUES, escaped=st.booleans(), indent=st.sampled_from([None, 2]))
def test_all_other_json_is_read_as_python_reads_it(value, escaped, indent):
    content = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    found = parse_json(content)
    assert repr(found) == repr(value), "an integer stays an integer, and a float a float"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"\xff", "not UTF-8"),
        ('{"a": "é"}'.encode("latin-1"), "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
        ("{}".encode("utf-32-le"), "not JSON"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a": NaN}', "it has NaN"),
        (b"[Infinity]", "it has Infinity"),
        (b"[-Infinity]", "it has -Infinity"),
        (b"[1e400]", "beyond 64-bit floats"),
        (b"[-1e400]", "beyond 64-bit floats"),
        (b"[0." + b"1" * 5000 + b"]", "beyond 64-bit floats"),
        (b"[18446744073709551616]", "more than 64 bits"),
        (b"[-9223372036854775809]", "more than 64 bits"),
        (b"[" + b"9" * 10_000 + b"]", "more than 64 bits"),
        (b'{"a": 1, "a": 1}', "a key twice"),
        (b'[{"b": {"a": 1, "\\u0061": 2}}]', "a key twice"),
        (b'["\\ud800"]', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b"[" * 100_000, "nested too deep"),
        (b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2), "nested too deep"),
        (b'{"a":' * (DEEPEST + 2) + b"1" + b"}" * (DEEPEST + 2), "nested too deep"),
    ],
)
def test_what_readers_disagree_about_is_refused_with_the_reason(content: bytes, reason: str):
    with pytest.raises(ValueError, match=reason):
        parse_json(content)


def test_the_deepest_values_that_are_allowed_are_read():
    assert parse_json(b"[" * DEEPEST + b"]" * DEEPEST) is not None
    assert parse_json(b'["\\ud83d\\ude00"]') == ["😀"], "a whole surrogate pair is one letter"
