"""Run jobs on the workers of a dask.distributed cluster.

Workers read images, masks and a weights file under the client's paths, so all machines need one file system. Batches
are padded to the full size, as they are without a cluster. So on CPUs of the same kind and with the same number of
torch threads a store is byte for byte the same as without a cluster. Between different CPUs, or a CPU and a GPU, maps
differ in the last bits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from functools import lru_cache

from stages.errors import PipelineError
from stages.extraction.cluster import Cluster
from stages.extraction.jobs import Done, Job, OneAtATime, TransformerSpec, do_job, load_transformer

__all__ = ["ClusterWorkers"]

_LOADING = threading.Lock()


class ClusterWorkers:
    """Run jobs on a cluster: see `stages.extraction.jobs.Workers`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def results(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """Yield the result of every job, in order.

        Raises:
            PipelineError: a worker cannot load the transformer; or an error of `Cluster.results`.
        """
        return self._cluster.results(_do_on_worker, jobs)


def _do_on_worker(job: Job) -> Done:
    """Do one job on a worker. Several threads of one process call this at the same time."""
    from distributed import get_worker

    worker = get_worker().address
    try:
        with _LOADING:  # one thread loads, the others wait for it
            extractor = _loaded(job.transformer)
        return do_job(job, extractor, worker=worker)
    except (PipelineError, OSError) as error:  # so that an OSError at the client always comes from the connection
        raise PipelineError(f"worker {worker}: {error}") from None


@lru_cache(maxsize=1)  # one transformer fills a device; two extractions that share workers reload it in turn
def _loaded(transformer: TransformerSpec) -> OneAtATime:
    return load_transformer(transformer)
