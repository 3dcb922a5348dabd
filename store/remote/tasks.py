"""Carry out one request of the helper process: read a part of an object, keep it in the cache, or ask for its size."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.disk.locks import lock_file
from store.remote.address import RemoteAddress
from store.remote.cache import make_room, partial_of
from store.remote.clients import Patience, client_of
from store.remote.failures import FetchError
from store.remote.transfer import object_size, read_object

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Tasks"]


class Tasks:
    """Carry out requests, from several threads.

    Args:
        environment: variables with credentials.
        patience: the limits of waiting.
    """

    def __init__(self, environment: Mapping[str, str], patience: Patience) -> None:
        self._environment, self._patience = environment, patience
        self._clients: dict[tuple[str, str], ObjectStore] = {}
        self._lock = threading.Lock()

    def carry_out(self, request: Mapping[str, Any]) -> tuple[int, bytearray]:
        """Carry out one request.

        Args:
            request: `op` is `read` (the bytes from `start` to `stop`), `keep` (the whole object as `file`, in the cache
                `folder` of `size` bytes; without `size` nothing is removed for it) or `size`. `scheme` and `rest` are
                the store's address, `path` the object's name in the store.

        Returns:
            The size of the object, and the bytes of `read`.

        Raises:
            FetchError: it failed.
        """
        client = self._client(request["scheme"], request["rest"])
        content = bytearray()
        if request["op"] == "size":
            return object_size(client, request["path"], self._patience), content
        if request["op"] == "read":
            size = read_object(
                client,
                request["path"],
                content.extend,
                start=request["start"],
                stop=request["stop"],
                patience=self._patience,
            )
            return size, content
        folder = Path(request["folder"])
        try:
            return self._keep(client, request["path"], Path(request["file"]), folder, request["size"]), content
        except OSError as error:
            raise FetchError("disk", f"{folder} cannot be written ({error.strerror})") from None

    def _client(self, scheme: str, rest: str) -> ObjectStore:
        with self._lock:
            if (scheme, rest) not in self._clients:
                address = RemoteAddress(scheme, rest)
                self._clients[scheme, rest] = client_of(address, self._environment, self._patience)
            return self._clients[scheme, rest]

    def _keep(self, client: ObjectStore, path: str, file: Path, folder: Path, size: int | None) -> int:
        """Download an object into the cache, unless it is there or another process has just done so."""
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = partial_of(file)
        with lock_file(partial):
            try:
                if file.exists():
                    return file.stat().st_size

                def sized(needed: int) -> None:
                    if size is not None:
                        make_room(folder, size, needed)

                with partial.open("wb") as out:
                    found = read_object(client, path, out.write, sized=sized, patience=self._patience)
                partial.replace(file)
                return found
            finally:
                with contextlib.suppress(OSError):
                    partial.unlink()
