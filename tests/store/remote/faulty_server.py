"""Serve a folder by HTTP on this machine, with failures on request and a limit of speed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BLOCK = 64 * 1024


@dataclass
class Served:
    """Hold what a server does and what it was asked."""

    folder: Path
    address: str = ""
    """Of the folder, such as `http://127.0.0.1:1234`."""
    fault: Callable[[str, int], object] = lambda _path, _number: None
    """Returns the fault of the n-th request (from 1) for a path: a status, `drop`, `cut`, `flip`, `stall`, or None."""
    ranges: bool = True
    """False: parts are never sent, only whole files."""
    tags: str = '"{size}"'
    """The entity tag of a file; empty for none."""
    bytes_per_second: float = 0.0
    """Speed of all answers together; 0 for no limit."""
    headers: list[dict[str, str]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    """Number of requests with an answer in bytes, by path."""
    sent: int = 0
    """Bytes of all answers."""
    begin: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pace(self, count: int) -> None:
        """Wait until so many further bytes may be sent."""
        with self.lock:
            self.sent += count
            if not self.bytes_per_second:
                return
            now = time.monotonic()
            self.begin = max(self.begin, now - 0.05) + count / self.bytes_per_second
            pause = self.begin - now
        time.sleep(max(0.0, pause))


class Handler(BaseHTTPRequestHandler):
    """Answer requests for the files of a folder."""

    protocol_version = "HTTP/1.1"
    served: Served
    further: tuple[tuple[str, str], ...] = ()
    """Headers of every answer."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        """Answer without content."""
        self.answer(with_content=False)

    def do_GET(self) -> None:
        """Answer with content."""
        self.answer(with_content=True)

    def answer(self, *, with_content: bool) -> None:
        """Answer a request for the file at `path`."""
        served, path = self.served, self.path.strip("/")
        with served.lock:
            served.asked[path] += 1
            served.headers.append(dict(self.headers))
            fault = served.fault(path, served.asked[path])
        file = served.folder / path
        if fault is None and not file.is_file():
            fault = 404
        if isinstance(fault, tuple):
            self.send(fault[0], fault[1], [])
            return
        if isinstance(fault, int):
            self.send(fault, b"", [])
            return
        if fault == "stall":
            time.sleep(3)
        content = file.read_bytes()
        if fault == "cut":
            content = content[: len(content) // 2]
        if fault == "flip":
            content = content[:100] + bytes(byte ^ 1 for byte in content[100:200]) + content[200:]
        headers = [("ETag", served.tags.format(size=len(content)))] if served.tags else []
        status, asked = 200, self.headers.get("Range", "")
        if served.ranges and asked.startswith("bytes="):
            first, _, last = asked[6:].partition("-")
            begin, end = int(first), min(int(last) + 1 if last else len(content), len(content))
            headers.append(("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}"))
            if begin >= len(content):
                self.send(416, b"", [])
                return
            status, content = 206, content[begin:end]
        if "If-Match" in self.headers and self.headers["If-Match"] != dict(headers).get("ETag"):
            self.send(412, b"", [])
            return
        self.send(status, content, headers, only=len(content) // 2 if fault == "drop" else None, body=with_content)

    def send(
        self, status: int, content: bytes, headers: list[tuple[str, str]], only: int | None = None, *, body: bool = True
    ) -> None:
        """Send an answer; of its content the first `only` bytes, then drop the connection."""
        self.send_response(status)
        for name, value in (*headers, *self.further):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not body:
            return
        end = len(content) if only is None else only
        for begin in range(0, end, BLOCK):
            part = content[begin : min(begin + BLOCK, end)]
            self.served.pace(len(part))
            self.wfile.write(part)
        if only is not None:
            self.wfile.flush()
            self.close_connection = True


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: readers that have enough close their connection."""


@contextmanager
def serving(folder: Path, handler: type[Handler] = Handler) -> Iterator[Served]:
    """Serve a folder while the block runs."""
    served = Served(folder)
    with _Quiet(("127.0.0.1", 0), type("Own", (handler,), {"served": served})) as server:
        served.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
