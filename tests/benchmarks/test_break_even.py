"""Test break-even: its formula, the extraction that it times, and the loop whose maps follow the augmentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from stages.segmentation.batches import ResidentSamples
from store import AttentionStore
from store.writer import Layout
from tests.benchmarks import augmented_loop, break_even
from tests.benchmarks.augmented_loop import AugmentedLoop
from tests.benchmarks.measure import Measurement, NotMeasured
from tests.benchmarks.usual_setup import write_both

CPU = torch.device("cpu")
CASE = break_even.Case(model="dino_phantom_tiny8", side=32, entering=32, samples=3)


@pytest.mark.parametrize(
    ("extraction", "loop", "store", "epochs"),
    [(10.0, 12.0, 2.0, 1.0), (30.0, 12.0, 2.0, 3.0), (0.0, 12.0, 2.0, 0.0)],
)
def test_break_even_is_where_both_ways_took_the_same_time(
    extraction: float, loop: float, store: float, epochs: float
) -> None:
    found = break_even.break_even(extraction=extraction, loop=loop, store=store)
    assert found == epochs
    assert extraction + found * store == found * loop


@pytest.mark.parametrize("loop", [2.0, 1.0])
def test_a_loop_that_is_not_slower_has_no_break_even(loop: float) -> None:
    assert break_even.break_even(extraction=10.0, loop=loop, store=2.0) is None


def _layout(case: break_even.Case, folder: Path) -> tuple[Layout, AttentionStore]:
    recipe = break_even.load_extractor(case, CPU, folder).recipe
    layout = Layout(
        size=(case.side, case.side), grid=recipe.grid, heads=recipe.heads, keys=recipe.keys, classes=["skin", "lesion"]
    )
    return layout, write_both(folder, case.samples, layout)


def test_the_timed_extraction_writes_the_maps_of_the_images_with_their_masks(tmp_path: Path) -> None:
    """Otherwise a part of what extraction does would not be timed."""
    layout, store = _layout(CASE, tmp_path)
    extractor = break_even.load_extractor(CASE, CPU, tmp_path)
    break_even.extract(tmp_path, store, extractor, layout, tmp_path / "out")
    extracted = AttentionStore.open(tmp_path / "out")
    assert np.array_equal(extracted.ids, store.ids)
    for name in ("image", "mask"):
        assert np.array_equal(extracted.read_array(name, range(3)), store.read_array(name, range(3)))
    maps = extractor.extract(store.read_array("image", range(3)))
    assert np.array_equal(extracted.read_array("attention", range(3)), maps)


def test_in_the_loop_maps_follow_the_augmentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a flip as the only augmentation, the maps are those that extraction computes from the flipped image."""
    _, store = _layout(CASE, tmp_path)
    extractor = break_even.load_extractor(CASE, CPU, tmp_path)

    def flip(count: int, *_: object) -> Tensor:
        return torch.tensor([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).expand(count, 2, 3)

    def unchanged(image: Tensor, _: object, __: Generator) -> Tensor:
        return image

    monkeypatch.setattr(augmented_loop, "draw_affines", flip)
    monkeypatch.setattr(augmented_loop, "change_colours", unchanged)
    batches = list(ResidentSamples(store, np.arange(3), CPU).batches([np.arange(3)]))
    (batch,) = AugmentedLoop(batches, extractor, together=2).batches(None)
    flipped = store.read_array("image", range(3))[:, :, ::-1]
    assert torch.allclose(batch.image, torch.from_numpy(flipped.copy()).movedim(-1, 1).float(), atol=1e-3)
    assert np.array_equal(batch.mask.numpy(), store.read_array("mask", range(3))[:, :, ::-1])
    assert np.allclose(batch.attention.numpy(), extractor.extract(flipped), rtol=2e-2, atol=1e-2)
    assert not np.allclose(batch.attention.numpy(), extractor.extract(flipped[:, :, ::-1].copy()), rtol=2e-2, atol=1e-2)


def test_every_request_augments_anew(tmp_path: Path) -> None:
    _, store = _layout(CASE, tmp_path)
    batches = list(ResidentSamples(store, np.arange(3), CPU).batches([np.arange(3)]))
    loop = AugmentedLoop(batches, break_even.load_extractor(CASE, CPU, tmp_path), together=2)
    (first,), (second,) = loop.batches(None), loop.batches(None)
    assert not torch.equal(first.image, second.image)
    assert not torch.equal(first.attention, second.attention)


@pytest.mark.parametrize(("later", "kind"), [(lambda one: one, Measurement), (lambda _: None, NotMeasured)])
def test_the_rows_are_those_that_a_missing_gpu_leaves_out(
    monkeypatch: pytest.MonkeyPatch, later: Callable[[float | None], float | None], kind: type
) -> None:
    """A tiny measurement runs through. Without a break-even the lines stay, with the reason."""
    monkeypatch.setattr(break_even, "ROUNDS", 1)
    monkeypatch.setattr(break_even, "BATCH", 3)
    monkeypatch.setattr(break_even, "break_even", lambda **_: later(2.5))
    lines = list(break_even.on(CPU, "tiny", CASE))
    assert [line.name for line in lines] == [f"{line}: tiny, cpu" for line in break_even.LINES]
    assert {type(line) for line in lines[1:]} == {kind}
    whole = [line.details["first whole epoch ahead"] for line in lines[1:] if isinstance(line, Measurement)]
    assert whole == ([3, 77] if kind is Measurement else [])
