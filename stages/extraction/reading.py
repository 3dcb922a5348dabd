"""Read images for a prediction, and get their attention: here, by processes of several devices, or not at all.

| run                             | images are read     | maps come from                                              |
|---------------------------------|---------------------|-------------------------------------------------------------|
| takes attention                 | in this process     | the memo, or the transformer in this process                |
| takes attention, `--devices`    | by one process each | the memo of this process, or the transformers of the others |
| takes none (`--branches image`) | in this process     | nowhere: the network gets zeros and does not read them      |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from stages.attention.extractor import AttentionExtractor
from stages.attention.memo import AttentionMemo
from stages.attention.recipe import Recipe
from stages.errors import InputProblemsError
from stages.extraction.by_workers import WorkersExtraction, extract_by_workers
from stages.extraction.jobs import TransformerSpec
from stages.extraction.processes import started_processes
from stages.extraction.requests import require_devices
from stages.extraction.shard import REMEDY, Decoding, Extraction, Shard, extract_shard
from stages.imaging.samples import SourceSample
from stages.runtime.devices import resolve_devices
from stages.runtime.progress import Task
from stages.settings import PredictSettings
from store import Sample

__all__ = ["NoTransformer", "Reader", "Transformer", "network_device", "tiles_of"]

IMAGES_AT_A_TIME = 64
"""Images that are in memory together, at the network's size."""


class Reader(Protocol):
    """Interface of everything that reads images."""

    @property
    def at_a_time(self) -> int:
        """Return the number of images in a part."""

    def shards(self, parts: Iterable[Sequence[SourceSample]], task: Task) -> Iterator[Shard]:
        """Yield one shard for each part, in order; the task is advanced by one for each image."""


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """Hold the transformer of a run, checked, and where it computes. Made before any output is."""

    settings: PredictSettings
    recipe: Recipe
    weights: Path | None
    extractor: AttentionExtractor
    """On the device of this process; with `--devices` it is not used after its weights were checked."""

    @classmethod
    def load(cls, settings: PredictSettings, recipe: Recipe, weights: Path | None) -> Transformer:
        """Load the transformer.

        Args:
            settings: of the prediction.
            recipe: of the run.
            weights: file to load; None for the model's own file or the hub's.

        Raises:
            WeightsError: its weights cannot be loaded, or are not those of the run's recipe.
        """
        device = settings.device if settings.devices is None else "cpu"
        extractor = AttentionExtractor.from_recipe(
            recipe, weights=weights, device=device, batch_size=settings.batch_size
        )
        return cls(settings=settings, recipe=recipe, weights=weights, extractor=extractor)

    @contextmanager
    def reader(self, decoding: Decoding) -> Iterator[Reader]:
        """Open the memo, start the processes of `--devices`, and give what reads images.

        Raises:
            PipelineError: the memo cannot be used, or a process cannot start.
        """
        settings, recipe = self.settings, self.recipe
        with AttentionMemo(settings.memo, recipe) as memo:
            if settings.devices is None:
                yield _Here(
                    Extraction(decoding=decoding, extractor=self.extractor, batch_size=settings.batch_size, memo=memo),
                    IMAGES_AT_A_TIME,
                )
                return
            transformer = TransformerSpec(
                recipe=recipe,
                weights=self.weights and self.weights.absolute(),
                device=settings.device,
                batch_size=settings.batch_size,
            )
            with started_processes(resolve_devices(settings.devices), transformer) as workers:
                yield _ByWorkers(
                    WorkersExtraction(workers=workers, decoding=decoding, transformer=transformer, memo=memo),
                    settings.batch_size,
                )


@dataclass(frozen=True)
class NoTransformer:
    """Stand for the transformer of a run whose network takes no attention. Nothing is loaded, and no memo is opened."""

    recipe: Recipe

    @contextmanager
    def reader(self, decoding: Decoding) -> Iterator[Reader]:
        """Give what reads images."""
        nothing = _NoAttention((len(self.recipe.heads), *self.recipe.grid))
        yield _Here(
            Extraction(decoding=decoding, extractor=nothing, batch_size=IMAGES_AT_A_TIME, memo=nothing),
            IMAGES_AT_A_TIME,
        )


def network_device(settings: PredictSettings) -> str:
    """Return the name of the device for the network: with `--devices` the first of them.

    Raises:
        UsageError: `--devices` names none, or is combined with `--device`.
    """
    require_devices(settings.devices, settings.device)
    return settings.device if settings.devices is None else resolve_devices(settings.devices)[0]


def tiles_of(reader: Reader, tiles: Sequence[SourceSample], task: Task) -> list[Sample]:
    """Return the samples of tiles, in their order.

    Raises:
        InputProblemsError: a tile cannot be read.
    """
    parts = [tiles[at : at + reader.at_a_time] for at in range(0, len(tiles), reader.at_a_time)]
    shards = list(reader.shards(parts, task))
    problems = [problem for shard in shards for problem in shard.problems]
    if problems:
        raise InputProblemsError(problems[:1], REMEDY)
    return [sample for shard in shards for sample in shard.samples]


@dataclass(frozen=True)
class _Here:
    """Read images and compute maps in this process."""

    extraction: Extraction
    at_a_time: int

    def shards(self, parts: Iterable[Sequence[SourceSample]], task: Task) -> Iterator[Shard]:
        return (extract_shard(part, self.extraction, task) for part in parts)


@dataclass(frozen=True)
class _ByWorkers:
    """Have other processes read images and compute maps, one batch in each job."""

    extraction: WorkersExtraction
    at_a_time: int

    def shards(self, parts: Iterable[Sequence[SourceSample]], task: Task) -> Iterator[Shard]:
        return extract_by_workers(parts, self.extraction, task)


@dataclass(frozen=True)
class _NoAttention:
    """Give zeros in the place of maps. It stands for an extractor and for a memo."""

    shape: tuple[int, ...]

    def extract(self, images: np.ndarray) -> np.ndarray:
        return np.zeros((len(images), *self.shape), np.float16)

    def get_many(self, digests: Iterable[str]) -> dict[str, np.ndarray]:
        return dict.fromkeys(digests, np.zeros(self.shape, np.float16))

    def put_many(self, maps: Mapping[str, np.ndarray]) -> None:
        """Do nothing: there are no maps to keep."""
