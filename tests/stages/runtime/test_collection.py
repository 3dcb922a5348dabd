"""Garbage collection is put off, and goes on afterwards."""

from __future__ import annotations

import gc

import pytest

from stages.runtime.collection import frozen_objects, without_collection


@pytest.mark.parametrize("before", [True, False])
def test_collection_is_afterwards_what_it_was(before: bool):  # noqa: FBT001 - a parameter of the test
    (gc.enable if before else gc.disable)()
    try:
        with pytest.raises(ValueError, match="stop False"), without_collection():
            raise ValueError(f"stop {gc.isenabled()}")
        assert gc.isenabled() is before
    finally:
        gc.enable()


def test_objects_are_frozen_in_the_block_only():
    gc.unfreeze()
    with pytest.raises(ValueError, match="stop True"), frozen_objects():
        raise ValueError(f"stop {gc.get_freeze_count() > 0}")
    assert gc.get_freeze_count() == 0


def test_objects_that_the_program_has_frozen_stay_frozen():
    gc.freeze()
    try:
        with frozen_objects():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
