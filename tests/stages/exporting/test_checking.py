"""An exported network that computes something else than PyTorch is found, and nothing is written then."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stages.errors import CheckpointError, PipelineError
from stages.exporting.checking import TOLERANCE, check
from stages.exporting.loading import Loaded, load
from stages.runtime.progress import SILENT
from stages.settings import ExportSettings
from tests.stages.exporting.made_runs import make_run


@pytest.fixture
def loaded(tmp_path: Path, phantom_store: Path) -> Loaded:
    """Return a whole of an image alone, which has no transformer and is fast."""
    run = make_run(tmp_path / "run", phantom_store, branches="image", width=1)
    return load(ExportSettings(run=run, format="torch"))


def changed(loaded: Loaded, change: Any) -> Any:
    def run(inputs: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        with torch.inference_mode():
            mask, values = loaded.network(*map(torch.from_numpy, inputs))
        return change(mask.numpy().copy(), values.numpy().copy())

    return run


def test_the_same_outputs_are_accepted(loaded: Loaded):
    result = check(loaded, changed(loaded, lambda mask, values: [mask, values]), SILENT)
    assert (result.difference, result.undecided, result.images) == (0.0, 0, 8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda mask, values: [mask, values + np.float32(2 * TOLERANCE)], "values differ"),
        (lambda mask, values: [mask, values * np.float32(np.nan)], "values differ"),
        (lambda mask, values: [mask ^ 1, values], "another label"),
        (lambda mask, values: [mask.astype(np.int64), values], "shapes and types"),
        (lambda mask, values: [mask, values[:, :1]], "shapes and types"),
        (lambda mask, values: [mask, values[:1]], "shapes and types"),
    ],
    ids=["shifted", "nan", "labels", "type", "class-missing", "batch-of-one"],
)
def test_other_outputs_are_refused(loaded: Loaded, change: Any, words: str):
    with pytest.raises(PipelineError, match=words):
        check(loaded, changed(loaded, change), SILENT)


def test_an_undecided_pixel_may_have_another_label(loaded: Loaded):
    """PyTorch decides it by less than the tolerance; it is counted."""
    loaded.network.segmenter.head.weight.data.zero_()
    loaded.network.segmenter.head.bias.data.zero_()

    def other(mask: NDArray[Any], values: NDArray[Any]) -> Sequence[NDArray[Any]]:
        mask[0, 0, 0] ^= 1
        return [mask, values]

    result = check(loaded, changed(loaded, other), SILENT)
    assert result.undecided == 3  # one in each batch: two of noise, and one of all real images
    assert "undecided" in str(result)


def test_a_store_of_another_recipe_is_refused(tmp_path: Path, make_store: Any, phantom_store: Path):
    run = make_run(tmp_path / "run", phantom_store, branches="image", width=1)
    loaded = load(ExportSettings(run=run, format="torch", store=make_store(3)))
    with pytest.raises(CheckpointError, match="another recipe"):
        check(loaded, changed(loaded, lambda mask, values: [mask, values]), SILENT)


def test_a_run_on_tiles_says_that_it_is_the_network_of_a_window(tmp_path: Path, phantom_store: Path):
    run = make_run(tmp_path / "run", phantom_store, branches="image", images={"tile": {"size": [32, 40]}})
    assert "one window of 32 x 40" in load(ExportSettings(run=run)).notes[0]


def test_a_padded_run_says_how_to_pad(tmp_path: Path, phantom_store: Path):
    run = make_run(tmp_path / "run", phantom_store, branches="image", images={"fit": "pad"})
    assert "pad yours with black" in load(ExportSettings(run=run)).notes[0]
