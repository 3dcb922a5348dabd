"""Cross-validation refuses ids that cannot be names of files, before it trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stages.errors import UsageError
from stages.segmentation.fold_predictions import require_file_names
from store import AttentionStore
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample

LAYOUT = Layout(size=(2, 2), grid=(1, 1), heads=["L0H0"], keys=2, classes=["a", "b"])
LABELS = replace(LAYOUT, classes=["a", "b c", "b/c"], multilabel=True)


def opened(folder: Path, ids: list[str], layout: Layout = LAYOUT, *, labelled: bool = True) -> AttentionStore:
    with new_store(folder / "s.zarr", layout=layout, recipe=RECIPE) as writer:
        for index, id_ in enumerate(ids):
            writer.append(replace(random_sample(index, layout), id=id_, labelled=labelled))
    return AttentionStore.open(folder / "s.zarr")


@pytest.mark.parametrize(
    ("ids", "layout", "message"),
    [
        (["a", "b/c"], LAYOUT, r"the id 'b/c' cannot be the name of a file"),
        (["a", "..\\b"], LAYOUT, r"cannot be the name of a file"),
        (["x", "y", "x"], LAYOUT, r"the predictions of 'x' and 'x' would both be x.png"),
        (["x"], LABELS, r"the predictions of 'x' and 'x' would both be x_b_c.png"),
    ],
    ids=["slash", "backslash", "twice", "labels"],
)
def test_ids_without_a_file_of_their_own_are_refused(tmp_path: Path, ids: list[str], layout: Layout, message: str):
    with pytest.raises(UsageError, match=message):
        require_file_names(opened(tmp_path, ids, layout))


@pytest.mark.parametrize("ids", [["a", "b", "é ü.", "c:d"], []], ids=["usual", "none"])
def test_other_ids_are_accepted(tmp_path: Path, ids: list[str]):
    require_file_names(opened(tmp_path, ids))


def test_samples_without_a_mask_need_no_names(tmp_path: Path):
    require_file_names(opened(tmp_path, ["a/b", "a/b"], labelled=False))
