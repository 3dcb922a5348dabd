"""Batches: resident and streamed samples are equal, and an epoch has every sample once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.segmentation.batches import ResidentSamples, StreamedSamples, in_order, open_samples, shuffled
from store import AttentionStore, StoreIncompleteError

CPU = torch.device("cpu")


def test_resident_and_streamed_batches_are_what_the_store_holds(make_store: Callable[..., Path]):
    """Both kinds give the store's own bytes in the order asked for, with channels first."""
    store = AttentionStore.open(make_store(9))
    indices = np.array([1, 3, 4, 8])
    order = [np.array([8, 3]), np.array([1]), np.array([4, 1, 3])]
    for samples in (ResidentSamples(store, indices, CPU), StreamedSamples(store, CPU)):
        batches = list(samples.batches(order))
        assert len(batches) == 3
        for batch, wanted in zip(batches, order, strict=True):
            expected = store.read(wanted)
            np.testing.assert_array_equal(batch.image.numpy(), np.moveaxis(expected.image, -1, 1))
            np.testing.assert_array_equal(batch.mask.numpy(), expected.mask)
            np.testing.assert_array_equal(batch.attention.numpy(), expected.attention)


@pytest.mark.parametrize("wanted", [0, 2, 8])
def test_resident_samples_refuse_positions_that_they_do_not_hold(make_store: Callable[..., Path], wanted: int):
    """The sample beside it would be a wrong one."""
    samples = ResidentSamples(AttentionStore.open(make_store(9)), np.array([4, 1, 3]), CPU)
    with pytest.raises(IndexError, match="not held in memory"):
        list(samples.batches([np.array([1, wanted])]))


@pytest.mark.parametrize("free_memory", [2**30, 100], ids=["resident", "streamed"])
def test_a_network_without_maps_gets_none_and_reads_none(
    make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, free_memory: int
):
    path = make_store(4)
    for shard in (path / "attention").glob("c.*"):
        shard.unlink()
    store = AttentionStore.open(path)
    monkeypatch.setattr("stages.segmentation.batches._free_memory", lambda _: free_memory)
    (batch,) = open_samples(store, np.arange(4), CPU, maps=False).batches([np.array([2, 0])])
    assert batch.attention.shape == (2, 0, *store.grid)
    np.testing.assert_array_equal(batch.mask.numpy(), store.read_array("mask", [2, 0]))
    with pytest.raises(StoreIncompleteError, match="`attention`"):
        list(open_samples(store, np.arange(4), CPU).batches([np.array([2, 0])]))


def test_samples_that_do_not_fit_in_memory_are_streamed(
    make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    """The choice depends on the free memory."""
    store = AttentionStore.open(make_store(4))
    assert isinstance(open_samples(store, np.arange(4), CPU), ResidentSamples)
    monkeypatch.setattr("stages.segmentation.batches._free_memory", lambda _: 100)
    assert isinstance(open_samples(store, np.arange(4), CPU), StreamedSamples)


@pytest.mark.parametrize("kind", [ResidentSamples, StreamedSamples])
def test_missing_data_stops_training_from_either(make_store: Callable[..., Path], kind):
    """A missing shard is an error when it is read, not a batch of zeros."""
    path = make_store(4)
    (path / "mask" / "c.0.0.0").unlink()
    store = AttentionStore.open(path)

    def read_all() -> None:
        samples = kind(store, np.arange(4), CPU) if kind is ResidentSamples else kind(store, CPU)
        list(samples.batches([np.arange(4)]))

    with pytest.raises(StoreIncompleteError, match="`mask`"):
        read_all()


@given(count=st.integers(1, 100), batch_size=st.integers(1, 40), seed=st.integers(0, 9), epoch=st.integers(1, 9))
def test_an_epoch_has_every_sample_once_in_even_batches(count, batch_size, seed, epoch):
    """No sample is left out or repeated, no batch exceeds the size, and none is a small remainder."""
    indices = np.arange(count) * 3
    batches = shuffled(indices, batch_size, seed=seed, epoch=epoch)
    assert sorted(np.concatenate(batches)) == list(indices)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    again = shuffled(indices, batch_size, seed=seed, epoch=epoch)
    assert all((one == other).all() for one, other in zip(batches, again, strict=True))
    assert list(np.concatenate(in_order(indices, batch_size))) == list(indices)
