"""Find the files of a store: on this machine, or in an object store.

A reader of a store asks here for a file before it opens it. Files of a local store are used where they are. Files of a
remote store are fetched into a folder of the cache first (`store.remote.files`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from store.disk.regular import require_regular
from store.errors import StoreIncompleteError, StoreNotFoundError
from store.remote.address import Place, RemoteAddress
from store.root import root_bytes

if TYPE_CHECKING:
    from store.description import Description
    from store.metadata import ArrayMetadata
    from store.sharded_array import ShardedArray

__all__ = ["LocalFiles", "Place", "StoreFiles", "files_of"]


class StoreFiles(Protocol):
    """Give access to the files of one store."""

    @property
    def place(self) -> Place:
        """The store's path or address."""

    @property
    def folder(self) -> Path:
        """The folder on this machine that has, or gets, the files."""

    def root_bytes(self) -> bytes:
        """Return the present bytes of the store's `zarr.json`; empty if there is none.

        Raises:
            StoreError: it cannot be read.
        """

    def fetch(self, *files: Path) -> None:
        """Make sure that files which the store has are in `folder`. A file that the store lacks is no error.

        Raises:
            StoreError: they cannot be fetched.
        """

    def fetch_again(self, file: Path) -> bool:
        """Fetch a file anew, because its bytes are not what was written. Return False if that is not possible."""

    def require_present(self, file: Path) -> None:
        """Make sure that the store has a file. It is not read.

        Raises:
            OSError: it is missing, not a regular file, or cannot be looked at.
            StoreError: that cannot be found out.
        """

    def may_be_replaced(self, *, failed: bool) -> bool:
        """Return True if `zarr.json` must be compared after reading, to prove that the bytes came from this store.

        Args:
            failed: the reading has failed.
        """

    def shown(self, file: Path) -> str:
        """Return the name of a file in messages."""

    def open_array(self, metadata: ArrayMetadata, name: str, description: Description) -> ShardedArray:
        """Return a reader of one sharded array."""

    def prepare(self, description: Description, columns: list[Path]) -> None:
        """Get ready for reading, once description and metadata are known.

        Args:
            description: of the store.
            columns: the files of all columns.

        Raises:
            StoreError: the store cannot be read as it is.
        """


@dataclass(frozen=True)
class LocalFiles:
    """Give access to the files of a store on this machine."""

    place: Path

    @property
    def folder(self) -> Path:
        """The store itself."""
        return self.place

    def root_bytes(self) -> bytes:
        """Return the bytes of `zarr.json`."""
        return root_bytes(self.place)

    def fetch(self, *files: Path) -> None:
        """Do nothing: the files are here."""

    def fetch_again(self, file: Path) -> bool:  # noqa: ARG002 - the signature of `StoreFiles`
        """Return False: there is no other copy."""
        return False

    def require_present(self, file: Path) -> None:
        """Make sure that a file is there."""
        require_regular(file)

    def may_be_replaced(self, *, failed: bool) -> bool:  # noqa: ARG002 - the signature of `StoreFiles`
        """Return True: another store can take the place of this one at any time."""
        return True

    def shown(self, file: Path) -> str:
        """Return the path."""
        return str(file)

    def open_array(self, metadata: ArrayMetadata, name: str, description: Description) -> ShardedArray:
        """Return a reader that maps the shards."""
        from store.sharded_array import ShardedArray

        return ShardedArray(self, metadata, name, description)

    def prepare(self, description: Description, columns: list[Path]) -> None:
        """Do nothing."""


def files_of(place: Place) -> StoreFiles:
    """Return the files of the store at a path or an address.

    Raises:
        StoreNotFoundError: the path does not exist.
        StoreIncompleteError: it cannot be looked at.
    """
    if isinstance(place, RemoteAddress):
        from store.remote.files import RemoteFiles

        return RemoteFiles(place)
    if not _exists(place):
        raise StoreNotFoundError(
            f"{place}: there is no store here.\n"
            f"  Check the path, or make a store: `pipeline extract --images DIR --masks DIR --store {place}`."
        )
    return LocalFiles(place)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise StoreIncompleteError(f"{path}: cannot be looked at ({error.strerror}).\n  Allow reading it.") from None
