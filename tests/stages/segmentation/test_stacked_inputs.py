"""Image and maps as one tensor, for networks that take one input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stages.segmentation.data_loader import data_loader
from stages.segmentation.torch_dataset import SegmentationDataset
from store import AttentionStore, UsageError
from store.writer import Layout
from tests.stages.segmentation.test_torch_dataset import overlapping_store

MakeStore = Callable[..., Path]


@pytest.mark.parametrize("scale", ["unit", "imagenet"])
def test_input_is_the_image_and_then_its_maps_at_the_size_of_the_image(make_store: MakeStore, scale: Any):
    path = make_store(5)
    size = AttentionStore.open(path).size
    apart = SegmentationDataset(path, attention_size=size, image_scale=scale)[2]
    stacked = SegmentationDataset(path, stacked=True, image_scale=scale)[2]
    assert set(stacked) == {"input", "mask", "index", "id"}
    assert torch.equal(stacked["input"], torch.cat([apart["image"], apart["attention"]]))


def test_the_loader_gives_the_same_augmented_values_in_both_forms(make_store: MakeStore):
    path = make_store(7)
    size = AttentionStore.open(path).size
    common: dict[str, Any] = {"indices": range(7), "augment": True, "shuffle": True, "batch_size": 3}
    apart, stacked = data_loader(path, attention_size=size, **common), data_loader(path, stacked=True, **common)
    for one, other in zip(apart, stacked, strict=True):
        assert torch.equal(torch.cat([one["image"], one["attention"]], dim=1), other["input"])
        assert torch.equal(one["mask"], other["mask"])
        assert other["input"].shape[1] == stacked.input_channels == 5
    assert stacked.output_channels == len(AttentionStore.open(path).classes)


def test_labels_that_overlap_have_one_output_each(tmp_path: Path, layout: Layout):
    """The background is no label, so there is one output less than there are classes."""
    loader = data_loader(overlapping_store(tmp_path, layout), indices=[0], stacked=True)
    (batch,) = loader
    assert batch["mask"].shape[1] == loader.output_channels


def test_a_network_that_finds_its_channels_by_itself_learns(make_store: MakeStore):
    """The example of the documentation: the optimiser is made before the first batch, and changes the first layer."""
    model = nn.Sequential(nn.LazyConv2d(3, 1), nn.Conv2d(3, 2, 1))
    loss, optimizer = nn.CrossEntropyLoss(ignore_index=255), torch.optim.AdamW(model.parameters())
    seen: list[Tensor] = []
    for batch in data_loader(make_store(9), stacked=True, batch_size=2):
        loss(model(batch["input"]), batch["mask"]).backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(model[0].weight.detach().clone())
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("make", [SegmentationDataset, data_loader])
def test_stacked_maps_have_no_size_of_their_own(make_store: MakeStore, make: Callable[..., Any]):
    path = make_store(4)
    with pytest.raises(UsageError, match=r"attention_size \(3, 3\): stacked maps are as large as the image"):
        make(path, stacked=True, attention_size=(3, 3))
    assert make(path, indices=[0], stacked=True, attention_size=AttentionStore.open(path).size)
