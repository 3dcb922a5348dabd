"""Run the process that does all network traffic for one process that reads stores.

It reads requests from standard input and writes answers to standard output (`store.remote.frames`), in the order in
which they are done. It ends when standard input ends, which also happens when the other process is killed.

A process of its own has three reasons. The network library has threads that do not survive `fork`, and data loaders
fork. A reader does not import the library. And checking and training do not compete with downloads for Python's lock.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Mapping
from typing import Any, BinaryIO

from store.remote.clients import Patience
from store.remote.failures import FetchError
from store.remote.frames import read_frame, write_frame
from store.remote.tasks import Tasks

__all__ = ["serve"]

THREADS = {"keep": 32, "advance": 8, "read": 64}
"""Requests that are carried out at the same time: files that somebody waits for, files in advance, and parts of files.

Parts are small, so their time is the delay of the server: with 100 ms, 64 took two thirds of the time of 32.
"""

_END = float("inf")


def serve(requests: BinaryIO, answers: BinaryIO, tasks: Tasks) -> None:
    """Carry out requests until there are no more.

    Args:
        requests: messages with the keys of `Tasks.carry_out`, `id`, and `order`: None if somebody waits for it, else
            those with lower numbers are done first.
        answers: gets a message with `id` and `size` for each, or with `id`, `kind` and `what` of its failure.
        tasks: carries them out.
    """
    lock, serial = threading.Lock(), 0
    queues: dict[str, queue.PriorityQueue[tuple[float, int, dict[str, Any]]]] = {
        kind: queue.PriorityQueue() for kind in THREADS
    }

    def answer(message: Mapping[str, Any], content: bytearray) -> None:
        with lock:
            write_frame(answers, message, content)

    def work(waiting: queue.PriorityQueue[tuple[float, int, dict[str, Any]]]) -> None:
        while (entry := waiting.get())[0] != _END:
            try:
                answer(*_done(tasks, entry[2]))
            except (OSError, ValueError):  # nobody reads the answers any more
                return

    threads = [
        threading.Thread(target=work, args=(queues[kind],), daemon=True)
        for kind, count in THREADS.items()
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    while (frame := read_frame(requests)) is not None:
        serial += 1
        order = frame[0].pop("order")
        kind = "advance" if order is not None else "keep" if frame[0].get("op") == "keep" else "read"
        queues[kind].put((order or 0, serial, frame[0]))
    for kind, count in THREADS.items():
        for number in range(count):
            queues[kind].put((_END, number, {}))


def _done(tasks: Tasks, request: dict[str, Any]) -> tuple[dict[str, Any], bytearray]:
    """Carry out a request and return the answer."""
    number = request["id"]
    try:
        size, content = tasks.carry_out(request)
    except FetchError as failure:
        return {"id": number, "kind": failure.kind, "what": failure.what}, bytearray()
    except Exception as error:  # noqa: BLE001 - without an answer the reader would wait forever
        return {"id": number, "kind": "network", "what": f"the request failed ({type(error).__name__})"}, bytearray()
    return {"id": number, "size": size}, content


def main() -> None:
    """Serve the process that started this one, and end with it."""
    serve(sys.stdin.buffer, sys.stdout.buffer, Tasks(os.environ, Patience()))
    os._exit(0)  # requests that nobody waits for any more are not finished
