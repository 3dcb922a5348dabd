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

import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.extraction.jobs import OneAtATime, TransformerSpec

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

    def send(*message: Any) -> None:
        with sending:
            pipe.send(message)

    try:
        extractor = load_transformer(replace(transformer, device=device))
    except (PipelineError, OSError, RuntimeError, MemoryError) as error:
        send("failed", None, f"{error}")
        return
    send("ready", None, None)
    receiving = threading.Lock()
    arguments = (pipe, receiving, send, extractor, name, processes)
    threads = [threading.Thread(target=_do_jobs, args=arguments, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _do_jobs(
    pipe: Connection, receiving: threading.Lock, send: Any, extractor: OneAtATime, name: str, processes: int
) -> None:
    """Take jobs and do them until the pipe is closed."""
    from stages.errors import PipelineError
    from stages.extraction.jobs import do_job
    from stages.runtime.out_of_memory import is_out_of_memory

    try:
        while True:
            with receiving:
                number, job, one_by_one = pipe.recv()
            begin = (lambda file, number=number: send("at", number, file)) if one_by_one else None
            try:
                done = do_job(job, extractor, worker=name, processes=processes, begin=begin)
            except Exception as error:  # noqa: BLE001 - the client raises it
                kind = "out of memory" if is_out_of_memory(error) else "failed"
                known = isinstance(error, PipelineError)
                send(kind, number, str(error) if known else f"{type(error).__name__}: {error}")
                continue
            send("done", number, done)
    except (EOFError, OSError):  # the client has ended
        sys.exit()
