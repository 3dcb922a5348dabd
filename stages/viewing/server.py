"""Serve the viewer over HTTP to the browsers of this machine, and to nobody else.

| threat | measure |
|---|---|
| another machine | the server listens on 127.0.0.1 only |
| another user or page that guesses the address | every path begins with a random token of 192 bits |
| a page that resolves its own name to 127.0.0.1 (DNS rebinding) | `Host` must name this machine |
| a page that is shown here runs foreign script | content security policy: only the viewer's own files |
| the token leaks by a link or a cache | no referrer, nothing is cached, requests are not logged |
| a request that names a file | paths are looked up in a fixed table, see `stages.viewing.api` |
| clients that connect and say nothing | a time limit, and the oldest silent client is dropped when a new one comes |

The port in `Host` is not compared: with `ssh -L` the browser uses another one. The token may be in the list of
processes for a moment when a browser is started, so that address has a key of its own, which works once.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from stages.viewing.api import Answer, Api, failure

LOOPBACK = "127.0.0.1"
HOSTS = frozenset({LOOPBACK, "localhost"})
SCHEME = "http"  # nothing leaves this machine

MOST_CONNECTIONS = 32
"""Requests that are answered at the same time, and connections that may be silent at the same time."""
SILENCE = 20.0
"""Seconds after which a connection is closed on which nothing is sent or taken."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer."""

MOST_VALUES = 8
"""Values of a query."""

BAD_REQUEST, FORBIDDEN, NOT_ALLOWED, BROKEN, NOT_IMPLEMENTED = 400, 403, 405, 500, 501

log = logging.getLogger(__name__)


class ViewerServer(ThreadingHTTPServer):
    """Serve one store. Requests have threads of their own, which never keep the program from ending.

    Args:
        api: answers the requests.
        port: 0 for any free one.

    Raises:
        OSError: the port is in use, or may not be used.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, api: Api, port: int = 0) -> None:
        self.api = api
        self.token = secrets.token_urlsafe(24)
        self._launch_key: str | None = None
        self._lock = threading.Lock()
        self._silent: dict[socket.socket, None] = {}  # connections that have sent no request yet, oldest first
        self._asking: set[socket.socket] = set()
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def url(self) -> str:
        """Return the address of the page. Anyone who has it can see the store."""
        return f"{self._origin}/{self.token}/"

    def launch_url(self) -> str:
        """Return an address that leads to the page once. Every call makes a new one and ends the one before."""
        self._launch_key = secrets.token_urlsafe(24)
        return f"{self._origin}/{self._launch_key}"

    def takes_launch_key(self, text: str) -> bool:
        """Return True if the text is the key of `launch_url`, and end the key."""
        with self._lock:
            taken = self._launch_key is not None and _is_same(text, self._launch_key)
            if taken:
                self._launch_key = None
            return taken

    @property
    def _origin(self) -> str:
        return f"{SCHEME}://{LOOPBACK}:{self.server_address[1]}"

    def server_bind(self) -> None:
        """Bind without looking up the machine's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection. If too many are silent, the oldest of them is dropped."""
        with self._lock:
            busy = len(self._asking) >= MOST_CONNECTIONS
            if not busy:
                if len(self._silent) >= MOST_CONNECTIONS:
                    oldest = next(iter(self._silent))
                    del self._silent[oldest]
                    _cut(oldest)
                self._silent[request] = None
        if busy:
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no threads left
            self._forget(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def has_asked(self, connection: socket.socket) -> None:
        """Note that a connection has sent its request, so that it is not dropped for silence."""
        with self._lock:
            self._silent.pop(connection, None)
            self._asking.add(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._silent.pop(connection, None)
            self._asking.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the signature of the base
        """Ignore clients that went away. Requests' own errors are answered before they come here."""
        log.debug("a connection ended early")


class _Handler(BaseHTTPRequestHandler):
    """Check a request, let the API answer it, and send the answer."""

    server: ViewerServer
    timeout = SILENCE

    def do_GET(self) -> None:
        """Answer a request."""
        self.server.has_asked(self.connection)
        if not self._names_this_machine():
            self._send(failure(FORBIDDEN, "the viewer answers only under the name of this machine"))
            return
        path, _, query = self.path.partition("?")
        token, slash, rest = path.removeprefix("/").partition("/")
        if not slash and self.server.takes_launch_key(token):
            self._redirect()
            return
        if not (path.startswith("/") and slash and _is_same(token, self.server.token)):
            self._send(failure(FORBIDDEN, "the address lacks the viewer's token; use the address that it printed"))
            return
        try:
            values = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_VALUES))
        except ValueError:
            self._send(failure(BAD_REQUEST, "too many values"))
            return
        try:
            answer = self.server.api.answer(rest, values)
        except Exception:
            log.exception("the viewer could not answer %s", rest)
            answer = failure(BROKEN, "an error in the viewer; the terminal shows it")
        self._send(answer)

    do_HEAD = do_GET  # noqa: N815 - the name that the base class calls

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer a request that is not HTTP, or has another method than GET and HEAD, as JSON."""
        code = NOT_ALLOWED if code == NOT_IMPLEMENTED else int(code)
        self._send(
            failure(code, "only GET and HEAD are answered" if code == NOT_ALLOWED else "the request is malformed")
        )

    def _names_this_machine(self) -> bool:
        hosts = self.headers.get_all("Host", [])
        return len(hosts) == 1 and hosts[0].partition(":")[0].lower() in HOSTS

    def _redirect(self) -> None:
        self.send_response(303)
        self.send_header("Location", f"/{self.server.token}/")
        self._end(b"")

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self._end(answer.body)

    def _end(self, body: bytes) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Return the name of the server, without versions."""
        return "pipeline"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of the base
        """Log nothing: a request's address holds the token."""


def _is_same(text: str, secret: str) -> bool:
    """Compare a text with a secret in a time that does not depend on the text."""
    return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), secret.encode())


def _cut(connection: socket.socket) -> None:
    """Close a connection that another thread reads from, so that the reading ends."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        log.debug("the connection was closed already")
