"""The splits of a training run: the rule is named, resumed runs keep theirs, and copies across splits are reported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.errors import CheckpointError
from stages.segmentation.near_duplicates import similar_pairs
from stages.segmentation.run_splits import read_run_splits, split_names
from stages.segmentation.splits import split_by_hash, split_exactly
from stages.train import run
from store import AttentionStore
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample, train_settings
from tests.stages.test_golden_runs import GOLDEN, INTERRUPTED

SHARES = {"seed": 0, "val": 0.25, "test": 0.25}


def _splits(folder: Path) -> list[str]:
    return split_names(read_run_splits(folder / "splits.csv").codes).tolist()


def test_the_report_names_the_rule_and_why(phantom_store: Path, tmp_path: Path):
    """Sixteen phantoms are few. A rule that was asked for needs no reason."""
    store = AttentionStore.open(phantom_store)
    chosen = str(run(train_settings(phantom_store, tmp_path / "a", epochs=1)))
    assert "split by exact sizes" in chosen
    assert "because there are fewer than 500 labelled groups (--split-rule exact)" in chosen
    assert "weights of the last epoch, 1, because fewer than 10 validation samples cannot choose one" in chosen

    assert _splits(tmp_path / "a") == split_exactly(store, **SHARES)
    asked = str(run(train_settings(phantom_store, tmp_path / "b", epochs=1, split_rule="hash")))
    assert asked.splitlines()[-1] == "split by a hash of each group (--split-rule hash)"
    assert _splits(tmp_path / "b") == split_by_hash(store, **SHARES)


@pytest.fixture
def golden(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that makes the settings to resume the run that version 0.1.0 was interrupted in."""
    shutil.copytree(GOLDEN / "store.zarr", tmp_path / "store.zarr")
    shutil.copytree(GOLDEN / "interrupted", tmp_path / ".run.training")
    return lambda **changes: train_settings(
        tmp_path / "store.zarr", tmp_path / "run", **{**INTERRUPTED, "resume": True, **changes}
    )


@pytest.mark.parametrize("rule", ["auto", "hash"])
def test_a_run_from_before_there_were_rules_keeps_its_splits(golden, rule):
    """It was split by the hash, although it is small."""
    settings = golden(split_rule=rule)
    report = str(run(settings))
    store = AttentionStore.open(settings.store)
    hashed = split_by_hash(store, **SHARES)
    assert hashed != split_exactly(store, **SHARES)
    assert _splits(settings.out) == hashed
    assert "--split-rule hash" in report
    assert ("the rule that the run was started with" in report) == (rule == "auto")


def test_a_run_is_not_resumed_with_another_rule(golden, phantom_store: Path, tmp_path: Path):
    """The message names the rule that continues it, in both directions."""
    with pytest.raises(CheckpointError, match=r"started with --split-rule hash(?s:.*)Resume with --split-rule hash"):
        run(golden(split_rule="exact"))
    assert (tmp_path / ".run.training" / "state.safetensors").is_file()
    settings = train_settings(phantom_store, tmp_path / "b", epochs=1)
    run(settings)
    with pytest.raises(CheckpointError, match="Resume with --split-rule exact"):
        run(replace(settings, resume=True, split_rule="hash"))
    assert "fewer than 500" in str(run(replace(settings, resume=True)))


def test_images_that_look_the_same_in_different_splits_are_reported(tmp_path: Path, layout: Layout):
    """Pairs in one split and images without structure are not named."""
    layout = replace(layout, columns=("perceptual_hash",))
    path, table = tmp_path / "s.zarr", tmp_path / "splits.csv"
    hashes = ["00000000000000ff", "f0f0f0f0f0f0f0f0", "", "00000000000001ff", "00000000000000ff", ""]
    splits = ["train", "train", "train", "test", "train", "test"]
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for index, text in enumerate(hashes):
            writer.append(
                replace(random_sample(index, layout), group=f"g{index}", digest=f"{index}" * 64, perceptual_hash=text)
            )
    table.write_text("id,split\n" + "".join(f"sample-{n:03d},{split}\n" for n, split in enumerate(splits)))
    report = str(run(train_settings(path, tmp_path / "run", epochs=1, split_csv=table)))
    assert report.splitlines()[-1] == (
        "note: 2 pairs of images look the same across splits (sample-000 in train, sample-003 in test; sample-003 in "
        "test, sample-004 in train): scores may be too high. Give them one group (extract --csv with a column "
        "`group`), or remove one of each."
    )
    table.write_text("id,split\n" + "".join(f"sample-{n:03d},{'test' if n == 1 else 'train'}\n" for n in range(6)))
    assert "look the same" not in str(run(train_settings(path, tmp_path / "other", epochs=1, split_csv=table)))


def test_similar_hashes_are_all_found():
    """A slow search over all pairs finds the same, up to the largest number of different bits."""
    random = np.random.default_rng(0)
    values = [int(value) for value in random.integers(0, 2**63, 12, dtype=np.int64)]
    for value in values[:12]:
        for bits in range(7):
            flipped = sum(1 << int(bit) for bit in random.choice(64, bits, replace=False))
            values.append(value ^ flipped)
    slow = [
        (one, other, (values[one] ^ values[other]).bit_count())
        for one in range(len(values))
        for other in range(one + 1, len(values))
        if (values[one] ^ values[other]).bit_count() <= 4
    ]
    assert similar_pairs([f"{value:016x}" for value in values], most=4) == slow
    assert len(slow) > 60
