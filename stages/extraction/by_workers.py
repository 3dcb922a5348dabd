"""Extract with workers: other processes of this machine or of a cluster. This process keeps the memo and the store.

The files are divided into jobs of one batch. This process hashes the files of a job, looks the digests up in its memo,
and sends the paths and the digests that are cached. A worker computes the other maps and sends the samples back. The
new maps go into the memo, and the samples are yielded in order. So a killed run loses only the jobs in progress.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from stages.attention.memo import AttentionMemo
from stages.errors import InputProblemsError, PipelineError, Problem
from stages.extraction.jobs import Done, Job, TransformerSpec, Workers, files_of
from stages.extraction.shard import Decoding, Shard
from stages.imaging.decoding import key_of_maps
from stages.imaging.fitting import key_on_canvas
from stages.imaging.samples import SourceSample, printable
from stages.runtime.look_ahead import look_ahead
from stages.runtime.progress import Task

__all__ = ["WorkersExtraction", "extract_by_workers"]


@dataclass(frozen=True, kw_only=True)
class WorkersExtraction:
    """Hold what all jobs of one extraction share."""

    workers: Workers
    decoding: Decoding
    transformer: TransformerSpec
    """Loaded by every worker once."""
    memo: AttentionMemo
    """Stays in this process: asked before a job is sent, and gets the new maps when the job is done."""


def extract_by_workers(
    parts: Iterable[Sequence[SourceSample]], extraction: WorkersExtraction, task: Task
) -> Iterator[Shard]:
    """Read files and compute their attention on the workers.

    Args:
        parts: The files of each job.
        extraction: The workers, and how the files are read and computed.
        task: Advanced by one per sample.

    Yields:
        One shard for each part, in order, as `extract_shard` returns it.

    Raises:
        PipelineError: a worker cannot read a file or load the transformer; or an error of `Workers.results`.
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

    for done in extraction.workers.results(jobs()):
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
    """Raise an error if a worker cannot read a file that this process can read.

    Such a file is not a broken input; the workers lack a common file system.
    """
    for file in done.unreadable:
        if os.access(file, os.R_OK):
            raise PipelineError(
                f"{printable(file)}: the worker {done.worker} cannot read it, though it can be read here. Workers need "
                "images and masks under the same paths: put them on a file system that all of them mount."
            )


def _as_the_user_wrote(problems: Sequence[Problem], part: Sequence[SourceSample]) -> list[Problem]:
    """Return the problems with the user's own paths in place of the absolute ones that were sent."""
    files = [file for source in part for file in files_of(source)]
    given = {printable(file.absolute()): printable(file) for file in files}
    return [replace(problem, where=given.get(problem.where, problem.where)) for problem in problems]
