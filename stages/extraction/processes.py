"""Run jobs in processes of this machine, one for each device: `extract --devices 0,1,2`.

Every process loads the transformer once and does one job after the other; two threads take turns, so that one decodes
while the other computes. A process that ends (a crash, or the system took its memory) is replaced. Its jobs are done
again, file by file and alone in a process, so that a second end names the file. A file is tried `ATTEMPTS` times.

The processes are started with `spawn`: a fork of a process that has used CUDA or threads is not safe. They end when
this process ends, however it ends, because their pipe closes. Ctrl-C in a terminal reaches them too and is ignored
there: this process decides.

`stages.extraction.process` is the other side of the pipe.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import queue
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from stages.errors import PipelineError
from stages.extraction.jobs import Done, Job, TransformerSpec
from stages.extraction.process import THREADS, main
from store.spawned import without_interrupt

__all__ = ["ProcessWorkers", "started_processes"]

_LOGGER = logging.getLogger(__name__)

ATTEMPTS = 3
"""Number of times that a file is tried before the processes that it ends are an error."""
WAITING = 1
"""Jobs that wait in a process, beside one for each of its threads."""
SECONDS_TO_END = 5.0
"""Time that a process has to end before it is killed."""
KEPT = "Maps computed so far are in the memo: run the command again."


@dataclass(kw_only=True)
class _Ticket:
    """Hold a job that is not done."""

    number: int
    job: Job
    deaths: int = 0
    """Number of times that a process ended, or ran out of memory, while it did this job."""
    file: str = ""
    """File that was worked on at the last of these times; "" if it is not known."""

    @property
    def files(self) -> str:
        """The files that the fault may lie in, for messages."""
        names = [str(source.image) for source in self.job.sources]
        return self.file or (names[0] if len(names) == 1 else f"{len(names)} files, {names[0]} to {names[-1]}")


@dataclass(kw_only=True, eq=False)
class _Worker:
    """Hold one process, with what it was sent."""

    name: str
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    tickets: dict[int, _Ticket] = field(default_factory=dict)
    """Its jobs by number, in the order in which they were sent."""

    @property
    def alone(self) -> bool:
        """True while it does a job file by file."""
        return any(ticket.deaths for ticket in self.tickets.values())


@contextlib.contextmanager
def started_processes(devices: Sequence[str], transformer: TransformerSpec) -> Iterator[ProcessWorkers]:
    """Start one process for each device. All are ended at the end of the block.

    Args:
        devices: Names as `resolve_device` takes them; a device may be named twice.
        transformer: Loaded by every process, on its own device.
    """
    workers = ProcessWorkers(devices, transformer)
    try:
        workers.start()
        yield workers
    finally:
        workers.end()


class ProcessWorkers:
    """Run jobs in processes: see `stages.extraction.jobs.Workers`. Made by `started_processes`. Not thread-safe."""

    def __init__(self, devices: Sequence[str], transformer: TransformerSpec) -> None:
        self._devices = list(devices)
        self._transformer = transformer
        self._workers: list[_Worker] = []
        self._events: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
        """Messages of all processes, read by one thread for each; None for one that has ended."""

    def start(self) -> None:
        """Start all processes."""
        self._workers = [self._start(position) for position in range(len(self._devices))]

    def end(self) -> None:
        """End all processes, whatever they are doing."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(SECONDS_TO_END)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()

    def results(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """Yield the result of every job, in the order of the jobs.

        A bounded number of jobs is read ahead.

        Raises:
            PipelineError: a process cannot start, or a job fails, or ends its process `ATTEMPTS` times.
        """
        source = enumerate(jobs)
        again: deque[_Ticket] = deque()
        done: dict[int, Done] = {}
        following = 0
        while True:
            self._send_again(again)
            self._send_new(source, following)
            while following in done:
                yield done.pop(following)
                following += 1
                self._send_new(source, following)
            if not again and not any(worker.tickets for worker in self._workers):
                return
            worker, message = self._events.get()
            if message is None:
                again.extend(self._replace(worker))
                continue
            kind, number, content = message
            if kind == "ready":
                worker.ready = True
            elif kind == "at":
                worker.tickets[number].file = content
            elif kind == "done":
                del worker.tickets[number]
                done[number] = content
            elif kind == "out of memory":
                ticket = worker.tickets.pop(number)
                self._blame(ticket, f"{worker.name} ran out of memory ({content})")
                again.append(ticket)
            elif number is None:
                raise PipelineError(f"{worker.name}: {content}")
            else:
                raise PipelineError(f"{worker.name}: {content}\n  This happened with {worker.tickets[number].files}.")

    def _send_new(self, source: Iterator[tuple[int, Job]], following: int) -> None:
        """Give every process jobs to do, but read no further ahead than all of them can hold twice."""
        most = THREADS + WAITING
        for worker in self._workers:
            while len(worker.tickets) < most and not worker.alone:
                number, job = next(source, (None, None))
                if number is None or job is None:
                    return
                self._send(worker, _Ticket(number=number, job=job))
                if number - following >= 2 * most * len(self._workers):
                    return

    def _send_again(self, again: deque[_Ticket]) -> None:
        """Give jobs whose process ended to processes that do nothing else."""
        for worker in self._workers:
            if again and not worker.tickets:
                self._send(worker, again.popleft())

    def _send(self, worker: _Worker, ticket: _Ticket) -> None:
        worker.tickets[ticket.number] = ticket
        with contextlib.suppress(OSError):  # it has ended: the thread that reads its pipe says so
            worker.pipe.send((ticket.number, ticket.job, ticket.deaths > 0))

    def _replace(self, worker: _Worker) -> list[_Ticket]:
        """Start a new process in the place of one that ended, and return the jobs that were not done.

        Raises:
            PipelineError: it ended before it was ready or without a job, or a job has ended too many processes.
        """
        worker.process.join(SECONDS_TO_END)
        worker.pipe.close()
        how = _ending(worker.process.exitcode)
        if not worker.ready or not worker.tickets:
            raise PipelineError(
                f"{worker.name}: {how} before it had a job. Its own messages are above, if it left any. In a script of "
                f'yours, call extract below `if __name__ == "__main__":`. {KEPT}'
            )
        unfinished = list(worker.tickets.values())
        for ticket in unfinished[:THREADS]:  # the others were waiting
            self._blame(ticket, f"{worker.name} {how}")
        position = self._workers.index(worker)
        self._workers[position] = self._start(position)
        return unfinished

    def _blame(self, ticket: _Ticket, what: str) -> None:
        """Count that a process failed at a job, and say so.

        Raises:
            PipelineError: this was the last attempt.
        """
        ticket.deaths += 1
        if ticket.deaths == ATTEMPTS:
            raise PipelineError(
                f"{ticket.files}: {what} while it worked on this, {ATTEMPTS} times. Usually memory ran out: use fewer "
                f"--devices, a smaller --batch-size, or a machine with more memory. If it is one file, remove it. "
                f"{KEPT}"
            )
        _LOGGER.warning("%s while it worked on %s. This is done again.", what, ticket.files)

    def _start(self, position: int) -> _Worker:
        """Start the process of a device, and a thread that reads what it sends."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        same = [at for at, device in enumerate(self._devices) if device == self._devices[position]]
        name = self._devices[position] + (f" (process {same.index(position) + 1})" if len(same) > 1 else "")
        arguments = (theirs, self._transformer, self._devices[position], name, len(self._devices))
        process = context.Process(target=main, args=arguments, name=name, daemon=True)
        with without_interrupt():
            process.start()
        theirs.close()
        worker = _Worker(name=f"the process on {name}", process=process, pipe=ours)
        threading.Thread(target=self._read, args=(worker,), daemon=True).start()
        return worker

    def _read(self, worker: _Worker) -> None:
        """Put all messages of a process into the queue, and None when it has ended."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._events.put((worker, worker.pipe.recv()))
        self._events.put((worker, None))


def _ending(status: int | None) -> str:
    """Return in words how a process ended: its exit status, negative for a signal."""
    if status is None:
        return "closed its pipe"
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name if -status in list(signal.Signals) else f"signal {-status}"
    return f"was ended by {name}" + (" (usually the system, because memory ran out)" if name == "SIGKILL" else "")
