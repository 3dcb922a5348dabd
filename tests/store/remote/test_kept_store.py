"""Test which shards of a store are kept in a cache that is too small for all."""

from __future__ import annotations

import pytest

from store.remote.kept import kept_shards

SIZES = {"image": 1000, "mask": 10, "attention": 200}


@pytest.mark.parametrize(
    ("room", "kept"),
    [
        (0, (0, 0, 0)),
        (35, (0, 3, 0)),
        (900, (0, 10, 4)),
        (5100, (3, 10, 10)),
        (10**6, (10, 10, 10)),
    ],
)
def test_arrays_with_small_shards_come_first_and_the_room_is_never_exceeded(room: int, kept: tuple[int, ...]):
    found = kept_shards(SIZES, 10, room)
    assert (found["image"], found["mask"], found["attention"]) == kept
    assert sum(found[name] * size for name, size in SIZES.items()) <= room


def test_arrays_of_one_size_are_taken_by_name_so_that_readers_agree():
    assert kept_shards({"b": 10, "a": 10}, 4, 50) == kept_shards({"a": 10, "b": 10}, 4, 50) == {"a": 4, "b": 1}


def test_an_empty_shard_needs_no_room():
    """A damaged server sends one; it is found when it is read."""
    assert kept_shards({"a": 0}, 4, 4) == {"a": 4}
