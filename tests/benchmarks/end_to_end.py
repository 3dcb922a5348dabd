"""Time extraction from JPEG files to samples: against its floor, with large photographs, and with all maps in the memo.

The floor is the slower of decoding alone and the transformer alone, each with the whole machine. On a CPU both compete
for the same cores and cannot overlap, so the sum of the two is reported as well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from stages.attention.extractor import AttentionExtractor, ExtractorConfig
from stages.attention.memo import AttentionMemo
from stages.extraction.shard import Decoded, Decoding, Extraction, extract_shard
from stages.imaging.classes import ClassMap
from stages.imaging.decoding import read_image, read_resized
from stages.imaging.labels import LabelRules
from stages.imaging.resizing import resize_image
from stages.imaging.samples import SourceSample
from stages.runtime.look_ahead import look_ahead
from stages.runtime.progress import SILENT
from tests.benchmarks.measure import Measurement, side_by_side
from tests.benchmarks.photographs import write_photographs

SIZE = (224, 224)
BATCH, IMAGES = (64, 512) if torch.cuda.is_available() else (8, 16)


def measure() -> Iterator[Measurement]:
    """Yield the lines for large photographs, for the whole extraction, and for one with everything in the memo."""
    with tempfile.TemporaryDirectory() as name:
        yield _large(write_photographs(Path(name) / "large", 2, (3000, 4000)))
        yield from _whole(Path(name), write_photographs(Path(name) / "images", IMAGES, (768, 1024)))


def _large(paths: list[Path]) -> Measurement:
    seconds = side_by_side(
        {
            "full": lambda: [_by_pillow(path) for path in paths],
            "reduced": lambda: [read_resized(path, [SIZE]) for path in paths],
        }
    )
    apart = np.abs(
        read_resized(paths[0], [SIZE]).images[0].astype(int) - resize_image(read_image(paths[0]).pixels, SIZE)
    )
    return Measurement(
        name="end to end: 12 megapixels",
        ratio=seconds["full"] / seconds["reduced"],
        target=3,
        claim="Pillow's full decode / our reduced and strict one, with the resize to 224²",
        details={"mean difference of 255": float(apart.mean()), "largest": float(apart.max()), **seconds},
    )


def _by_pillow(path: Path) -> Image.Image:
    """Decode an image at its full size and resize it, as most programs do."""
    with Image.open(path) as image:
        return image.convert("RGB").resize(SIZE, Image.Resampling.BILINEAR)


def _whole(folder: Path, paths: list[Path]) -> Iterator[Measurement]:
    weights = folder / "random.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("vit_small_patch8_224", pretrained=False, num_classes=0).state_dict(), weights)
    config = ExtractorConfig(
        model="dino_vits8", weights=weights, input_size=SIZE, layers=[-1],
        precision="bfloat16" if torch.cuda.is_available() else "float32",
    )  # fmt: skip
    extractor = AttentionExtractor.load(config, device="auto", batch_size=BATCH)
    sources = [SourceSample(path.stem, path) for path in paths]
    decoding = Decoding(size=SIZE, input_size=SIZE, rules=LabelRules(classes=ClassMap.binary()))
    entering = np.stack([one.entering for one in look_ahead(decoding.decode, sources) if isinstance(one, Decoded)])
    turn = iter(range(1000))

    def extract(memo: Path) -> None:
        with AttentionMemo(memo, extractor.recipe) as opened, SILENT.task("", len(sources)) as task:
            extraction = Extraction(decoding=decoding, extractor=extractor, batch_size=BATCH, memo=opened)
            extract_shard(sources, extraction, task)

    extract(folder / "remembered")
    seconds = side_by_side(
        {
            "decode": lambda: list(look_ahead(decoding.decode, sources)),
            "transformer": lambda: extractor.extract(entering),
            "whole": lambda: extract(folder / f"memo-{next(turn)}"),
            "remembered": lambda: extract(folder / "remembered"),
        },
        rounds=3,
        warm_up=0,
    )
    alone = (seconds["decode"], seconds["transformer"])
    each = {way: took / IMAGES for way, took in seconds.items()}
    yield Measurement(
        name="end to end: floor / whole",
        ratio=max(alone) / seconds["whole"],
        target=0.9,
        claim="slower of decode and transformer alone / from files to samples, seconds an image",
        details={
            **each,
            "sum of both alone / whole": sum(alone) / seconds["whole"],
            "share of the time that the transformer's device is busy": seconds["transformer"] / seconds["whole"],
        },
    )
    yield Measurement(
        name="end to end: remembered",
        ratio=seconds["whole"] / seconds["remembered"],
        target=50,
        claim="computing / everything in the memo, ViT-S/8 at 224², JPEGs of 768 x 1024",
        details=each,
    )
