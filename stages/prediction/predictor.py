"""Predict images that are arrays in memory, with a run that stays loaded: the core of the Python API.

An image takes the way that the command `predict` takes for its file: the run's rules convert and resize it, the
transformer of the run's recipe computes its maps, the network predicts it. So the labels are those of the mask that
`predict` writes for a PNG with the same pixels. Nothing is written, except to the memo if one is given.

On a CPU the result of an image does not depend on the images that are computed with it, nor on other threads.
"""

from __future__ import annotations

import hashlib
import math
import threading
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never, Self

import numpy as np

from stages.attention.extractor import AttentionExtractor
from stages.attention.memo import AttentionMemo
from stages.errors import UsageError
from stages.imaging.in_memory import ArrayImage
from stages.imaging.samples import SourceSample
from stages.imaging.volumes.pyramid_rule import MOST_PIXELS_AT_ONCE
from stages.prediction import inference
from stages.prediction.full_size import Prediction
from stages.prediction.large.driver import is_large
from stages.prediction.large.label_tiff import rows_at
from stages.prediction.large.sliding import plan_windows, predicted_rows
from stages.prediction.loading import load_run, weights_of
from stages.prediction.segmentation import Segmentation
from stages.runs.licences import licence_of_run
from stages.runtime.devices import resolve_device
from stages.runtime.progress import Task
from stages.segmentation.decisions import decide
from stages.settings import OFFLINE
from stages.settings.environment import is_switched_on
from store import Sample
from store.records import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.parts import Box
    from stages.prediction.loading import LoadedRun

__all__ = ["Predictor"]

RGB, RGBA = 3, 4
"""Channels of a colour image, without and with alpha; the first is also its number of axes."""


@dataclass(frozen=True, eq=False)
class _Prepared:
    """Hold an image, or a tile of one, at the sizes that network and transformer take."""

    name: str
    size: tuple[int, int]
    """(rows, columns) in the image's pixels."""
    image: NDArray[np.uint8]
    """(row, column, 3) RGB at the network's size."""
    entering: NDArray[np.uint8]
    """(row, column, 3) RGB as the transformer sees it."""


