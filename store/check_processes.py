"""Check the shards of a store in several processes of this machine.

Small samples cost more time in Python than their bytes take to read, and threads of one process take turns there. Each
process opens the store and checks one shard after the other; this process hands the shards out and puts the faults in
order. What a process leaves undone, because it was killed or cannot open the store, is done here. So the faults are the
same as with one process.

The processes are started with `spawn`. They end with this one, because their pipes close. Ctrl-C in a terminal reaches
them too and is ignored there: this process ends them.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import cast

import numpy as np
from numpy.typing import NDArray

from store.disk.ahead import begin_to_read
from store.disk.regular import MIB
from store.errors import PipelineError
from store.faults import Fault
from store.format import chunk_path
from store.reader import AttentionStore
from store.remote.address import Place, RemoteAddress
from store.reopening import opened_again
from store.shard_check import faults_of_shard
from store.spawned import without_interrupt

__all__ = ["Part", "processes_for", "shard_checks"]

Part = tuple[int, NDArray[np.int64]]
"""Number of a shard, and the positions in the store of those of its samples that are read."""
LEAST = 256 * MIB
"""Bytes of unpacked values from which several processes are started without being asked for."""
SECONDS_TO_END = 5.0
"""Time that all processes have to end before they are killed: one that ends itself leaves no semaphore behind."""
MOST = 32
"""Largest number of processes that are started without being asked for."""


def processes_for(store: AttentionStore, parts: Sequence[Part], asked: int | None) -> int:
    """Return the number of processes to check a store with.

    Args:
        store: the store.
        parts: its shards.
        asked: number that the user asks for; None for one per processor, or a single one if there is little to read.
    """
    if isinstance(store.path, RemoteAddress):
        return 1
    shards = sum(1 for _, samples in parts if len(samples))
    if asked is not None:
        return min(asked, max(1, shards))
    sample = sum(
        math.prod(array.shape[1:]) * (array.known_dtype or np.dtype(np.uint8)).itemsize
        for array in (store.arrays[name] for name in store.description.sharded)
    )
    if sample * sum(len(samples) for _, samples in parts) < LEAST:
        return 1
    return max(1, min(_processors(), MOST, shards))


@contextlib.contextmanager
def shard_checks(
    store: AttentionStore, parts: Sequence[Part], *, values: bool, processes: int
) -> Iterator[Iterator[list[Fault]]]:
    """Begin to check shards, and return an iterator of the faults of each, in order.

    Args:
        store: the store.
        parts: its shards.
        values: False to compare chunks with their checksums only, without unpacking them.
        processes: number of processes; 1 to check them in this one, when their faults are asked for.
    """
    if processes == 1:
        yield _in_turn(store, parts, values=values)
        return
    context = multiprocessing.get_context("spawn")
    pipes, started = [], []
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            pipes.append(ours)
            arguments = (theirs, store.path, store.description.contents_sha256, values)
            process = context.Process(target=work, args=arguments, daemon=True)
            with without_interrupt():
                process.start()
            started.append(process)
            theirs.close()
        yield _results(store, parts, pipes, values=values)
    finally:
        for pipe in pipes:
            pipe.close()  # each process ends after the shard that it is at
        end = time.monotonic() + SECONDS_TO_END
        for process in started:
            process.join(max(0.0, end - time.monotonic()))
            process.kill()
            process.join()


def work(pipe: Connection, path: Place, contents_sha256: str, values: bool) -> None:  # noqa: FBT001 - sent to a process
    """Check the shards that come through a pipe, and send the faults of each, in another process.

    Args:
        pipe: from the process that hands the shards out.
        path: of the store.
        contents_sha256: digest of the store that is checked.
        values: as in `shard_checks`.
    """
    # What fails here is done again by the other process, which reports it.
    with contextlib.suppress(EOFError, OSError, MemoryError, PipelineError):
        store = opened_again(path, contents_sha256)
        while True:
            shard, samples = pipe.recv()
            pipe.send(faults_of_shard(store, shard, samples, values=values))


def _in_turn(store: AttentionStore, parts: Sequence[Part], *, values: bool) -> Iterator[list[Fault]]:
    """Yield the faults of every part, checked in this process."""
    for number, part in enumerate(parts):
        _begin_to_read(store, parts, number + 1)
        yield faults_of_shard(store, *part, values=values)


def _begin_to_read(store: AttentionStore, parts: Sequence[Part], number: int) -> None:
    """Begin to read the files of a part that is checked later: the disk works while the processors do."""
    if isinstance(store.path, RemoteAddress) or number >= len(parts) or not len(parts[number][1]):
        return
    arrays = store.description.sharded
    begin_to_read(chunk_path(store.path, name, parts[number][0], len(store.arrays[name].shape)) for name in arrays)


def _results(
    store: AttentionStore, parts: Sequence[Part], pipes: Sequence[Connection], *, values: bool
) -> Iterator[list[Fault]]:
    """Yield the faults of every part, in order."""
    waiting = deque(range(len(parts)))
    busy: dict[Connection, int] = {}
    done: dict[int, list[Fault]] = {}

    def hand_out(pipe: Connection) -> None:
        if waiting:
            busy[pipe] = waiting.popleft()
            with contextlib.suppress(OSError):  # its process has ended, which receiving shows
                pipe.send(parts[busy[pipe]])
            _begin_to_read(store, parts, busy[pipe] + len(pipes))

    for pipe in pipes:
        hand_out(pipe)
    for number, part in enumerate(parts):
        while number not in done and number in busy.values():
            for pipe in cast("list[Connection]", wait(list(busy))):
                at = busy.pop(pipe)
                try:
                    done[at] = pipe.recv()
                except (EOFError, OSError):
                    waiting.appendleft(at)
                else:
                    hand_out(pipe)
        if number not in done:  # no process has it
            waiting.remove(number)
            done[number] = faults_of_shard(store, *part, values=values)
        yield done.pop(number)


def _processors() -> int:
    """Return the number of processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
