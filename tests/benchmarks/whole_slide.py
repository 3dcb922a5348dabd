"""Time `predict` of a whole slide with all files, against the transformer and the network on its windows alone.

The slide has 3,000 x 3,000 pixels, the run tiles of 64 at a quarter of the resolution. The rest of `predict` is reading
regions, blending, finding objects, and writing the label image at full size, the instances and the GeoJSON file.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from stages import predict
from stages.attention.extractor import AttentionExtractor
from stages.attention.recipe import Recipe
from stages.prediction.inference import Predictor
from stages.prediction.large import driver
from stages.segmentation.checkpoint import load_model
from stages.settings import PredictSettings
from store import AttentionStore
from tests.benchmarks.measure import Measurement, side_by_side
from tests.slide_runs import TILE, discs_on_borders, make_run, write_slide

SIDE, REDUCTION = 3000, 4
BATCH = 16


def measure() -> Iterator[Measurement]:
    """Yield the time of `predict` for one slide, as a multiple of its networks, with the seconds per megapixel."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = make_run(folder / "training", reduction=REDUCTION)
        slide = write_slide(folder / "slide.tif", SIDE, discs_on_borders(SIDE, radius=48), seed=None)
        memos = (folder / f"memo{number}" for number in itertools.count())
        step = TILE - TILE // 4
        count = (-(-(SIDE // REDUCTION - TILE) // step) + 1) ** 2
        store = AttentionStore.open(folder / "training" / "store.zarr")
        sample = store[0]
        model, card = load_model(run, torch.device("cpu"))
        predictor = Predictor(model=model, card=card, device=torch.device("cpu"))
        recipe = Recipe.from_dict(store.recipe)
        extractor = AttentionExtractor.from_recipe(recipe, weights=None, device="cpu", batch_size=BATCH)
        images = np.random.default_rng(0).integers(0, 256, (BATCH, *recipe.input_size, 3), dtype=np.uint8)

        def networks() -> None:
            for _ in range(0, count, BATCH):
                extractor.extract(images)
                predictor.probabilities([sample] * BATCH)

        def whole() -> None:
            predict.run(
                PredictSettings(
                    images=slide,
                    run=run,
                    out=folder / "predictions",
                    memo=next(memos),
                    batch_size=BATCH,
                    device="cpu",
                    contours=True,
                    table=True,
                    instances="components",
                )
            )

        most, driver.MOST_PIXELS = driver.MOST_PIXELS, 1000
        try:
            seconds = side_by_side({"predict": whole, "networks": networks}, rounds=3)
        finally:
            driver.MOST_PIXELS = most
        megapixels = SIDE**2 / 1e6
        yield Measurement(
            name=f"whole slide: predict / networks, {SIDE}², reduction {REDUCTION}",
            ratio=seconds["predict"] / seconds["networks"],
            target=None,  # the networks are tiny here, so the ratio says how much the rest takes, and not more
            at_most=True,
            claim="predict of a slide with all files / transformer and network on its windows alone",
            details={**seconds, "predict per megapixel": seconds["predict"] / megapixels},
        )
