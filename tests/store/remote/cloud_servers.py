"""Imitate Google Cloud Storage and the Hugging Face Hub on this machine, as far as readers see them.

Google's XML interface: `GET /BUCKET/OBJECT` with the object's name as one part of the path (`/` is `%2F`), `Range`,
`If-Match`, strong tags, a generation, and errors as XML.

The Hub: `GET /datasets/OWNER/NAME/resolve/REVISION/FILE`. Small files are redirected to a path of the same server.
Large files are redirected to another server, by an address with a signature that counts for a short time. That server
refuses requests which carry the user's token.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tests.store.remote.faulty_server import Handler, Served, serving

TOKEN = "hf_of_a_test"  # noqa: S105 - no server knows it


class GoogleHandler(Handler):
    """Answer like Google Cloud Storage."""

    further = (
        ("Last-Modified", "Sat, 28 Nov 2026 00:00:00 GMT"),
        ("x-goog-generation", "1700000000000000"),
        ("x-goog-stored-content-encoding", "identity"),
    )

    def answer(self, *, with_content: bool) -> None:
        """Answer a request for an object."""
        self.path = unquote(urlsplit(self.path).path)
        super().answer(with_content=with_content)


@dataclass
class Hub:
    """Hold what the two servers of the Hub do."""

    server: Served
    files: Served
    """The server that large files come from."""
    valid: float = 60.0
    """Seconds for which a signature counts."""
    uses: int = 1
    """Requests for which a signature counts."""
    private: bool = True
    """Only users with the token may read."""
    large: str = "/c."
    """Part of the path of files that are large."""
    signed: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Signature: (time at which it ends, requests for which it still counts)."""
    tokens: int = 0
    """Requests with a token that the server of large files has got."""

    def sign(self) -> str:
        """Return a new signature."""
        with self.server.lock:
            signature = f"s{len(self.signed)}"
            self.signed[signature] = time.monotonic() + self.valid, self.uses
        return signature

    def accepts(self, signature: str) -> bool:
        """Return True if a signature counts; it is used up."""
        with self.server.lock:
            ends, uses = self.signed.get(signature, (0.0, 0))
            self.signed[signature] = ends, uses - 1
        return uses > 0 and time.monotonic() < ends


class HubHandler(Handler):
    """Answer like the Hub: with redirects, and with small files."""

    hub: Hub

    def answer(self, *, with_content: bool) -> None:
        """Redirect to a file, or send a small one."""
        path = urlsplit(self.path).path
        if self.hub.private and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.send(401, b"Invalid username or password.", [("X-Error-Code", "RepoNotFound")], body=with_content)
            return
        if path.startswith("/api/resolve-cache/datasets/o/n/abc/"):
            self.path = path.removeprefix("/api/resolve-cache/datasets/o/n/abc")
            super().answer(with_content=with_content)
            return
        name = path.removeprefix("/datasets/o/n/resolve/main/")
        if name == path or not (self.served.folder / name).is_file():
            self.send(404, b"Entry not found", [("X-Error-Code", "EntryNotFound")], body=with_content)
        elif self.hub.large in name:
            where = f"{self.hub.files.address}/{name}?Expires=1&Signature={self.hub.sign()}"
            self.send(302, b"Found. Redirecting", [("Location", where), ("X-Linked-Size", "1")], body=with_content)
        else:
            where = f"/api/resolve-cache/datasets/o/n/abc/{name}?etag=%22x%22"
            self.send(307, b"Temporary Redirect", [("Location", where)], body=with_content)


class FilesHandler(Handler):
    """Answer like the server of the Hub's large files."""

    hub: Hub

    def answer(self, *, with_content: bool) -> None:
        """Send a file if the signature counts."""
        asked = urlsplit(self.path)
        if "Authorization" in self.headers:
            self.hub.tokens += 1
            self.send(400, b"Only one auth mechanism allowed", [], body=with_content)
            return
        if not self.hub.accepts(parse_qs(asked.query).get("Signature", [""])[0]):
            self.send(403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", [],
                      body=with_content)  # fmt: skip
            return
        self.path = asked.path
        super().answer(with_content=with_content)


@contextmanager
def imitated_hub(folder: Path) -> Iterator[Hub]:
    """Serve a folder as the data set `o/n` of a Hub while the block runs."""
    handlers = [type("Own", (kind,), {}) for kind in (HubHandler, FilesHandler)]
    with serving(folder, handlers[0]) as server, serving(folder, handlers[1]) as files:
        hub = Hub(server, files)
        for handler in handlers:
            handler.hub = hub  # type: ignore[attr-defined]
        yield hub
