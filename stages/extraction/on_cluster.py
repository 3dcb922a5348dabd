"""`extract_shard` on the workers of a cluster; the memo and the store stay with the one writer.

A job is one batch of files. The client reads their bytes for the digests, asks its memo, and sends paths and what it
remembers; a worker decodes, computes the rest with `extract_shard`, as the client would, and sends the samples back.
The client puts new maps in the memo and hands on the samples, in order. So a worker keeps nothing but the transformer,
and a killed run loses the jobs under way.

Workers read images, masks and a weights file under the client's own paths: all see one file system. Batches are filled
up to the same size as everywhere, so on CPUs of one kind, with as many threads for torch, a store is the same byte for
byte as without a cluster; between CPUs of different kinds, or a CPU and a GPU, maps differ in the last bits.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from stages.attention.extractor import AttentionExtractor
from stages.attention.memo import AttentionMemo
from stages.attention.recipe import Recipe
from stages.errors import PipelineError, Problem
from stages.extraction.cluster import Cluster
from stages.extraction.shard import Decoding, Extraction, Shard, extract_shard
from stages.imaging.samples import SourceSample, printable
from stages.runtime.look_ahead import look_ahead
from stages.runtime.progress import Task

__all__ = ["ClusterExtraction", "TransformerSpec", "extract_on_cluster"]

_KEPT_BY_CLIENT = np.empty(0, np.float16)  # in place of maps that the client remembers
_LOADING = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class TransformerSpec:
    """What a worker needs to load the transformer that the client means."""

    recipe: Recipe
    weights: Path | None
    """The weights file, absolute; None where the model's name is enough."""
    device: str
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """One batch of files."""

    sources: Sequence[SourceSample]
    """With absolute paths: a worker runs in another folder."""
    known: frozenset[str]
    """Digests whose maps the client has."""
    decoding: Decoding
    transformer: TransformerSpec


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a worker sends back."""

    shard: Shard
    """Its samples have no maps where the client knows them."""
    worker: str
    unreadable: Sequence[Path]
    """Files that the worker cannot read, or does not see."""


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
    """Samples with attention of some files, computed by the workers.

    Args:
        parts: the files, a job's worth at a time.
        extraction: the cluster, and how the files are read and computed.
        task: advanced by one per file.

    Yields:
        As `extract_shard` returns it, one for each part, in order.

    Raises:
        PipelineError: a worker does not see a file or cannot load the transformer; or as `Cluster.results`.
    """
    under_way: deque[tuple[Sequence[SourceSample], dict[str, np.ndarray]]] = deque()

    def jobs() -> Iterator[Job]:
        for part in parts:
            known = extraction.memo.get_many(digest for digest in look_ahead(_digest, part) if digest)
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
        new = {sample.digest: sample.attention for sample in done.shard.samples if sample.digest not in known}
        extraction.memo.put_many(new)
        task.advance(len(part))
        yield Shard(
            samples=[replace(one, attention=known.get(one.digest, one.attention)) for one in done.shard.samples],
            problems=_as_the_user_wrote(done.shard.problems, part),
            computed=done.shard.computed,
        )


def _extract_job(job: Job) -> Done:
    """A worker's part. Runs on several threads of one process at a time."""
    from distributed import get_worker

    worker = get_worker().address
    try:
        with _LOADING:  # and not once per thread
            extractor = _loaded(job.transformer)
        extraction = Extraction(
            decoding=job.decoding,
            extractor=extractor,
            batch_size=job.transformer.batch_size,
            memo=_RemoteMemo(job.known),
        )
        shard = extract_shard(job.sources, extraction, Task())
    except (PipelineError, OSError) as error:  # an OSError that the client sees is then the connection's own
        raise PipelineError(f"worker {worker}: {error}") from None
    files = [file for source in job.sources for file in (source.image, source.mask) if file is not None]
    return Done(shard=shard, worker=worker, unreadable=[file for file in files if not os.access(file, os.R_OK)])


class _OneAtATime:
    """An extractor that threads take turns at: while one computes, another decodes its next batch."""

    def __init__(self, extractor: AttentionExtractor) -> None:
        self._extractor = extractor
        self._turn = threading.Lock()

    def extract(self, images: np.ndarray) -> np.ndarray:
        with self._turn:
            return self._extractor.extract(images)


@lru_cache(maxsize=1)  # one transformer fills a device; two extractions that share workers take turns
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
    """The client's memo as a worker sees it: which digests are in it, and not what."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known

    def get_many(self, digests: Iterable[str]) -> dict[str, np.ndarray]:
        return dict.fromkeys(self._known.intersection(digests), _KEPT_BY_CLIENT)

    def put_many(self, maps: Mapping[str, np.ndarray]) -> None:
        """They go to the client with their samples."""


def _digest(source: SourceSample) -> str | None:
    """SHA-256 of an image file; None where it cannot be read, which the worker will tell in full."""
    try:
        with source.image.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _absolute(source: SourceSample) -> SourceSample:
    return replace(source, image=source.image.absolute(), mask=source.mask.absolute() if source.mask else None)


def _check_visible(done: Done) -> None:
    """A file that the user sees and a worker does not is no broken input: the cluster is set up otherwise."""
    for file in done.unreadable:
        if os.access(file, os.R_OK):
            raise PipelineError(
                f"{printable(file)}: the worker {done.worker} cannot read it, though it can be read here. Workers need "
                "images and masks under the same paths: put them on a file system that all of them mount."
            )


def _as_the_user_wrote(problems: Sequence[Problem], part: Sequence[SourceSample]) -> list[Problem]:
    """Problems by the paths that the user gave, and not by the absolute ones that were sent."""
    files = [file for source in part for file in (source.image, source.mask) if file is not None]
    given = {printable(file.absolute()): printable(file) for file in files}
    return [replace(problem, where=given.get(problem.where, problem.where)) for problem in problems]
