"""Carry out one request of the helper process: read a part of an object, keep it in the cache, or ask for its size."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.disk.locks import lock_file
from store.disk.regular import MIB
from store.remote.address import RemoteAddress
from store.remote.blocks import BlockWriter
from store.remote.cache import begun_of, partial_of
from store.remote.clients import Patience, client_of
from store.remote.failures import FetchError
from store.remote.room import Room
from store.remote.transfer import Begun, object_size, read_object

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Tasks"]


LARGE = 8 * MIB
"""Least size of a file whose download is continued by a later process. Smaller ones are fetched anew."""

CREDENTIALS = frozenset({"credentials", "denied"})
"""Failures after which the credentials are read again, once: a program may have renewed those in a file."""


class Tasks:
    """Carry out requests, from several threads.

    Args:
        environment: variables with credentials.
        patience: the limits of waiting.
    """

    def __init__(self, environment: Mapping[str, str], patience: Patience) -> None:
        self._environment, self._patience = environment, patience
        self._clients: dict[tuple[str, str], ObjectStore] = {}
        self._answered: set[tuple[str, str]] = set()
        self._rooms: dict[str, Room] = {}
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
        address = request["scheme"], request["rest"]
        client = self._client(address)
        try:
            done = self._done(request, client, known=address in self._answered)
        except FetchError as failure:
            if failure.kind not in CREDENTIALS or address not in self._answered:
                raise
            with self._lock:
                if self._clients.get(address) is client:  # no other thread has done so
                    del self._clients[address]
            done = self._done(request, self._client(address), known=True)
        self._answered.add(address)
        return done

    def _done(self, request: Mapping[str, Any], client: ObjectStore, *, known: bool) -> tuple[int, bytearray]:
        content = bytearray()
        path = request["path"]
        if request["op"] == "size":
            return object_size(client, path, self._patience, known=known), content
        if request["op"] == "read":
            limits = {"start": request["start"], "stop": request["stop"]}
            return read_object(client, path, content.extend, **limits, patience=self._patience, known=known), content
        folder = request["folder"]
        with self._lock:
            room = self._rooms.setdefault(folder, Room(Path(folder)))
        download = _Download(client, path, Path(request["file"]), room, request["size"])
        try:
            return download.kept(self._patience, known=known), content
        except OSError as error:
            raise FetchError("disk", f"{folder} cannot be written ({error.strerror})") from None

    def _client(self, address: tuple[str, str]) -> ObjectStore:
        with self._lock:
            if address not in self._clients:
                self._clients[address] = client_of(RemoteAddress(*address), self._environment, self._patience)
            return self._clients[address]


class _Download:
    """Download one object into the cache, unless it is there or another process has just done so."""

    def __init__(self, client: ObjectStore, path: str, file: Path, room: Room, size: int | None) -> None:
        self._client, self._path, self._file, self._room, self._size = client, path, file, room, size
        self._partial, self._notes = partial_of(file), begun_of(file)

    def kept(self, patience: Patience, *, known: bool) -> int:
        """Return the size of the object when it is in the cache."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock_file(self._partial) as remove:
            begun: Begun | None = None
            finished = keep_part = False
            try:
                if self._file.exists():
                    return self._file.stat().st_size
                begun = self._begun()
                try:
                    found = self._read(begun, patience, known=known)
                except FetchError as failure:
                    if begun is None or failure.kind not in {"changed", "range"}:
                        raise
                    found = self._read(None, patience, known=known)
                self._notes.unlink(missing_ok=True)  # before its file gets its name: a killed process leaves no note
                self._partial.replace(self._file)
                finished = True  # from here on both names may be those of the next process
            except FetchError as failure:
                keep_part = failure.kind != "changed" and self._begun() is not None
                raise
            else:
                return found
            finally:
                with contextlib.suppress(OSError):
                    if not finished and not keep_part:
                        self._notes.unlink(missing_ok=True)
                        remove()

    def _read(self, begun: Begun | None, patience: Patience, *, known: bool) -> int:
        def sized(size: int, tag: str | None) -> None:
            if self._size is not None:
                self._room.make(self._size, size - (begun.done if begun else 0))
            if begun is None and tag and size >= LARGE:
                self._notes.write_text(f"{size} {tag}", encoding="utf-8")

        with (
            self._partial.open("ab" if begun else "wb", buffering=0) as file,
            BlockWriter(file, begun.done if begun else 0) as out,
        ):
            return read_object(
                self._client, self._path, out.write, sized=sized, begun=begun, patience=patience, known=known
            )

    def _begun(self) -> Begun | None:
        """Return what an earlier process, or an earlier attempt, has left of this object."""
        try:
            size, _, tag = self._notes.read_text(encoding="utf-8").partition(" ")
            done = self._partial.stat().st_size
            found = Begun(size=int(size), tag=tag, done=done)
        except (OSError, ValueError):
            return None
        return found if tag and 0 < done < found.size else None
