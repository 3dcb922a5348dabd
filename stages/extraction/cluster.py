"""A cluster that somebody else runs: who may be spoken to, and how work is handed over.

`--cluster` names the scheduler of a dask.distributed cluster, which its user starts with dask's own commands. Nothing
here listens on any port or starts a scheduler or a worker.

In such a cluster functions and results travel as pickles: whoever reaches the scheduler can run code on the scheduler,
on every worker, and on every client. So an address has to be of this machine (`tcp://127.0.0.1:8786`), be protected by
certificates on both sides (`tls://scheduler:8786`), or the user has to say that the network is closed. Certificates
are those of dask's configuration, `distributed.comm.tls`; they are checked against its certificate authority, by which
both sides are known, not against the host's name.

What the work is, is not known here (see `stages.extraction.on_cluster`).
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import urlsplit

from stages.errors import PipelineError, UsageError

__all__ = ["Cluster", "connect", "require_cluster"]

Job = TypeVar("Job")
Result = TypeVar("Result")

PATIENCE = 60.0
"""Seconds to wait for a first worker, and for another one when all are gone."""
IN_FLIGHT = 2
"""Jobs handed over per thread of the workers: one is worked on, one waits beside it."""
RETRIES = 2
"""How often a job that failed on one worker is given to another."""
WAYS = "Write tcp://HOST:PORT or tls://HOST:PORT, as `dask scheduler` tells when it starts."


def require_cluster(address: str, *, insecure: bool) -> None:
    """Make sure that a cluster may be spoken to and that we know how to; nothing is connected yet.

    Args:
        address: `tcp://host:port` or `tls://host:port`.
        insecure: the user vouches for the network between us and a `tcp://` scheduler.

    Raises:
        UsageError: another kind of address, one that is neither encrypted nor of this machine, `tls://` without
            certificates, or dask.distributed is not installed.
    """
    try:
        parts = urlsplit(address)
        sound = parts.scheme in {"tcp", "tls"} and parts.hostname and parts.port and address.endswith(f":{parts.port}")
    except ValueError:  # a port that is no number, brackets that do not close
        sound = False
    if not sound:
        raise UsageError(f"--cluster {address}: is not the address of a scheduler. {WAYS}")
    if parts.scheme == "tcp" and not insecure and not _is_loopback(str(parts.hostname)):
        raise UsageError(
            f"--cluster {address}: is neither encrypted nor on this machine: anyone on the network who reaches that "
            "scheduler can run code on it, on its workers and here. Use tls:// (SECURITY.md says how), or add "
            "--cluster-insecure if nobody else is on that network."
        )
    try:
        import distributed  # noqa: F401 - to know now, not after the weights were fetched
    except ImportError:
        raise UsageError(
            f"--cluster {address}: dask.distributed is not installed. "
            'Install it: pip install "diamant-pipeline[cluster]"'
        ) from None
    _security(address)


@contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """A cluster with at least one worker. What is still running there on leaving is called off.

    Args:
        address: as `require_cluster` allowed it.

    Raises:
        PipelineError: the scheduler cannot be reached, or no worker joins it in a minute.
    """
    from distributed import Client

    try:
        client = Client(address, security=_security(address), set_as_default=False)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: dask's configuration forbids plain tcp
        raise PipelineError(
            f"{address}: cannot reach the scheduler ({error}). Check that it runs and that this machine may connect."
        ) from error
    try:
        cluster = Cluster(client, address)
        cluster.require_workers()
        yield cluster
    finally:
        client.close()


class Cluster:
    """A connection to a scheduler. Made by `connect`; for one thread."""

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._address = address

    def results(self, work: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """`work` on every job on the workers, results in order, a bounded number of jobs ahead.

        A job whose worker died is done again by another. The bound follows the number of workers.

        Args:
            work: a function of an installed module; the workers import it by its name.
            jobs: taken as the cluster has room for them.

        Raises:
            PipelineError: the scheduler is lost, all workers are, or a job brought down several.
        """
        source = iter(jobs)
        running: deque[Any] = deque()
        while True:
            for job in islice(source, self._room(len(running))):
                with self._explain_failures():
                    running.append(self._client.submit(work, job, pure=False, retries=RETRIES))
            if not running:
                return
            yield self._result(running.popleft())

    def require_workers(self) -> None:
        """Wait for a worker.

        Raises:
            PipelineError: none came.
        """
        with self._explain_failures():
            try:
                self._client.wait_for_workers(1, timeout=PATIENCE)
            except TimeoutError:
                raise PipelineError(
                    f"{self._address}: the scheduler has no worker since {PATIENCE:.0f} seconds. "
                    f"Start some: dask worker {self._address}"
                ) from None

    def _room(self, running: int) -> int:
        """How many more jobs to hand over; at least one when none is running, so that the work never stands."""
        with self._explain_failures():
            threads: int = sum(self._client.nthreads().values())
        return max(IN_FLIGHT * threads - running, 0 if running else 1)

    def _result(self, future: Any) -> Any:
        while True:
            with self._explain_failures():
                try:
                    return future.result(timeout=PATIENCE)
                except TimeoutError:
                    if future.status == "error":  # it is the job's own
                        raise
            self.require_workers()  # a job may well take longer, but not if there is nobody to do it

    @contextmanager
    def _explain_failures(self) -> Iterator[None]:
        """A cluster's failures, told so that a user can mend them."""
        from distributed import KilledWorker

        kept = "What is computed so far is remembered: run the command again."
        try:
            yield
        except PipelineError:
            raise
        except KilledWorker as error:
            raise PipelineError(
                f"{self._address}: several workers died of the same images ({error}). Their logs say why; most often "
                f"it is memory: use a smaller --batch-size, or workers with more. {kept}"
            ) from error
        except (ImportError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "deserialization" not in str(error):
                raise
            raise PipelineError(
                f"{self._address}: the cluster cannot import what it was sent ({str(error).strip()}). Install the same "
                "version of diamant-pipeline, with the same libraries, on the scheduler and on every worker."
            ) from error
        except (OSError, CancelledError) as error:
            raise PipelineError(f"{self._address}: lost the scheduler ({error}). {kept}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _security(address: str) -> Any:
    """Certificates for a `tls://` address, from dask's configuration; None for `tcp://`."""
    if not address.startswith("tls://"):
        return None
    from distributed import Security

    security = Security(require_encryption=True)
    try:
        context = security.get_connection_args("client")["ssl_context"]
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"--cluster {address}: the certificates of dask's configuration: {error}") from error
    if context is None:
        raise UsageError(
            f"--cluster {address}: dask's configuration names no certificates. Set distributed.comm.tls.ca-file, "
            "distributed.comm.tls.client.cert and distributed.comm.tls.client.key in ~/.config/dask/distributed.yaml, "
            "or DASK_DISTRIBUTED__COMM__TLS__CA_FILE and so on in the environment."
        )
    return security
