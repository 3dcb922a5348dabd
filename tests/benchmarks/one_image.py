"""Time `predict` of one photograph with the default batch size, against the transformer's forward pass alone.

The transformer is ViT-S/8 at 448². The rest of `predict` is reading the run, the weights and the photograph, the
segmentation network, and writing the mask. Starting Python is not included.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save_file

from stages import extract, phantom, predict, train
from stages.attention.extractor import AttentionExtractor
from stages.attention.recipe import Recipe
from stages.settings import ExtractSettings, PhantomSettings, PredictSettings, TrainSettings
from store import AttentionStore
from tests.benchmarks.measure import Measurement, side_by_side
from tests.benchmarks.photographs import write_photographs

SIDE = (448, 448)


def measure() -> Iterator[Measurement]:
    """Yield the time of `predict` for one photograph, as a multiple of its forward pass."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights, run, recipe = _trained(folder)
        photograph = write_photographs(folder / "photographs", 1, (768, 1024))[0]
        extractor = AttentionExtractor.from_recipe(recipe, weights=weights, device="auto", batch_size=16)
        image = np.random.default_rng(0).integers(0, 256, (1, *SIDE, 3), dtype=np.uint8)
        memos = (folder / f"memo{number}" for number in itertools.count())
        seconds = side_by_side(
            {
                "predict": lambda: predict.run(
                    PredictSettings(
                        images=photograph, run=run, weights=weights, out=folder / "predictions", memo=next(memos)
                    )
                ),
                "forward pass": lambda: extractor.extract(image),
            },
            rounds=3,
        )
        yield Measurement(
            name="one image: predict / forward pass, 448²",
            ratio=seconds["predict"] / seconds["forward pass"],
            target=1.15,
            at_most=True,
            claim="predict of one photograph / the transformer's forward pass alone",
            details=seconds,
        )


def _trained(folder: Path) -> tuple[Path, Path, Recipe]:
    """Return random weights of a ViT-S/8, a run that was trained with its maps, and their recipe."""
    weights, store = folder / "random.safetensors", folder / "s.zarr"
    torch.manual_seed(0)
    save_file(timm.create_model("vit_small_patch8_224", pretrained=False, num_classes=0).state_dict(), weights)
    phantom.run(PhantomSettings(out=folder / "phantom", samples=2, image_size=(64, 64)))
    extract.run(
        ExtractSettings(
            images=folder / "phantom/images",
            masks=folder / "phantom/masks",
            store=store,
            model="dino_vits8",
            weights=weights,
            attention_size=SIDE,
            memo=folder / "memo",
        )
    )
    train.run(TrainSettings(store=store, out=folder / "run", epochs=1, val=0, test=0))
    return weights, folder / "run", Recipe.from_dict(AttentionStore.open(store).recipe)
