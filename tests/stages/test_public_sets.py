"""Public data sets go from their folders to predicted masks, with the options that the documentation gives."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages import evaluate, extract, predict, train
from stages.settings import EvaluateSettings, ExtractSettings, PredictSettings
from store import AttentionStore
from tests.conftest import train_settings
from tests.stages.public_sets import COUNT, HEIGHT, SETS, WIDTH, Expected

PAGE = Path(__file__).parents[2] / "docs" / "own-data.md"


def _extract_settings(root: Path, expected: Expected) -> ExtractSettings:
    paths = {name: root / value for name, value in expected.options.items() if name in ("images", "masks")}
    settings: dict[str, Any] = {
        **expected.options,
        **paths,
        "store": root.parent / "s.zarr",
        "memo": root.parent / "memo",
        "model": "untrained_tiny8",
        "image_size": (32, 32),
        "attention_size": (32, 32),
        "layers": (-1,),
    }
    return ExtractSettings(**settings)


@pytest.mark.parametrize("name", SETS)
def test_a_public_set_goes_from_its_folders_to_predicted_masks(name: str, tmp_path: Path):
    """Extract, train, evaluate against the source masks, and predict: nothing is renamed or written by hand."""
    root = tmp_path / "set"
    root.mkdir()
    expected = SETS[name](root)
    settings = _extract_settings(root, expected)

    report = str(extract.run(settings))
    store = AttentionStore.open(settings.store)
    assert tuple(sorted(store.ids)) == tuple(sorted(expected.ids))
    assert tuple(store.classes) == expected.classes
    assert int(store.labelled.sum()) == expected.labelled
    assert len(set(store.column("group"))) == expected.groups
    assert store.has("instances") == expected.instances
    assert store.multilabel == (expected.options.get("labels") == "multilabel")
    for file in expected.left_out:
        assert file in report, f"the report must name {file}"

    run = tmp_path / "run"
    train.run(train_settings(settings.store, run, epochs=1, val=0, test=1 / 3))
    scored = evaluate.run(
        EvaluateSettings(
            store=settings.store, run=run, out=tmp_path / "report", masks=settings.masks or settings.images, overlays=1
        )
    )
    assert scored.metrics["original"]["n"] >= 1

    images = root / expected.new_images if expected.new_images else settings.images
    predicted = predict.run(PredictSettings(images=images, run=run, out=tmp_path / "out", memo=settings.memo))
    assert predicted.images == (1 if expected.new_images else COUNT)
    for mask in (tmp_path / "out").glob("*.png"):
        with Image.open(mask) as picture:
            assert picture.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("name", SETS)
def test_the_documentation_gives_the_options_of_the_set(name: str, tmp_path: Path):
    """The table of public data sets in the documentation has a row with the options that the test above uses."""
    expected = SETS[name](tmp_path)
    row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {name}"))
    command = re.search(r"`(--images[^`]*)`", row)
    assert command is not None, row
    words = shlex.split(command[1])
    given = dict(zip(words[::2], words[1::2], strict=True))
    wanted = {f"--{key}": str(value) for key, value in expected.options.items() if not isinstance(value, dict)}
    wanted |= {
        f"--{key}": ",".join(f"{one}={of}" for one, of in value.items())
        for key, value in expected.options.items()
        if isinstance(value, dict)
    }
    assert given == wanted


def test_a_second_mask_of_an_image_is_united_with_the_first(tmp_path: Path):
    """BUSI's `_mask_1` is a second tumour of the same image: its pixels are foreground, and it is no image."""
    expected = SETS["BUSI"](tmp_path)
    settings = _extract_settings(tmp_path, expected)
    extract.run(ExtractSettings(**{**vars(settings), "image_size": (HEIGHT, WIDTH), "store": tmp_path / "s.zarr"}))
    store = AttentionStore.open(tmp_path / "s.zarr")
    mask = store[list(store.ids).index("benign (2)")].mask
    both = np.asarray(Image.open(tmp_path / "Dataset_BUSI_with_GT/benign/benign (2)_mask.png")) > 0
    both |= np.eye(HEIGHT, WIDTH) > 0
    np.testing.assert_array_equal(mask, both)
