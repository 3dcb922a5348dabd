"""Serve a folder through a link of a given speed and delay, in an own process: `python -m tests.benchmarks.link`.

It answers GET and HEAD as an object store does, with `Range`, `If-Match` and strong tags, and does not look at
signatures. So it serves a bucket of S3 too: `FOLDER/bucket/path`. Files go from the disk to the connection inside the
system (`sendfile`), so the server needs little of the processor that it shares with the program under test.

The link: all answers together get `rate` bytes a second, and every request waits for `delay` seconds, as over a
connection with this round-trip time. The slow start of TCP and lost packets are not imitated.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

BLOCK = 128 * 1024
BURST = 0.02
"""Seconds for which unused speed is kept."""


class Link:
    """Share a speed among connections.

    Args:
        rate: bytes a second; 0 for no limit.
        delay: seconds that a request waits.
    """

    def __init__(self, rate: float, delay: float) -> None:
        self.rate, self.delay = rate, delay
        self._free = 0.0
        self._lock = threading.Lock()

    def pass_on(self, count: int) -> None:
        """Wait until so many further bytes may be sent."""
        if not self.rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free = max(self._free, now - BURST) + count / self.rate
            pause = self._free - now
        if pause > 0:
            time.sleep(pause)


def serve(folder: Path, link: Link, listening: socket.socket) -> None:
    """Answer requests for ever."""
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=_answer_all, args=(folder, link, connection), daemon=True).start()


def _answer_all(folder: Path, link: Link, connection: socket.socket) -> None:
    """Answer the requests of one connection, one after the other."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as requests, contextlib.suppress(OSError):
        time.sleep(link.delay)  # opening a connection takes a round trip
        while first := requests.readline():
            headers = {}
            while (line := requests.readline().strip()) != b"":
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            method, target, _ = first.decode().split(" ", 2)
            time.sleep(link.delay)
            _answer(folder / target.lstrip("/"), link, connection, headers, with_content=method == "GET")


def _answer(file: Path, link: Link, connection: socket.socket, headers: dict[str, str], *, with_content: bool) -> None:
    """Answer one request for a file."""
    try:
        opened = os.open(file, os.O_RDONLY)
    except OSError:
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        return
    try:
        size = os.fstat(opened).st_size
        start, stop, status = 0, size, "200 OK"
        if asked := headers.get("range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop, status = int(first), min(size, int(last) + 1 if last else size), "206 Partial Content"
        lines = [
            f"HTTP/1.1 {status}", f"Content-Length: {stop - start}", f'ETag: "{size}"',
            "Last-Modified: Sat, 28 Nov 2026 00:00:00 GMT",
        ]  # fmt: skip
        if asked:
            lines.append(f"Content-Range: bytes {start}-{stop - 1}/{size}")
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        while with_content and start < stop:
            count = min(BLOCK, stop - start)
            link.pass_on(count)
            start += os.sendfile(connection.fileno(), opened, start, count)
    finally:
        os.close(opened)


@contextlib.contextmanager
def linked(folder: Path, *, rate: float = 0, delay: float = 0) -> Iterator[str]:
    """Serve a folder in another process while the block runs.

    Args:
        folder: of the files.
        rate: bytes a second; 0 for no limit.
        delay: seconds that a request waits.

    Yields:
        The address, such as `http://127.0.0.1:1234`.
    """
    command = [sys.executable, "-m", "tests.benchmarks.link", str(folder), str(rate), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def main(folder: str, rate: str, delay: str) -> None:
    """Print the port, and serve."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        serve(Path(folder), Link(float(rate), float(delay)), listening)


if __name__ == "__main__":
    main(*sys.argv[1:])
