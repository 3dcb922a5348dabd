"""Say after how many epochs extraction has paid: against DINO in the loop, on augmented images.

Extraction costs x seconds an image, once: from PNG files to a verified store. An epoch costs s seconds an image from
the store, and l with DINO in the loop (`tests.benchmarks.augmented_loop`, which is another computation). Both trainings
hold their images in memory. After x / (l - s) epochs both have taken the same time, if all extracted images are trained
on.

Where labels are few, extraction computes many images that are not trained on. So a second line is calculated for 65
training images of 2,000: it is 2,000 / 65 times later. Validation and test images are not counted in the loop, although
they need maps there too.

Against a plain cache of the same maps there is no break-even: its extraction costs the same (`plain_cache`).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save_file

from stages.attention.extractor import AttentionExtractor, ExtractorConfig
from stages.attention.memo import AttentionMemo
from stages.extraction.shard import Decoding, Extraction, extract_shard
from stages.imaging.classes import ClassMap
from stages.imaging.labels import LabelRules
from stages.imaging.samples import LabelFile, SourceSample
from stages.runtime.progress import SILENT
from stages.segmentation.batches import ResidentSamples
from store import AttentionStore
from store.writer import Layout, new_store
from tests.benchmarks.augmented_loop import AugmentedLoop
from tests.benchmarks.files import BATCH, details_of, trainer_of
from tests.benchmarks.measure import Measurement, NotMeasured, Rounds, in_turn, without_gpu
from tests.benchmarks.training_step import epoch
from tests.benchmarks.usual_setup import write_both

ROUNDS = 3
TRAINED, EXTRACTED = 65, 2000
"""The few labels of our results."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Hold a transformer and the sizes it is measured with."""

    model: str
    side: int
    """Of the images, in pixels."""
    entering: int
    """Side of the transformer's input."""
    samples: int
    timm_id: str | None = None
    """Architecture whose random weights are used; None to take the model's own. Time does not depend on weights."""


CASES = {
    "ViT-S/8 at 224²": Case(model="dino_vits8", side=224, entering=224, samples=16, timm_id="vit_small_patch8_224"),
    "dino_phantom_tiny8 at 192²": Case(model="dino_phantom_tiny8", side=128, entering=192, samples=32),
}
LINES = ("in the loop", "break-even, all images", f"break-even, {TRAINED} of {EXTRACTED:,} images")


def measure() -> Iterator[Measurement | NotMeasured]:
    """Yield the lines of every transformer and device."""
    for name, case in CASES.items():
        yield from on(torch.device("cpu"), name, case)
        if torch.cuda.is_available():
            yield from on(torch.device("cuda"), name, case)
        else:
            yield from (without_gpu(f"{line}: {name}, cuda") for line in LINES)


def on(device: torch.device, name: str, case: Case) -> Iterator[Measurement | NotMeasured]:
    """Yield the lines of one transformer on one device."""
    with tempfile.TemporaryDirectory() as folder:
        rounds = _measured(device, case, Path(folder))
    each = {f"{way}, ms an image": 1000 * seconds / case.samples for way, seconds in rounds.seconds.items()}
    own = {f"{way}, processor ms": 1000 * seconds / case.samples for way, seconds in rounds.cpu_seconds.items()}
    yield Measurement(
        name=f"in the loop: {name}, {device.type}",
        ratio=rounds.ratio("in the loop", "store"),
        target=None,
        claim="seconds an epoch, DINO in the loop on augmented images (another computation) / store",
        details=details_of(rounds, "in the loop", "store", samples=case.samples),
    )
    epochs, worked = _break_even_of(rounds.seconds), _break_even_of(rounds.cpu_seconds)
    for line, times in zip(LINES[1:], (1.0, EXTRACTED / TRAINED), strict=True):
        full = f"{line}: {name}, {device.type}"
        if epochs is None:
            yield NotMeasured(name=full, reason="DINO in the loop was not slower than the store, so it never pays")
            continue
        yield Measurement(
            name=full,
            ratio=epochs * times,
            target=None,
            claim="epochs until extraction and training from the store have taken as long as DINO in the loop",
            details={
                **each,
                **own,
                "by processor time": "never" if worked is None else worked * times,
                "first whole epoch ahead": math.floor(epochs * times) + 1,
            },
        )


def _break_even_of(seconds: Mapping[str, float]) -> float | None:
    return break_even(extraction=seconds["extraction"], loop=seconds["in the loop"], store=seconds["store"])


def break_even(*, extraction: float, loop: float, store: float) -> float | None:
    """Return the number of epochs at which both ways have taken the same time; None if the store never catches up.

    Args:
        extraction: seconds to extract the images, once.
        loop: seconds of an epoch over the same images with DINO in the loop.
        store: seconds of an epoch over them from the store.
    """
    return extraction / (loop - store) if loop > store else None


def _measured(device: torch.device, case: Case, folder: Path) -> Rounds:
    """Time extraction, an epoch in the loop and an epoch from the store, in turn, for the same images."""
    extractor = load_extractor(case, device, folder)
    recipe = extractor.recipe
    layout = Layout(
        size=(case.side, case.side), grid=recipe.grid, heads=recipe.heads, keys=recipe.keys,
        classes=["background", "foreground"],
    )  # fmt: skip
    store = write_both(folder, case.samples, layout)
    trainer, plain = trainer_of("dual", store, device), trainer_of("dual", store, device)
    plain.settings = replace(plain.settings, augment="none")
    indices = trainer.indices["train"]
    resident = ResidentSamples(store, indices, device)
    batches = list(resident.batches(np.array_split(indices, -(-len(indices) // BATCH))))
    loop = AugmentedLoop(batches, extractor, together=BATCH)
    turn = count()
    return in_turn(
        {
            "extraction": lambda: extract(folder, store, extractor, layout, folder / f"extracted-{next(turn)}"),
            "in the loop": lambda: epoch(plain, loop),
            "store": lambda: epoch(trainer, resident),
        },
        rounds=ROUNDS,
    )


def load_extractor(case: Case, device: torch.device, folder: Path) -> AttentionExtractor:
    """Return the extractor of a case, with the default blocks of `extract`."""
    weights = None
    if case.timm_id:
        weights = folder / "random.safetensors"
        torch.manual_seed(0)
        save_file(timm.create_model(case.timm_id, pretrained=False, num_classes=0).state_dict(), weights)
    config = ExtractorConfig(
        model=case.model, weights=weights, input_size=(case.entering, case.entering), layers=(-3, -2, -1),
        precision="float32",
    )  # fmt: skip
    return AttentionExtractor.load(config, device=device.type, batch_size=BATCH)


def extract(folder: Path, store: AttentionStore, extractor: AttentionExtractor, layout: Layout, out: Path) -> None:
    """Extract the PNG files of `write_both` to a new store `out`, with a new memo. The model is loaded already."""
    sources = [
        SourceSample(name, folder / "images" / f"{name}.png", (LabelFile(folder / "masks" / f"{name}.png"),))
        for name in store.ids.tolist()
    ]
    decoding = Decoding(
        size=layout.size, input_size=extractor.recipe.input_size, rules=LabelRules(classes=ClassMap.binary())
    )
    memo = AttentionMemo(out.with_suffix(".memo"), extractor.recipe)
    with memo as opened, new_store(out, layout=layout, recipe=extractor.recipe.to_dict()) as writer:
        with SILENT.task("", len(sources)) as task:
            extraction = Extraction(decoding=decoding, extractor=extractor, batch_size=BATCH, memo=opened)
            shard = extract_shard(sources, extraction, task)
        for sample in shard.samples:
            writer.append(sample)
