"""The estimate of memory grows with the pixels that are really decoded, and covers the labels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.extraction.shard import Decoding
from stages.imaging.classes import ClassMap
from stages.imaging.costs import decoding_bytes
from stages.imaging.labels import LabelRules
from stages.imaging.samples import LabelFile, SourceSample
from stages.runtime import look_ahead as module
from stages.runtime.look_ahead import look_ahead
from stages.runtime.memory_budget import MemoryBudget
from tests.stages.imaging.deep_files import save_deep_png

SIDE = 400
PIXELS = SIDE * SIDE


def sample(path: Path, image: Image.Image, **options: Any) -> SourceSample:
    image.save(path, **options)
    return SourceSample("a", path)


def cost(one: SourceSample, side: int = SIDE) -> float:
    """Return the estimate in bytes per pixel, without the bytes of the file."""
    return (decoding_bytes(one, side) - one.image.stat().st_size) / PIXELS


def test_the_estimate_depends_on_the_kind_of_picture(tmp_path: Path):
    """More channels, more bits and transparency need more."""
    rgb = Image.new("RGB", (SIDE, SIDE))
    assert cost(sample(tmp_path / "a.png", rgb)) == 8
    assert cost(sample(tmp_path / "a.png", rgb.convert("RGBA"))) == 24
    assert cost(sample(tmp_path / "a.tif", rgb.convert("F"))) == 24
    assert cost(SourceSample("a", save_deep_png(tmp_path / "b.png", np.zeros((SIDE, SIDE, 3), np.uint16)))) == 48
    np.savez(tmp_path / "a.npz", image=np.zeros((SIDE, SIDE)))
    assert cost(SourceSample("a", tmp_path / "a.npz")) == 24


def test_a_reduced_jpeg_needs_less(tmp_path: Path):
    """A progressive one needs its coefficients at full size."""
    one = sample(tmp_path / "a.jpg", Image.new("RGB", (SIDE, SIDE)))
    assert [cost(one, side) for side in (SIDE, 200, 100, 50)] == [8, 2, 0.5, 0.125]
    assert cost(sample(tmp_path / "b.jpg", Image.new("RGB", (SIDE, SIDE)), progressive=True), 50) == 6.125


def test_labels_count_if_they_are_read(tmp_path: Path):
    one = sample(tmp_path / "a.jpg", Image.new("RGB", (SIDE, SIDE)))
    one = SourceSample("a", one.image, (LabelFile(tmp_path / "mask.png"),))
    assert cost(one, 50) == 24
    assert decoding_bytes(one, 50, labels=False) < PIXELS


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_an_image_that_cannot_be_opened_costs_nothing(tmp_path: Path, content: bytes | None):
    """Its decoding reports the problem."""
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    assert decoding_bytes(SourceSample("a", tmp_path / "a.png"), 9) == 0


def test_the_samples_of_a_shard_are_decoded_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With a budget for one and a half pictures, no two are decoded at the same time."""
    monkeypatch.setattr(module, "THREADS", 4)
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(file, "PNG")
    sources = []
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(file.getvalue())
        sources.append(SourceSample(str(number), tmp_path / f"{number}.png"))
    decoding = Decoding(size=(8, 8), input_size=(8, 8), rules=LabelRules(classes=ClassMap.binary()))
    running, seen = [0], []

    def decode(source: SourceSample) -> object:
        running[0] += 1
        seen.append(running[0])
        decoded = decoding.decode(source)
        running[0] -= 1
        return decoded

    budget = MemoryBudget(12 * PIXELS)
    assert len(list(look_ahead(decode, sources, weigh=decoding.weigh, budget=budget))) == 8
    assert seen == [1] * 8
