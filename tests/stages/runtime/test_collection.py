"""Garbage collection is put off, and goes on afterwards."""

from __future__ import annotations

import gc

import pytest

from stages.runtime.collection import without_collection


@pytest.mark.parametrize("before", [True, False])
def test_collection_is_afterwards_what_it_was(before: bool):  # noqa: FBT001 - a parameter of the test
    (gc.enable if before else gc.disable)()
    try:
        with pytest.raises(ValueError, match="stop"), without_collection():
            assert not gc.isenabled()
            raise ValueError("stop")
        assert gc.isenabled() is before
    finally:
        gc.enable()
