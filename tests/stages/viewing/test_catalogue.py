"""The samples of a store as the viewer finds them: ids, the next unlabelled one, and a store that was replaced."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.viewing.catalogue import MOST_SUGGESTIONS, Catalogue
from store import StoreCorruptError
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample

MakeStore = Callable[..., Path]


def named_store(path: Path, layout: Layout, names: list[str], unlabelled: tuple[int, ...] = ()) -> Path:
    """Write a store of samples with these ids; those at the positions `unlabelled` have no mask."""
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for index, name in enumerate(names):
            sample = replace(random_sample(index, layout), id=name)
            if index in unlabelled:
                sample = replace(sample, labelled=False, mask=np.full(layout.size, 255, np.uint8))
            writer.append(sample)
    return path


def test_an_exact_id_is_found_among_longer_ones(tmp_path: Path, layout: Layout):
    catalogue = Catalogue(named_store(tmp_path / "s.zarr", layout, ["a10", "b", "xa1", "a1"]))
    found = catalogue.find("a1")
    assert found.exact == 3
    assert found.suggestions == [(0, "a10"), (3, "a1"), (2, "xa1")]  # those that begin with it come first
    assert not found.more
    assert catalogue.find("nothing").suggestions == []
    assert catalogue.find("A1").exact is None


def test_suggestions_are_few_and_say_that_there_are_more(tmp_path: Path, layout: Layout):
    catalogue = Catalogue(named_store(tmp_path / "s.zarr", layout, [f"case-{number:02d}" for number in range(21)]))
    found = catalogue.find("case")
    assert (len(found.suggestions), found.more) == (MOST_SUGGESTIONS, True)
    assert not catalogue.find("case-1").more


def test_text_with_the_signs_of_patterns_is_taken_literally(tmp_path: Path, layout: Layout):
    catalogue = Catalogue(named_store(tmp_path / "s.zarr", layout, ["a.b", "axb", "ü[1]*"]))
    assert [one for _, one in catalogue.find("a.b").suggestions] == ["a.b"]
    assert [one for _, one in catalogue.find("[1]*").suggestions] == ["ü[1]*"]


def test_the_next_unlabelled_sample_is_behind_the_position_and_starts_again_at_the_end(tmp_path: Path, layout: Layout):
    catalogue = Catalogue(named_store(tmp_path / "s.zarr", layout, list("abcdef"), unlabelled=(1, 4)))
    assert [catalogue.unlabelled_after(position) for position in (-1, 0, 1, 4, 5)] == [1, 1, 4, 1, 1]


def test_a_store_without_unlabelled_samples_has_no_next_one(make_store: MakeStore):
    assert Catalogue(make_store(3)).unlabelled_after(0) is None


def test_a_position_outside_the_store_is_an_error(make_store: MakeStore):
    """Negative positions are not taken from the end."""
    catalogue = Catalogue(make_store(3))
    for position in (-1, 3):
        with pytest.raises(IndexError, match="there is no sample"):
            catalogue.sample(position)


def test_every_question_notices_that_the_store_was_replaced(make_store: MakeStore):
    """Also where the answer is in memory already: an answer must not mix two stores."""
    path = make_store(3)
    catalogue = Catalogue(path)
    catalogue.sample(0)
    catalogue.find("sample")
    catalogue.unlabelled_after(0)
    shutil.rmtree(path)
    make_store(3, seed=1)
    questions: list[Callable[[], object]] = [
        lambda: catalogue.sample(0),
        lambda: catalogue.find("sample"),
        lambda: catalogue.unlabelled_after(0),
    ]
    for ask in questions:
        with pytest.raises(StoreCorruptError, match=r"test\.zarr: the store was replaced or removed"):
            ask()
    shutil.rmtree(path)
    with pytest.raises(StoreCorruptError, match="replaced or removed"):
        catalogue.sample(0)
