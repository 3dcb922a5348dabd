"""Connect to a dask.distributed cluster and run jobs on its workers.

`--cluster` names the scheduler of a cluster that the user starts with dask's own commands. This module opens no port
and starts neither a scheduler nor a worker.

In such a cluster functions and results are sent as pickles: anyone who can connect to the scheduler can run code on the
scheduler, on every worker and on every client. So only three kinds of address are accepted: of this machine
(`tcp://127.0.0.1:8786`), with certificates on both sides (`tls://scheduler:8786`), or a plain one after the user has
confirmed that nobody else is on the network. The certificates are those of dask's configuration,
`distributed.comm.tls`. Both sides check them against its certificate authority, not against the host's name.

The jobs are defined in `stages.extraction.jobs`; `stages.extraction.on_cluster` runs them here.
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
from stages.extraction.opaque import call_as_bytes, run_call

__all__ = ["Cluster", "connect", "require_cluster"]

Job = TypeVar("Job")
Result = TypeVar("Result")

PATIENCE = 60.0
"""Seconds to wait for the first worker, and for a new one after all workers are lost."""
IN_FLIGHT = 2
"""Jobs sent per thread of the workers: one runs and one waits."""
RETRIES = 2
"""Number of times a job that failed on one worker is sent to another."""
WAYS = "Write tcp://HOST:PORT or tls://HOST:PORT, as `dask scheduler` prints it at its start."


def require_cluster(address: str, *, insecure: bool) -> None:
    """Check that the address of a scheduler is valid, safe and usable. Nothing is connected yet.

    Args:
        address: `tcp://host:port` or `tls://host:port`.
        insecure: The user has confirmed that the network to a `tcp://` scheduler is closed to others.

    Raises:
        UsageError: the address is not valid, or is neither encrypted nor on this machine; certificates for `tls://`
            are missing; or dask.distributed is not installed.
    """
    try:
        parts = urlsplit(address)
        sound = parts.scheme in {"tcp", "tls"} and parts.hostname and parts.port and address.endswith(f":{parts.port}")
    except ValueError:  # the port is not a number, or a bracket is not closed
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
        import distributed  # noqa: F401 - a missing package is an error before the weights are fetched
    except ImportError:
        raise UsageError(
            f"--cluster {address}: dask.distributed is not installed. "
            'Install it: pip install "diamant-pipeline[cluster]"'
        ) from None
    _security(address)


@contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """Connect to a cluster with at least one worker. Jobs that still run at the end are cancelled.

    Args:
        address: An address that `require_cluster` accepted.

    Raises:
        PipelineError: the scheduler cannot be reached, or has no worker within `PATIENCE` seconds.
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
    """Run jobs through a connection to a scheduler. Made by `connect`. Not thread-safe."""

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._address = address

    def results(self, work: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """Yield `work(job)` for every job, computed by the workers, in the order of the jobs.

        A bounded number of jobs is sent ahead; the bound follows the number of workers. A job whose worker died is sent
        to another worker. The scheduler sees the bytes of a job and does not import its modules.

        Args:
            work: A function of an installed module. The workers import it by its name.
            jobs: Read only as far as jobs are sent.

        Raises:
            PipelineError: the scheduler or all workers are lost, or several workers died while they ran the same job.
        """
        source = iter(jobs)
        running: deque[Any] = deque()
        while True:
            for job in islice(source, self._room(len(running))):
                call = call_as_bytes(work, job)
                with self._explain_failures():
                    running.append(self._client.submit(run_call, call, pure=False, retries=RETRIES))
            if not running:
                return
            yield self._result(running.popleft())

    def require_workers(self) -> None:
        """Wait for a worker.

        Raises:
            PipelineError: there is none after `PATIENCE` seconds.
        """
        with self._explain_failures():
            try:
                self._client.wait_for_workers(1, timeout=PATIENCE)
            except TimeoutError:
                raise PipelineError(
                    f"{self._address}: the scheduler has had no worker for {PATIENCE:.0f} seconds. "
                    f"Start one: dask worker {self._address}"
                ) from None

    def _room(self, running: int) -> int:
        """Return the number of jobs to send now: at least one if none is running, so that the work goes on."""
        with self._explain_failures():
            threads: int = sum(self._client.nthreads().values())
        return max(IN_FLIGHT * threads - running, 0 if running else 1)

    def _result(self, future: Any) -> Any:
        while True:
            with self._explain_failures():
                try:
                    return future.result(timeout=PATIENCE)
                except TimeoutError:
                    if future.status == "error":  # the job itself raised it
                        raise
            self.require_workers()  # a job may take longer than this, but not without a worker

    @contextmanager
    def _explain_failures(self) -> Iterator[None]:
        """Turn a cluster's failures into errors that say what to do."""
        from distributed import KilledWorker

        kept = "Maps computed so far are in the memo: run the command again."
        try:
            yield
        except PipelineError:
            raise
        except KilledWorker as error:
            raise PipelineError(
                f"{self._address}: several workers died while they computed the same images ({error}). Their logs say "
                "why. Usually a worker ran out of memory: use a smaller --batch-size, or workers with more memory. "
                f"{kept}"
            ) from error
        except (ImportError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "deserialization" not in str(error):
                raise
            raise PipelineError(
                f"{self._address}: the cluster cannot import the job ({str(error).strip()}). Install the same "
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
    """Return the certificates of dask's configuration for a `tls://` address; None for `tcp://`."""
    if not address.startswith("tls://"):
        return None
    from distributed import Security

    security = Security(require_encryption=True)
    try:
        context = security.get_connection_args("client")["ssl_context"]
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"--cluster {address}: dask's certificates cannot be loaded: {error}") from error
    if context is None:
        raise UsageError(
            f"--cluster {address}: dask's configuration names no certificates. Set distributed.comm.tls.ca-file, "
            "distributed.comm.tls.client.cert and distributed.comm.tls.client.key in ~/.config/dask/distributed.yaml, "
            "or DASK_DISTRIBUTED__COMM__TLS__CA_FILE and so on in the environment."
        )
    return security
