"""Give access to the files of one remote store: fetched when they are needed, kept in the cache.

The folder of the store in the cache is named by the digest of its `zarr.json`. This file holds digests of
everything in the store. So files of another store are noticed when they are read, and files in the cache never become
outdated.

Metadata and columns are kept as whole files. Shards are kept as far as the cache is large enough: of a larger store,
some shards are kept (`store.remote.kept`) and the samples of the others are fetched when they are read.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import (
    StoreCorruptError,
    StoreIncompleteError,
    StoreNotFoundError,
    StoreUnreachableError,
    UsageError,
)
from store.format import chunk_path
from store.remote.address import RemoteAddress
from store.remote.cache import STORE_NAME, CacheSettings, cache_of, pointer_of, put, store_folder
from store.remote.connection import Answer, connection
from store.remote.damage import damaged, not_removed, unusable
from store.remote.failures import FetchError, remedy_of
from store.remote.kept import kept_shards, most_bytes
from store.root import MOST_BYTES, root_bytes

if TYPE_CHECKING:
    from store.description import Description
    from store.metadata import ArrayMetadata
    from store.remote.array import RemoteShardedArray

__all__ = ["RemoteFiles"]

SHARE = 0.9
"""Share of the cache that the shards of one store fill: downloads that are under way need room too."""

ALL_COLUMNS = 100
"""Largest number of files of columns that are fetched when a store is opened."""


class RemoteFiles:
    """Give access to the files of the store at an address.

    Args:
        place: the address. Its settings of the cache are used; without them those of the environment.
    """

    def __init__(self, place: RemoteAddress) -> None:
        self.place = place
        self.cache: CacheSettings = place.cache or cache_of(os.environ)
        self._folder = self.cache.folder
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._under_way: dict[Path, Future[Answer]] = {}
        self._urgent: set[Path] = set()
        self._again: set[Path] = set()
        self._removed: set[Path] = set()
        """Files that were damaged in the cache and are not there again."""
        self._kept: dict[str, int] | None = None
        self._arrays: dict[str, ArrayMetadata] = {}
        self._samples = self._shards = 0

    @property
    def folder(self) -> Path:
        """The folder of the store in the cache."""
        return self._folder

    def root_bytes(self) -> bytes:
        """Return the present bytes of the store's `zarr.json`, and remember which store is at the address.

        Raises:
            StoreNotFoundError: there is none.
            StoreUnreachableError: it cannot be read; or offline, it is not in the cache.
        """
        pointer = pointer_of(self.cache.folder, str(self.place))
        if self.cache.offline:
            return self._cached_root(pointer)
        request = self._request("read", "zarr.json", start=0, stop=MOST_BYTES + 1)
        try:
            root = connection().send(request).result().content
        except FetchError as failure:
            if failure.kind == "missing":
                raise StoreNotFoundError(
                    f"{self.place}: there is no store here (no zarr.json).\n"
                    "  Check the address. A store is the folder that `pipeline extract` wrote, copied file by file."
                ) from None
            raise self._error("zarr.json", failure) from None
        if len(root) > MOST_BYTES:
            raise StoreCorruptError(f"{self.place}: zarr.json is too large.\n  Check the address.")
        self._folder = store_folder(self.cache.folder, root)
        try:
            for file, content in ((self._folder / "zarr.json", root), (pointer, self._folder.name.encode())):
                put(file, content)
        except OSError as error:
            raise self._error("zarr.json", _of_disk(self.cache.folder, error)) from None
        return root

    def _cached_root(self, pointer: Path) -> bytes:
        """Return the bytes of the `zarr.json` in the cache, which has the digest that names its folder."""
        try:
            name = pointer.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            raise self._offline("it was never opened with this cache") from None
        except OSError as error:
            raise unusable(f"{self.place}: {pointer} cannot be read ({error.strerror})") from None
        if STORE_NAME.fullmatch(name) is None:  # a path made of it could lead anywhere, or be none
            raise unusable(f"{self.place}: {pointer} is damaged")
        self._folder = folder = self.cache.folder / name
        root = root_bytes(folder)
        if not root and not os.path.lexists(folder / "zarr.json"):
            raise self._offline("its zarr.json is not in it")
        if store_folder(self.cache.folder, root) != folder:
            raise unusable(f"{self.place}: {folder / 'zarr.json'} is damaged")
        return root

    def fetch(self, *files: Path) -> None:
        """Make sure that files which the store has are in `folder`, several at the same time.

        Raises:
            StoreUnreachableError: they cannot be fetched; or offline, they are not in the cache.
        """
        for file, future in [(file, self._keep(file)) for file in files if not _touched(file)]:
            try:
                future.result()
                self._removed.discard(file)
            except FetchError as failure:
                if failure.kind != "missing":
                    raise self._error(self._name(file), failure) from None
            finally:
                with self._lock:
                    self._under_way.pop(file, None)
                    self._urgent.discard(file)

    def begin_to_fetch(self, file: Path) -> None:
        """Begin to fetch a file that `fetch` is called for soon; before those in advance."""
        if not file.exists():
            self._keep(file)

    def fetch_in_advance(self, file: Path, order: int) -> None:
        """Begin to fetch a file. Nobody waits for it, and its failure is no error."""
        if not file.exists() and not self.cache.offline:
            self._keep(file, order=order)

    def fetch_again(self, file: Path) -> bool:
        """Remove a file from the cache, so that it is fetched anew. Return False if that was done before.

        For `zarr.json` all metadata are removed. Call it while the error is handled that shows the damage.

        Raises:
            StoreError: offline, or if the file cannot be removed: that error again, with what to do in the cache.
        """
        error = sys.exception()
        if self.cache.offline and isinstance(error, StoreCorruptError | StoreIncompleteError):
            raise damaged(error, self.folder, file)
        if self.cache.offline or file in self._again:
            return False
        if file.parent != self.folder and not file.exists():  # another process has made room: it was not damaged
            return True
        self._again.add(file)
        self._removed.add(file)
        files = [file] if file.parent != self.folder else list(self.folder.glob("*/zarr.json"))
        for one in files:
            try:
                one.unlink(missing_ok=True)
            except OSError as failure:
                raise not_removed(error, one, failure) from None
        return True

    def require_present(self, file: Path) -> None:
        """Make sure that the store has a file. It is not fetched.

        Raises:
            FileNotFoundError: it does not.
            StoreUnreachableError: that cannot be found out.
        """
        try:
            self.size(file)
        except StoreCorruptError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file)) from None

    def may_be_replaced(self, *, failed: bool) -> bool:
        """Return True after a failure: all that was read without one is covered by the digests of `zarr.json`."""
        return failed and not self.cache.offline

    def shown(self, file: Path) -> str:
        """Return the address of a file; offline its path in the cache."""
        return str(file) if self.cache.offline else f"{self.place}/{self._name(file)}"

    def read(self, file: Path, start: int, stop: int) -> Future[Answer]:
        """Begin to read a part of a file. Call `result_of` with the result.

        Args:
            file: path that it would have in the cache.
            start: first byte.
            stop: byte after the last one.
        """
        if self.cache.offline:
            raise self._offline(f"{self._name(file)} is not in it")
        return connection().send(self._request("read", self._name(file), start=start, stop=stop))

    def size(self, file: Path) -> int:
        """Return the size of a file in the store.

        Raises:
            StoreCorruptError: the store lacks it.
            StoreUnreachableError: it cannot be found out.
        """
        return self.result_of(file, self.begin_size(file)).size

    def begin_size(self, file: Path) -> Future[Answer]:
        """Begin to ask for the size of a file. Call `result_of` with the result."""
        if self.cache.offline:
            raise self._offline(f"{self._name(file)} is not in it")
        return connection().send(self._request("size", self._name(file)))

    def result_of(self, file: Path, answer: Future[Answer]) -> Answer:
        """Wait for an answer about a file.

        Raises:
            StoreCorruptError: the store lacks the file.
            StoreUnreachableError: the server cannot be reached.
        """
        try:
            return answer.result()
        except FetchError as failure:
            if failure.kind == "missing":
                raise StoreCorruptError(
                    f"{self.shown(file)}: is missing.\n  Copy the store to its address again, with all files."
                ) from None
            raise self._error(self._name(file), failure) from None

    def open_array(self, metadata: ArrayMetadata, name: str, description: Description) -> RemoteShardedArray:
        """Return a reader that fetches shards or samples."""
        from store.remote.array import RemoteShardedArray

        self._arrays[name] = metadata
        self._samples = description.samples
        self._shards = -(-description.samples // description.samples_per_shard)
        return RemoteShardedArray(self, metadata, name, description)

    def prepare(self, description: Description, columns: list[Path]) -> None:
        """Begin to fetch the columns. Offline, make sure that the whole store is in the cache.

        Raises:
            StoreUnreachableError: offline, and a part of it is not.
        """
        if self.cache.offline:
            missing = sum(not file.exists() for file in columns)
            shards = -(-description.samples // description.samples_per_shard)
            for name in description.sharded:
                have = {file.name for file in self.folder.glob(f"{name}/c.*")}
                missing += max(0, shards - len(have))
            if missing:
                raise self._offline(f"{missing} of its files are not in it")
        elif len(columns) <= ALL_COLUMNS:
            for file in columns:
                self.fetch_in_advance(file, order=-1)

    def kept_shards(self, name: str) -> int:
        """Return the number of shards of an array, from the first one, that are kept in the cache. Offline all are."""
        if self._kept is None:
            self._kept = self._planned(SHARE * self.cache.size)
        return self._kept[name]

    def _planned(self, room: float) -> dict[str, int]:
        """Return the number of shards that are kept, by array. Ask for sizes only if unpacked bytes do not fit."""
        if self.cache.offline or most_bytes(self._arrays.values(), self._samples) <= room:
            return dict.fromkeys(self._arrays, self._shards)
        first = {name: chunk_path(self.folder, name, 0, len(metadata.shape)) for name, metadata in self._arrays.items()}
        asked = {name: self.begin_size(file) for name, file in first.items()}
        return kept_shards({name: self.result_of(first[name], asked[name]).size for name in first}, self._shards, room)

    def _keep(self, file: Path, *, order: int | None = None) -> Future[Answer]:
        """Begin to fetch a file into the cache. A request in advance for the same file does not count."""
        if self.cache.offline:
            raise self._offline(f"{self._name(file)} is not in it")
        with self._lock_of_this_process():
            waiting = self._under_way.get(file)
            if waiting is None or (order is None and file not in self._urgent):
                if order is None:
                    self._urgent.add(file)
                is_shard = self._name(file).split("/")[0] in self._arrays
                request = self._request(
                    "keep",
                    self._name(file),
                    file=os.fspath(file),
                    folder=os.fspath(self.cache.folder),
                    size=self.cache.size if is_shard else None,
                )
                waiting = self._under_way[file] = connection().send(request, order=order)
            return waiting

    def _lock_of_this_process(self) -> threading.Lock:
        """Return the lock of `_under_way`. In a forked process both are new: nobody answers its parent's requests."""
        if self._process != os.getpid():
            self._process, self._lock, self._under_way, self._urgent = os.getpid(), threading.Lock(), {}, set()
        return self._lock

    def _request(self, op: str, path: str, **further: Any) -> dict[str, Any]:
        return {"op": op, "scheme": self.place.scheme, "rest": self.place.rest, "path": path, **further}

    def _name(self, file: Path) -> str:
        return "/".join(file.parts[len(self.folder.parts) :])  # `relative_to` takes twenty times as long

    def _offline(self, why: str) -> StoreUnreachableError:
        return StoreUnreachableError(
            f"{self.place}: is not whole in the cache {self.cache.folder}, and nothing may be downloaded: {why}.\n"
            "  Read it once without --offline, with a cache that is large enough, or give a copy on this machine."
        )

    def _error(self, name: str, failure: FetchError) -> StoreUnreachableError | UsageError:
        if failure.kind == "extra":
            return UsageError(
                f"{self.place}: is on the network, and the package that reads it is not installed.\n"
                "  Install it: pip install 'diamant-pipeline[remote]'"
            )
        remedy = remedy_of(failure.kind, self.place.scheme)
        file = self.folder / name
        removed = f"; its copy in the cache was damaged, and was removed ({file})" if file in self._removed else ""
        return StoreUnreachableError(f"{self.place}/{name}: cannot be read: {failure.what}{removed}.\n  {remedy}")


def _touched(file: Path) -> bool:
    """Mark a file as used now. Return False if there is none."""
    try:
        os.utime(file)
    except FileNotFoundError:
        return False
    except OSError:  # another user's: it can be read, and is not kept longer for it
        return file.exists()
    return True


def _of_disk(folder: Path, error: OSError) -> FetchError:
    return FetchError("disk", f"{error.filename2 or error.filename or folder} cannot be written ({error.strerror})")
