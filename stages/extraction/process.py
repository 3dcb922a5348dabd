"""Do jobs in a process of its own: the other side of `stages.extraction.processes`.

Messages to the client are (kind, number of the job, content):

    ready          the transformer is loaded
    at             the name of a file whose work begins, in a job that is done file by file
    done           the result
    out of memory  the message of the error; the process goes on
    failed         the message of another error; the number is None if the transformer cannot be loaded

Torch is imported inside `main`, so that the process is deaf to Ctrl-C before that takes time.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.extraction.jobs import Job, OneAtATime, TransformerSpec

__all__ = ["THREADS", "main"]

THREADS = 2
"""Threads that do jobs: one decodes while the other computes."""


def main(pipe: Connection, transformer: TransformerSpec, device: str, name: str, processes: int) -> None:
    """Load the transformer, and do jobs until the pipe is closed.

    Args:
        pipe: Gives (number, job, whether to do it file by file), and takes messages.
        transformer: To load.
        device: To load it on.
        name: Of the device, for messages.
        processes: Number of processes on this machine.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from dataclasses import replace

    import torch

    from stages.errors import PipelineError
    from stages.extraction.jobs import load_transformer

    if processes > 1:  # they share the processors
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    sending = threading.Lock()

    def send(kind: str, number: int | None, content: Any) -> None:
        with sending, contextlib.suppress(OSError):  # the client has ended: the main thread notices
            pipe.send((kind, number, content))

    try:
        extractor = load_transformer(replace(transformer, device=device))
    except (PipelineError, OSError, RuntimeError, MemoryError) as error:
        send("failed", None, f"{error}")
        return
    send("ready", None, None)
    todo: queue.SimpleQueue[tuple[int, Job, bool]] = queue.SimpleQueue()
    for _ in range(THREADS):
        threading.Thread(target=_do_jobs, args=(todo, send, extractor, name, processes), daemon=True).start()
    try:
        while True:
            todo.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)  # the client has ended, however: nothing here is of use, and nothing has to be cleaned up


def _do_jobs(
    todo: queue.SimpleQueue[tuple[int, Job, bool]],
    send: Callable[[str, int, Any], None],
    extractor: OneAtATime,
    name: str,
    processes: int,
) -> None:
    """Do jobs for ever."""
    from stages.errors import PipelineError
    from stages.extraction.jobs import do_job
    from stages.runtime.out_of_memory import is_out_of_memory

    while True:
        number, job, one_by_one = todo.get()
        begin = partial(send, "at", number) if one_by_one else None
        try:
            done = do_job(job, extractor, worker=name, processes=processes, begin=begin)
        except Exception as error:  # noqa: BLE001 - the client raises it
            kind = "out of memory" if is_out_of_memory(error) else "failed"
            known = isinstance(error, PipelineError)
            send(kind, number, str(error) if known else f"{type(error).__name__}: {error}")
            continue
        send("done", number, done)
