"""Many texts are compared and hashed at once as Python would do it one by one."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from store.column_writer import encode_column_chunk
from store.text_words import are_equal, are_rising, first_of, text_prints
from store.texts import Texts, parse_texts

TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.builds(lambda start, end: "same-start/" * start + end, st.integers(0, 4), st.text("ab\0é", max_size=9)),
    max_size=12,
)


def _column(texts: list[str]) -> Texts:
    """Return texts as they lie in a chunk."""
    return parse_texts(encode_column_chunk(texts, "str", len(texts))[:-4], len(texts))


@given(TEXTS)
def test_texts_have_equal_prints_if_they_are_equal(texts: list[str]):
    """Also where they lie among other texts."""
    prints = text_prints(_column(texts)).tolist()
    assert len(set(prints)) == len(set(texts))
    assert len(set(zip(texts, prints, strict=True))) == len(set(texts))
    assert text_prints(_column(["before", *texts])).tolist()[1:] == prints


def test_prints_are_the_same_in_every_version():
    """They are not stored, but a run and a store that are read by two processes may be compared."""
    expected = [0, 6764424836415570280, 7538521697030388276]
    assert text_prints(_column(["", "a", "patient-12345678"])).tolist() == expected


def test_a_salt_changes_all_prints_and_separates_texts_that_were_chosen_to_agree():
    texts = _column(["", "a", "patient1-left-ey", "1udxeyl2haLoH<yk"])
    prints, salted = text_prints(texts), text_prints(texts, 2**64 - 1)
    assert prints[2] == prints[3]
    assert len({*prints.tolist(), *salted.tolist()}) == 7


def test_similar_texts_have_different_prints():
    """Ids and digests that differ in few letters must not agree."""
    for name in ("image-{:08d}", "{:064x}", "{:016x}" * 2):
        texts = [name.format(number, number) for number in range(1 << 16)]
        assert len(np.unique(text_prints(_column(texts)))) == len(texts)


@given(TEXTS)
def test_rising_texts_are_those_that_python_sorts_so(texts: list[str]):
    for order in (texts, sorted(texts), sorted(set(texts))):
        assert are_rising(_column(order)) == all(one < other for one, other in itertools.pairwise(order))


@given(TEXTS, TEXTS)
def test_texts_are_equal_where_python_says_so(texts: list[str], others: list[str]):
    count = min(len(texts), len(others))
    for one, other in ((texts[:count], others[:count]), (texts, texts), (texts, texts[::-1])):
        expected = [a == b for a, b in zip(one, other, strict=True)]
        assert are_equal(_column(one), _column(other)).tolist() == expected


@given(TEXTS.filter(bool), st.sets(st.integers(0, 11), min_size=1))
def test_the_first_of_some_texts_is_the_one_that_python_sorts_first(texts: list[str], places: set[int]):
    chosen = sorted({place % len(texts) for place in places})
    assert first_of(_column(texts), np.array(chosen)).decode() == min(texts[place] for place in chosen)
