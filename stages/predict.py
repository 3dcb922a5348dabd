"""Run the stage `predict`: predict the masks of new images with a trained run, and write them.

The attention of the images is computed by the run's own recipe: the same transformer, checked by the digest of its
weights, at the same size. Each image gets `<id>.png` at its original size: 0 and 255 for one class, class indices for
several. With `probabilities` it also gets `<id>.npy`, (class, row, column) float16.

Every file in `out` is written by an atomic replace. Nothing else is written except the memo.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stages.attention.extractor import AttentionExtractor
from stages.attention.memo import AttentionMemo
from stages.attention.recipe import Recipe
from stages.errors import CheckpointError, InputProblemsError, Problem, UsageError
from stages.extraction.shard import REMEDY, Decoding, Extraction, check_files, extract_shard
from stages.imaging.pairing import Inputs, find_samples
from stages.imaging.resizing import resize_probabilities
from stages.imaging.samples import SourceSample
from stages.runtime.devices import resolve_device
from stages.runtime.progress import SILENT, Progress, Task
from stages.segmentation.batches import TensorBatch
from stages.segmentation.checkpoint import MODEL_FILE, ModelCard, load_model
from stages.segmentation.inputs import predict_probabilities
from stages.segmentation.network import Segmenter
from stages.settings import PredictSettings
from store import Sample
from store.disk.publish import replace_file

IMAGES_AT_A_TIME = 64
SOFTWARE = "diamant-pipeline"
"""Written into every mask, so that `predict` overwrites only masks that it wrote."""


@dataclass(frozen=True, kw_only=True)
class PredictionReport:
    """Report the result of a prediction."""

    out: Path
    images: int
    """Number of masks that were written."""
    skipped: Sequence[Problem]
    """Images that could not be used."""
    seconds: float

    def __str__(self) -> str:
        rate = self.images / max(self.seconds, 1e-9)
        lines = [f"{self.out}: {self.images} masks in {self.seconds:.1f} s ({rate:.1f} images/s)"]
        return "\n".join([*lines, *(f"left out: {problem}" for problem in self.skipped)])


@dataclass(frozen=True, kw_only=True)
class _Predictor:
    """Predict the mask of one sample at a time and write it."""

    settings: PredictSettings
    model: Segmenter
    card: ModelCard
    device: torch.device

    def predict(self, sample: Sample) -> None:
        """Write the mask of a sample, and its probabilities if they are asked for."""
        probabilities = self._probabilities(sample)
        mask = probabilities.argmax(axis=0).astype(np.uint8)
        if len(self.card.classes) == 2:  # noqa: PLR2004 - background and one class
            mask *= 255
        replace_file(self.settings.out / f"{sample.id}.png", _as_png(mask))
        if self.settings.probabilities:
            array = io.BytesIO()
            np.save(array, probabilities.astype(np.float16), allow_pickle=False)
            replace_file(self.settings.out / f"{sample.id}.npy", array.getvalue())

    def _probabilities(self, sample: Sample) -> NDArray[np.float32]:
        """Return (class, row, column) in [0, 1] at the image's original size."""
        batch = TensorBatch(
            image=torch.from_numpy(sample.image)[None].movedim(-1, 1).to(self.device),
            mask=torch.from_numpy(sample.mask)[None].to(self.device),
            attention=torch.from_numpy(sample.attention)[None].to(self.device),
        )
        probabilities = predict_probabilities(self.model, batch, self.card.attention_norm)[0].cpu().numpy()
        return resize_probabilities(probabilities, (sample.height, sample.width))


