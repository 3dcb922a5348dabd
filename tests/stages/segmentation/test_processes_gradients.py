"""Several processes: one step has the loss and the gradients that one process has for the whole batch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample
from tests.stages.segmentation.one_step import save_step
from tests.stages.together import run_processes

CASES: dict[str, dict[str, Any]] = {
    "dual": {"batch_size": 8},
    "image_uneven": {"batch_size": 5, "branches": "image", "loss": "dice_focal"},
    "attention_uneven": {"batch_size": 7, "branches": "attention", "loss": "ce", "augment": "none", "map_noise": 0.4},
    "share_of_zero": {"batch_size": 2, "augment": "light", "border": "mirror"},
    "unlabelled": {"batch_size": 5, "unlabelled": True, "confidence": 0.5, "attention_norm": "minmax"},
    "full_stem": {"batch_size": 5, "stem": "full", "blocks": "plain", "fusion": "bottleneck"},
}
"""Settings of the step, by name."""
LABELS = {"labels": {"batch_size": 5}, "labels_focal": {"batch_size": 5, "loss": "dice_focal"}}
"""The same for masks whose labels may overlap."""

PROGRAM = """
import json, sys
from pathlib import Path
from stages.runtime.processes import joined
from tests.stages.segmentation.one_step import save_step
with joined("cpu") as processes:
    for name, (path, changes) in json.loads(sys.argv[2]).items():
        save_step(Path(path), Path(sys.argv[1]) / f"{name}.{processes.count}", changes, processes)
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Return two stores of 11 samples, with classes and with labels that may overlap. The last three have no mask.

    Samples differ in their number of ignored pixels, from none to all: means over pixels need the right weights.
    """
    folder = tmp_path_factory.mktemp("stores")
    made = {}
    for multilabel in (False, True):
        classes = ["background", "cup", "disc"] if multilabel else ["skin", "lesion"]
        layout = Layout(size=(34, 40), grid=(4, 5), heads=["L1H0", "L1H1"], keys=21, classes=classes)
        layout = replace(layout, multilabel=multilabel)
        made[multilabel] = folder / f"{multilabel}.zarr"
        with new_store(made[multilabel], layout=layout, recipe=RECIPE) as writer:
            for index in range(11):
                sample = random_sample(index, layout)
                sample.mask[: 34 * index // 7] = 255
                writer.append(
                    replace(
                        sample, labelled=index < 8, mask=sample.mask if index < 8 else np.full_like(sample.mask, 255)
                    )
                )
    return made


@pytest.mark.parametrize("count", [2, 3])
def test_a_step_has_the_loss_gradients_and_statistics_of_one_process(stores, tmp_path, forks, count: int):
    """Every kind of loss, uneven shares, a share of zero, ignored pixels, silenced branches and unlabelled samples."""
    cases = {name: (stores[False], one) for name, one in CASES.items()} | {
        name: (stores[True], one) for name, one in LABELS.items()
    }
    given = json.dumps({name: (str(path), one) for name, (path, one) in cases.items()})
    for finished in run_processes(forks, count, PROGRAM, tmp_path, given):
        assert finished.returncode == 0, finished.stderr
    for name, (path, changes) in cases.items():
        save_step(path, tmp_path / f"{name}.1", changes)
        one, several = (load_file(tmp_path / f"{name}.{number}") for number in (1, count))
        assert one.keys() == several.keys()
        assert any(float(tensor.abs().max()) > 1e-3 for key, tensor in one.items() if key.endswith("weight"))
        largest = max(float(tensor.abs().max()) for key, tensor in one.items() if "running" not in key)
        for key, tensor in one.items():
            tolerance = 2e-5 * max(float(tensor.abs().max()), largest * 1e-2)
            np.testing.assert_allclose(several[key], tensor, atol=tolerance, rtol=1e-5, err_msg=f"{name} {key}")