class Predictor:
    """Predict images with a trained run. Made by `load`; keeps the network and the transformer in memory.

    Safe to call from many threads: images are converted at the same time, and computed one call after the other.
    """

    classes: tuple[str, ...]
    """Names of the classes; the first is the background."""
    multilabel: bool
    """True if the run predicts labels that may overlap."""
    licence: str
    """Licence of the transformer's weights, in words; it binds what you make with the predictions."""

    def __init__(
        self,
        loaded: LoadedRun,
        extractor: AttentionExtractor | None,
        network: inference.Predictor,
        *,
        run: Path,
        memo: Path | None,
        batch_size: int,
    ) -> None:
        self.classes = tuple(loaded.card.classes)
        self.multilabel = loaded.card.network.multilabel
        self.licence = licence_of_run(
            loaded.card.recipe, loaded.card.weights_licence, branches=loaded.card.network.branches
        )
        self._size = loaded.card.network.size
        self._recipe, self._rules = loaded.recipe, loaded.rules
        self._window_recorded = "window" in (loaded.card.images or {})
        self._extractor, self._network = extractor, network
        self._run, self._memo, self._batch_size = run, memo, batch_size
        self._lock = threading.Lock()  # neither the extractor nor a GPU may be used by two threads at once

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        device: str = "auto",
        weights: str | Path | None = None,
        offline: bool = False,
        memo: str | Path | None = None,
        batch_size: int = 16,
        flips: bool = False,
    ) -> Self:
        """Load a run and the transformer that its maps come from.

        Args:
            run: Folder that `train` wrote; of a cross-validation, that of one fold.
            device: `auto`, or a device name of torch: `cpu`, `cuda`, `cuda:1`, `mps`.
            weights: The weights file that the run's store was extracted with, if it was extracted with one.
            offline: Download nothing. Also PIPELINE_OFFLINE=1.
            memo: Folder that caches maps between programs; None to write nothing.
            batch_size: Most images through the transformer at a time.
            flips: Average the predictions of the image and its flips.

        Raises:
            CheckpointError: the run cannot be read.
            WeightsError: the transformer's weights cannot be loaded, or are not those of the run's recipe.
            UsageError: an argument is of another type or out of range, there is no such device, or this version cannot
                follow the recipe.
        """
        for name, value in {"run": run, "weights": weights, "memo": memo}.items():
            if not isinstance(value, str | Path) and (value is not None or name == "run"):
                raise UsageError(f"{name} is a {type(value).__name__}: give one path, as a text or a Path.")
        if not isinstance(batch_size, int) or batch_size < 1:
            raise UsageError(f"batch_size {batch_size!r}: give a whole number, at least 1.")
        place = resolve_device(device)
        loaded = load_run(Path(run), place)
        offline = offline or is_switched_on(OFFLINE)
        extractor = None
        if loaded.takes_attention:
            file = weights_of(loaded.recipe, None if weights is None else Path(weights), offline=offline)
            extractor = AttentionExtractor.from_recipe(
                loaded.recipe, weights=file, device=device, batch_size=batch_size
            )
        network = inference.Predictor(model=loaded.model, card=loaded.card, device=place, flips=flips)
        kept = None if memo is None else Path(memo)
        return cls(loaded, extractor, network, run=Path(run), memo=kept, batch_size=batch_size)

    def __repr__(self) -> str:
        return f"Predictor({self._run}, classes: {', '.join(self.classes)}, device: {self._network.device})"

    def __reduce__(self) -> Never:
        """Refuse to be copied to another process.

        Raises:
            TypeError: always, as pickle asks for.
        """
        raise TypeError(f"a Predictor is not sent to other processes: call Predictor.load({str(self._run)!r}) in each")

    def __call__(self, image: NDArray[Any], *, pixel_mm: float | None = None) -> Segmentation:
        """Predict one image.

        Args:
            image: (row, column) grey, (row, column, 3) RGB or (row, column, 4) RGBA, of any size. uint8 values are
                taken as they are, bool as black and white. All others are converted by the rule for values of more than
                8 bits that the run records, as those of a file. RGBA is uint8 or uint16, and composited on black.
            pixel_mm: Side of a pixel in millimetres. Needed for a run on tiles whose resolution is in micrometres.

        Raises:
            UsageError: it is no such array, or is too large for a run that was not trained on tiles.
            InputProblemsError: values are NaN or infinite; or the size of a pixel is missing, or does not fit.
            PipelineError: there is not enough memory, or the network's output is not finite.
        """
        return self._predict([self._taken(image, "image")], pixel_mm)[0]

    def batch(self, images: Iterable[NDArray[Any]], *, pixel_mm: float | None = None) -> list[Segmentation]:
        """Predict several images; the transformer takes them in batches.

        Args:
            images: Arrays as for one image; their sizes and types may differ. Or (image, row, column, 3).
            pixel_mm: As for one image.

        Returns:
            The predictions in the order of the images. On a CPU they are the same as one by one.

        Raises:
            UsageError, InputProblemsError, PipelineError: as for one image; the message names it by its position,
                counted from 0.
        """
        if isinstance(images, np.ndarray) and _is_one_image(images):
            raise UsageError(
                f"an array of shape {images.shape} is one image, and `batch` takes several.\n"
                "  Call the predictor itself, or give a list of images."
            )
        named = (self._taken(image, f"image {at}") for at, image in enumerate(images))
        predicted: list[Segmentation] = []
        while some := list(islice(named, self._batch_size)):
            predicted += self._predict(some, pixel_mm)
        return predicted

    def _taken(self, values: Any, name: str) -> ArrayImage:
        """Convert an array to 8 bits, and warn if the run does not say how."""
        image = ArrayImage.of(values, self._rules, name=name)
        if image.deep and not self._window_recorded:
            warnings.warn(
                f"{name}: values of type {values.dtype} are shown {self._rules.window.sentence}, because the run was "
                "trained on images of 8 bits. Convert the image to uint8 as the training images were.",
                stacklevel=3,
            )
        if self._rules.tile is None and image.size[0] * image.size[1] > MOST_PIXELS_AT_ONCE:
            raise UsageError(
                f"{name}: has {image.size[0]:,} x {image.size[1]:,} pixels, too many for a run that was not trained on "
                "tiles.\n  Extract with --tile and train again."
            )
        return image

    def _predict(self, images: Sequence[ArrayImage], pixel_mm: float | None) -> list[Segmentation]:
        if pixel_mm is not None and not 0 < pixel_mm < math.inf:
            raise UsageError(f"pixel_mm is {pixel_mm}: give the side of a pixel in millimetres, above 0.")
        if self._rules.tile is not None:
            return [self._predict_tiled(image, pixel_mm) for image in images]
        prepared = [self._prepared(image, None, image.name) for image in images]
        with self._lock:
            # The network takes one image at a time, as in the command `predict`, so that the last bits are the same.
            outputs = [self._network.predict(sample) for sample in self._with_maps(prepared)]
        return [self._result(image, output) for image, output in zip(images, outputs, strict=True)]

    def _predict_tiled(self, image: ArrayImage, pixel_mm: float | None) -> Segmentation:
        """Predict an image through overlapping windows; a large one row by row."""
        if self._rules.tile is None:
            raise AssertionError("the run was not trained on tiles")
        if self._rules.tile.micrometres is not None and pixel_mm is None:
            raise UsageError(
                f"{image.name}: the run was trained on tiles with {self._rules.tile.micrometres:g} micrometres per "
                "pixel.\n  Give the side of the image's pixels in millimetres: pixel_mm=0.00025."
            )
        source = SourceSample(id=image.name, image=Path(image.name))  # only names the image in messages
        spacing = None if pixel_mm is None else (pixel_mm, pixel_mm, None)
        windows = plan_windows(source, image.size, self._rules.tile, spacing)

        def read(tiles: Sequence[SourceSample], task: Task) -> list[Sample]:
            samples: list[Sample] = []
            for first in range(0, len(tiles), self._batch_size):
                some = tiles[first : first + self._batch_size]
                samples += self._with_maps([self._prepared(image, tile.part.box, tile.id) for tile in some])
                task.advance(len(some))
            return samples

        with self._lock:
            parts = predicted_rows(windows, read, self._network, batch_size=self._batch_size, task=Task())
            if is_large(windows, len(self.classes)):
                rows = (decide(part, multilabel=self.multilabel) for part in parts)
                decided = np.concatenate(list(rows_at(rows, windows.grid, image.size)))
                return self._result(image, None, decided)
            probabilities = np.concatenate(list(parts), axis=1)
        return self._result(image, Prediction(probabilities, image.size, multilabel=self.multilabel))

    def _prepared(self, image: ArrayImage, box: Box | None, name: str) -> _Prepared:
        """Resize an image, or a tile of it, for network and transformer."""
        aspect = self._rules.aspect(self._size)
        context, input_size = self._recipe.context, self._recipe.input_size
        if any(context):
            entering = image.with_context(box, input_size, context)
        else:
            entering = image.resized(box, input_size, aspect)
        stored = image.resized(box, self._size, aspect)
        return _Prepared(name, image.size if box is None else box[2:], stored, entering)

    def _with_maps(self, prepared: Sequence[_Prepared]) -> list[Sample]:
        """Compute the maps of images, or take them from the memo. Call with the lock held."""
        keys = [_key_of_maps(one.entering) for one in prepared]
        if self._memo is None or self._extractor is None:
            maps = dict(zip(keys, self._extract(prepared), strict=True))
        else:
            with AttentionMemo(self._memo, self._recipe) as memo:
                maps = memo.get_many(keys)
                missing = {key: one for key, one in zip(keys, prepared, strict=True) if key not in maps}
                new = dict(zip(missing, self._extract(list(missing.values())), strict=True))
                memo.put_many(new)
                maps |= new
        return [self._sample(one, key, maps[key]) for one, key in zip(prepared, keys, strict=True)]

    def _extract(self, prepared: Sequence[_Prepared]) -> NDArray[np.float16]:
        if not prepared:
            return np.empty((0,), np.float16)
        if self._extractor is None:  # the network does not read them
            return np.zeros((len(prepared), len(self._recipe.heads), *self._recipe.grid), np.float16)
        return self._extractor.extract(np.stack([one.entering for one in prepared]))

    def _sample(self, prepared: _Prepared, key: str, maps: NDArray[np.float16]) -> Sample:
        return Sample(
            id=prepared.name,
            image=prepared.image,
            mask=np.full(prepared.image.shape[:2], IGNORE, np.uint8),
            attention=maps,
            digest=key,
            height=prepared.size[0],
            width=prepared.size[1],
            group=prepared.name,
            labelled=False,
        )

    def _result(
        self, image: ArrayImage, output: Prediction | None, decided: NDArray[np.uint8] | None = None
    ) -> Segmentation:
        return Segmentation(
            classes=self.classes, size=image.size, multilabel=self.multilabel, _prediction=output, _decided=decided
        )


def _is_one_image(values: NDArray[Any]) -> bool:
    """Return True if an array can only be meant as one image: (row, column), or (row, column, 3 or 4)."""
    return values.ndim < RGB or (values.ndim == RGB and values.shape[2] in (RGB, RGBA))


def _key_of_maps(entering: NDArray[np.uint8]) -> str:
    """Return the memo's key for the attention of pixels that are in no file: SHA-256 of shape and values."""
    digest = hashlib.sha256(f"pixels {'x'.join(map(str, entering.shape))} ".encode())
    digest.update(np.ascontiguousarray(entering).data)
    return digest.hexdigest()
