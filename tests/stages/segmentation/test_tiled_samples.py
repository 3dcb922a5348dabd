"""Training on tiles: a slide stays in one split, and tiles that look alike by chance are no duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.inspection import describe_store
from pipeline.inspection_tables import show_store
from stages.errors import InputProblemsError
from stages.segmentation.near_duplicates import across_splits
from stages.segmentation.run_splits import read_run_splits, split_names
from stages.segmentation.splits import split_by_csv
from stages.train import run as train
from store import AttentionStore
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample, train_settings

LAYOUT = Layout(
    size=(16, 16),
    grid=(2, 2),
    heads=["L1H0"],
    keys=5,
    classes=["background", "lesion"],
    columns=("parent", "row", "column", "perceptual_hash"),
    images={"tile": {"size": [16, 16], "overlap": 4, "reduction": 2.0}},
)


def tiled_store(path: Path, slides: dict[str, Sequence[int]]) -> AttentionStore:
    """Write a store of slides; each is given as the hashes of its tiles, 0 for a tile without structure."""
    with new_store(path, layout=LAYOUT, recipe=RECIPE) as writer:
        index = 0
        for slide, hashes in slides.items():
            for place, value in enumerate(hashes):
                sample = random_sample(index, LAYOUT)
                writer.append(
                    replace(
                        sample,
                        id=f"{slide}_r00000_c{24 * place:05d}",
                        parent=slide,
                        group=slide,
                        row=0,
                        column=24 * place,
                        height=32,
                        width=32,
                        perceptual_hash=f"{value:016x}" if value else "",
                    )
                )
                index += 1
    return AttentionStore.open(path)


def test_all_tiles_of_a_slide_are_in_one_split(tmp_path: Path):
    slides = {f"s{number}": [0] * (3 + number) for number in range(8)}
    store = tiled_store(tmp_path / "s.zarr", slides)
    train(train_settings(store.path, tmp_path / "run", epochs=None, steps=2))
    splits: dict[str, set[str]] = {}
    recorded = split_names(read_run_splits(tmp_path / "run" / "splits.csv").codes)
    for id_, split in zip(store.ids, recorded, strict=True):
        splits.setdefault(id_.partition("_")[0], set()).add(split)
    assert {len(found) for found in splits.values()} == {1}
    assert set().union(*splits.values()) == {"train", "val", "test"}


def test_a_table_of_splits_names_slides(tmp_path: Path):
    """As it did when the slides were samples themselves."""
    store = tiled_store(tmp_path / "s.zarr", {"a": [0] * 3, "b": [0] * 2, "c": [0] * 2})
    table = tmp_path / "splits.csv"
    table.write_text("id,split\na,train\nb,test\nc_r00000_c00024,val\n")
    assert split_by_csv(store, table) == ["train"] * 3 + ["test"] * 2 + ["", "val"]
    table.write_text("id,split\na,train\nb,test\nd,val\n")
    with pytest.raises(InputProblemsError, match="`d` is not in"):
        split_by_csv(store, table)
    table.write_text("id,split\na,train\nb,test\na_r00000_c00024,val\n")
    with pytest.raises(InputProblemsError, match="group `a` is in"):
        split_by_csv(store, table)


def test_a_few_tiles_that_look_alike_are_no_duplicates(tmp_path: Path):
    random = np.random.default_rng(0)
    one, other = ([int(value) for value in random.integers(1, 2**63, 10)] for _ in range(2))
    other[3] = one[7]
    store = tiled_store(tmp_path / "s.zarr", {"a": one, "b": other})
    assert across_splits(store, ["train"] * 10 + ["test"] * 10) == []


def test_a_slide_that_is_stored_twice_is_one_pair(tmp_path: Path):
    hashes = [int(value) for value in np.random.default_rng(0).integers(1, 2**63, 10)]
    store = tiled_store(tmp_path / "s.zarr", {"a": [*hashes, 0, 0], "b": [value ^ 1 for value in hashes]})
    pairs = across_splits(store, ["train"] * 12 + ["test"] * 10)
    assert pairs == [("a_r00000_c00000", "train", "b_r00000_c00000", "test")]


def test_thousands_of_tiles_of_one_slide_are_compared(tmp_path: Path):
    """Tiles of one kind fill a bucket of the search, which is skipped. The slide that is stored twice is found."""
    random = np.random.default_rng(0)
    own = [int(value) for value in random.integers(1, 2**63, 1500)]
    alike = [12345 + number for number in range(1200)]
    store = tiled_store(tmp_path / "s.zarr", {"a": own, "b": alike, "c": own})
    pairs = across_splits(store, ["train"] * 2700 + ["val"] * 1500)
    assert [(one.partition("_")[0], other.partition("_")[0]) for one, _, other, _ in pairs] == [("a", "c")]


def test_inspect_names_tiles_and_slides(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store = tiled_store(tmp_path / "s.zarr", {"a": [0] * 3, "b": [0] * 4})
    described = describe_store(store.path, stats=False)
    assert described["parents"] == {
        "count": 2,
        "slices": False,
        "tile": {"size": [16, 16], "overlap": 4, "reduction": 2.0},
    }
    show_store(described)
    printed = " ".join(capsys.readouterr().out.split())  # a narrow terminal breaks lines
    assert "tiles of 2 images; a tile has 16 × 16 pixels, overlapping by 4, at 1/2" in printed
    assert "the tiles cover 32 × 32" in printed