def run(settings: PredictSettings, progress: Progress = SILENT) -> PredictionReport:
    """Predict the masks of images.

    Raises:
        CheckpointError: the run cannot be read.
        WeightsError: the transformer's weights cannot be loaded, or are not those of the run's recipe.
        UsageError: `out` would overwrite images, masks drawn by hand, a store or a run.
        InputProblemsError: an image cannot be read, or with `on_error="skip"` none can; the error lists all of them.
    """
    began = time.monotonic()
    device = resolve_device(settings.device)
    model, card = load_model(settings.run, device)
    found = find_samples(Inputs(images=settings.images), labels="ignored")
    sources, problems = found.samples, found.problems
    _protect(sources, settings)
    recipe = _recipe(card, settings.run)
    extractor = AttentionExtractor.from_recipe(
        recipe, weights=settings.weights, device=settings.device, batch_size=settings.batch_size
    )
    decoding = Decoding(size=card.network.size, input_size=recipe.input_size)
    predictor = _Predictor(settings=settings, model=model, card=card, device=device)
    settings.out.mkdir(parents=True, exist_ok=True)
    with AttentionMemo(settings.memo, recipe) as memo, progress.task("predicting", len(sources)) as task:
        extraction = Extraction(decoding=decoding, extractor=extractor, batch_size=settings.batch_size, memo=memo)
        images = _predict_all(sources, problems, predictor, extraction, task)
    if not images:
        raise InputProblemsError(problems, "No image is left.")
    return PredictionReport(out=settings.out, images=images, skipped=problems, seconds=time.monotonic() - began)


def _predict_all(
    sources: Sequence[SourceSample],
    problems: list[Problem],
    predictor: _Predictor,
    extraction: Extraction,
    task: Task,
) -> int:
    """Write the masks of all images that can be read. Add the other images to `problems`.

    Returns:
        The number of masks.

    Raises:
        InputProblemsError: an image cannot be read and `on_error` is "stop"; the message names all such images.
    """
    images = 0
    parts = iter([sources[at : at + IMAGES_AT_A_TIME] for at in range(0, len(sources), IMAGES_AT_A_TIME)])
    for part in parts:
        shard = extract_shard(part, extraction, task)
        problems += shard.problems
        if problems and predictor.settings.on_error == "stop":
            for rest in parts:
                problems += check_files(rest, decoding=extraction.decoding, task=task)
            raise InputProblemsError(problems, REMEDY)
        for sample in shard.samples:
            predictor.predict(sample)
        images += len(shard.samples)
    return images


def _recipe(card: ModelCard, run: Path) -> Recipe:
    """Return the recipe that the run was trained on.

    Raises:
        CheckpointError: this version cannot read it; the message names the run.
    """
    try:
        return Recipe.from_dict(card.recipe)
    except CheckpointError as error:
        raise CheckpointError(f"{run}: {error}") from None


def _protect(sources: Sequence[SourceSample], settings: PredictSettings) -> None:
    """Check that the masks overwrite neither images, nor masks drawn by hand, nor a store or a run.

    Raises:
        UsageError: they would overwrite one of these.
    """
    out, images = settings.out.resolve(), settings.images.resolve()
    if images.is_dir() and (out == images or images in out.parents):
        raise UsageError(
            f"--out {settings.out}: is in the folder of the images, and masks would overwrite or join them.\n"
            "  Give another folder."
        )
    if any((folder / "zarr.json").exists() for folder in (out, *out.parents)) or (out / MODEL_FILE).exists():
        raise UsageError(f"--out {settings.out}: is a store or a run.\n  Give another folder.")
    for source in sources:
        mask, array = out / f"{source.id}.png", out / f"{source.id}.npy"
        if (mask.exists() and not _is_ours(mask)) or (array.exists() and not mask.exists()):
            raise UsageError(
                f"--out {settings.out}: the mask of {source.image} would overwrite a file not written by `predict`.\n"
                "  Give another folder."
            )


def _is_ours(mask: Path) -> bool:
    try:
        with Image.open(mask) as picture:
            return picture.info.get("Software") == SOFTWARE
    except OSError:
        return False


def _as_png(mask: NDArray[np.uint8]) -> bytes:
    """Return the bytes of a PNG file with the mask, marked as written by this program."""
    picture = io.BytesIO()
    written_by = PngInfo()
    written_by.add_text("Software", SOFTWARE)
    Image.fromarray(mask).save(picture, format="PNG", pnginfo=written_by)
    return picture.getvalue()
