"""Define a job of `extract` for another process: one batch of files, and what comes back.

A job is pickled and sent to a worker: a process of this machine (`stages.extraction.processes`) or of a cluster
(`stages.extraction.on_cluster`). The worker decodes the files, computes the maps that the client's memo lacks, and
sends the samples back. A worker holds no state except the transformer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from stages.attention.extractor import AttentionExtractor
from stages.attention.recipe import Recipe
from stages.extraction.shard import Decoding, Extraction, Extractor, Shard, extract_shard
from stages.imaging.dicom.series import SeriesPath
from stages.imaging.samples import SourceSample
from stages.runtime.progress import Task

__all__ = ["Done", "Job", "OneAtATime", "TransformerSpec", "Workers", "do_job", "files_of", "load_transformer"]

_KEPT_BY_CLIENT = np.empty(0, np.float16)  # stands for maps that are in the client's memo


@dataclass(frozen=True, kw_only=True)
class TransformerSpec:
    """Hold what a worker needs to load the client's transformer."""

    recipe: Recipe
    weights: Path | None
    """Absolute path of the weights file; None if the model's name is enough."""
    device: str
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """Hold one batch of files and how to compute it."""

    sources: Sequence[SourceSample]
    """The files, with absolute paths, because a worker may run in another folder."""
    known: frozenset[str]
    """Digests whose maps are in the client's memo."""
    decoding: Decoding
    transformer: TransformerSpec


@dataclass(frozen=True, kw_only=True)
class Done:
    """Hold the result of a job."""

    shard: Shard
    """Its samples have empty maps where the client's memo has the maps."""
    worker: str
    unreadable: Sequence[Path] = field(default_factory=tuple)
    """Files that the worker cannot read or find."""


class Workers(Protocol):
    """Interface of everything that runs jobs: processes of this machine, or a cluster."""

    def results(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """Yield the result of every job, in the order of the jobs. Jobs are read only as far as they are sent."""


def load_transformer(transformer: TransformerSpec) -> OneAtATime:
    """Load a job's transformer.

    Raises:
        WeightsError, UsageError: as `AttentionExtractor.from_recipe`.
    """
    return OneAtATime(
        AttentionExtractor.from_recipe(
            transformer.recipe,
            weights=transformer.weights,
            device=transformer.device,
            batch_size=transformer.batch_size,
        )
    )


class OneAtATime:
    """Let one thread at a time use an extractor. Meanwhile other threads decode their next batch."""

    def __init__(self, extractor: AttentionExtractor) -> None:
        self._extractor = extractor
        self._turn = threading.Lock()

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Compute maps as `AttentionExtractor.extract`, when no other thread does."""
        with self._turn:
            return self._extractor.extract(images)


def do_job(
    job: Job, extractor: Extractor, *, worker: str, processes: int = 1, begin: Callable[[str], None] | None = None
) -> Done:
    """Do one job. Several threads of a process may call this at the same time.

    Args:
        job: The files.
        extractor: Its transformer, loaded.
        worker: Name of the worker, for messages.
        processes: Number of processes that share this machine's memory and processors.
        begin: Called with the name of each file before its work begins. The files are then done one by one.
    """
    extraction = Extraction(
        decoding=job.decoding,
        extractor=extractor,
        batch_size=job.transformer.batch_size,
        memo=_RemoteMemo(job.known),
        processes=processes,
    )
    if begin is None:
        shard = extract_shard(job.sources, extraction, Task())
    else:
        shard = Shard()
        for source in job.sources:
            begin(str(source.image))
            shard.add(extract_shard([source], extraction, Task()))
    files = [file for source in job.sources for file in files_of(source)]
    return Done(shard=shard, worker=worker, unreadable=[file for file in files if not os.access(file, os.R_OK)])


def files_of(source: SourceSample) -> list[Path]:
    """Return all files of a sample; those of a DICOM series one by one."""
    image = source.image.files if isinstance(source.image, SeriesPath) else (source.image,)
    return [*image, *(mask.path for mask in source.masks)]


class _RemoteMemo:
    """Worker-side stub of the client's memo. It knows which digests are cached, and holds no maps."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known

    def get_many(self, digests: Iterable[str]) -> dict[str, np.ndarray]:
        return dict.fromkeys(self._known.intersection(digests), _KEPT_BY_CLIENT)

    def put_many(self, maps: Mapping[str, np.ndarray]) -> None:
        """Do nothing: the maps go to the client with their samples."""
