"""Run `extract_shard` on the workers of a cluster. The client keeps the memo and writes the store.

A job is one batch of files. The client hashes the files, looks the digests up in its memo, and sends the paths and the
digests that are cached. A worker decodes the files, computes the other maps with `extract_shard`, and sends the samples
back. The client stores the new maps in the memo and yields the samples in order. So a worker holds no state except the
transformer, and a killed run loses only the jobs in progress.

Workers read images, masks and a weights file under the client's paths, so all machines need one file system. Batches
are padded to the full size, as they are without a cluster. So on CPUs of the same kind and with the same number of
torch threads a store is byte for byte the same as without a cluster. Between different CPUs, or a CPU and a GPU, maps
differ in the last bits.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from stages.attention.extractor import AttentionExtractor
from stages.attention.memo import AttentionMemo
from stages.attention.recipe import Recipe
from stages.errors import InputProblemsError, PipelineError, Problem
from stages.extraction.cluster import Cluster
from stages.extraction.shard import Decoding, Extraction, Shard, extract_shard
from stages.imaging.decoding import key_of_maps
from stages.imaging.dicom.series import SeriesPath
from stages.imaging.fitting import key_on_canvas
from stages.imaging.samples import SourceSample, printable
from stages.runtime.look_ahead import look_ahead
from stages.runtime.progress import Task

__all__ = ["ClusterExtraction", "TransformerSpec", "extract_on_cluster"]

_KEPT_BY_CLIENT = np.empty(0, np.float16)  # stands for maps that are in the client's memo
_LOADING = threading.Lock()


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
    """The files, with absolute paths, because a worker runs in another folder."""
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
    unreadable: Sequence[Path]
    """Files that the worker cannot read or find."""


@dataclass(frozen=True, kw_only=True)
class ClusterExtraction:
    """Hold what all jobs of one extraction share."""

    cluster: Cluster
    decoding: Decoding
    transformer: TransformerSpec
    """Loaded by every worker once."""
    memo: AttentionMemo
    """Stays with the client: asked before a job is sent, and gets the new maps when the job is done."""


def extract_on_cluster(
    parts: Iterable[Sequence[SourceSample]], extraction: ClusterExtraction, task: Task
) -> Iterator[Shard]:
    """Read files and compute their attention on the workers.

    Args:
        parts: The files of each job.
        extraction: The cluster, and how the files are read and computed.
        task: Advanced by one per sample.

    Yields:
        One shard for each part, in order, as `extract_shard` returns it.

    Raises:
        PipelineError: a worker cannot read a file or load the transformer; or an error of `Cluster.results`.
    """
    under_way: deque[tuple[Sequence[SourceSample], dict[str, np.ndarray]]] = deque()

    def jobs() -> Iterator[Job]:
        for part in parts:
            known = extraction.memo.get_many(
                digest for digest in look_ahead(partial(_memo_key, extraction.decoding), part) if digest
            )
            under_way.append((part, known))
            sources = [_absolute(source) for source in part]
            yield Job(
                sources=sources,
                known=frozenset(known),
                decoding=extraction.decoding,
                transformer=extraction.transformer,
            )

    for done in extraction.cluster.results(_extract_job, jobs()):
        part, known = under_way.popleft()
        _check_visible(done)
        keyed = list(zip(done.shard.memo_keys, done.shard.samples, strict=True))
        new = {key: sample.attention for key, sample in keyed if key not in known}
        extraction.memo.put_many(new)
        task.advance(len(part))
        yield Shard(
            samples=[replace(one, attention=known.get(key, one.attention)) for key, one in keyed],
            memo_keys=done.shard.memo_keys,
            keeping_sizes=done.shard.keeping_sizes,
            problems=_as_the_user_wrote(done.shard.problems, part),
            computed=done.shard.computed,
        )


def _extract_job(job: Job) -> Done:
    """Do one job on a worker. Several threads of one process call this at the same time."""
    from distributed import get_worker

    worker = get_worker().address
    try:
        with _LOADING:  # one thread loads, the others wait for it
            extractor = _loaded(job.transformer)
        extraction = Extraction(
            decoding=job.decoding,
            extractor=extractor,
            batch_size=job.transformer.batch_size,
            memo=_RemoteMemo(job.known),
        )
        shard = extract_shard(job.sources, extraction, Task())
    except (PipelineError, OSError) as error:  # so that an OSError at the client always comes from the connection
        raise PipelineError(f"worker {worker}: {error}") from None
    files = [file for source in job.sources for file in _files(source)]
    return Done(shard=shard, worker=worker, unreadable=[file for file in files if not os.access(file, os.R_OK)])


class _OneAtATime:
    """Let one thread at a time use an extractor. Meanwhile other threads decode their next batch."""

    def __init__(self, extractor: AttentionExtractor) -> None:
        self._extractor = extractor
        self._turn = threading.Lock()

    def extract(self, images: np.ndarray) -> np.ndarray:
        with self._turn:
            return self._extractor.extract(images)


@lru_cache(maxsize=1)  # one transformer fills a device; two extractions that share workers reload it in turn
def _loaded(transformer: TransformerSpec) -> _OneAtATime:
    return _OneAtATime(
        AttentionExtractor.from_recipe(
            transformer.recipe,
            weights=transformer.weights,
            device=transformer.device,
            batch_size=transformer.batch_size,
        )
    )


class _RemoteMemo:
    """Worker-side stub of the client's memo. It knows which digests are cached, and holds no maps."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known

    def get_many(self, digests: Iterable[str]) -> dict[str, np.ndarray]:
        return dict.fromkeys(self._known.intersection(digests), _KEPT_BY_CLIENT)

    def put_many(self, maps: Mapping[str, np.ndarray]) -> None:
        """Do nothing: the maps go to the client with their samples."""


def _memo_key(decoding: Decoding, source: SourceSample) -> str | None:
    """Return the key of an image's maps in the memo. Return None if it cannot be read; the worker reports why."""
    try:
        return key_on_canvas(key_of_maps(source.image, source.part, decoding.images.window), decoding.aspect)
    except InputProblemsError:
        return None


def _absolute(source: SourceSample) -> SourceSample:
    masks = tuple(replace(mask, path=mask.path.absolute()) for mask in source.masks)
    return replace(source, image=source.image.absolute(), masks=masks)


def _check_visible(done: Done) -> None:
    """Raise an error if a worker cannot read a file that the client can read.

    Such a file is not a broken input; the cluster lacks a common file system.
    """
    for file in done.unreadable:
        if os.access(file, os.R_OK):
            raise PipelineError(
                f"{printable(file)}: the worker {done.worker} cannot read it, though it can be read here. Workers need "
                "images and masks under the same paths: put them on a file system that all of them mount."
            )


def _as_the_user_wrote(problems: Sequence[Problem], part: Sequence[SourceSample]) -> list[Problem]:
    """Return the problems with the user's own paths in place of the absolute ones that were sent."""
    files = [file for source in part for file in _files(source)]
    given = {printable(file.absolute()): printable(file) for file in files}
    return [replace(problem, where=given.get(problem.where, problem.where)) for problem in problems]


def _files(source: SourceSample) -> list[Path]:
    """Return all files of a sample; those of a DICOM series one by one."""
    image = source.image.files if isinstance(source.image, SeriesPath) else (source.image,)
    return [*image, *(mask.path for mask in source.masks)]
