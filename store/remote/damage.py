"""Word errors about files of the cache that are damaged, or cannot be read: which file it is, and what to do there.

Errors about the bytes of a store end with advice for a store of one's own. Here the bytes are a copy.
"""

from __future__ import annotations

from pathlib import Path

from store.errors import StoreCorruptError, StoreError

__all__ = ["damaged", "not_removed", "unusable"]


def damaged(error: StoreError, folder: Path, file: Path) -> StoreError:
    """Return an error about bytes that were read from the cache, with the path.

    Args:
        error: what is wrong. It names a shard by its path, and other files by their names in the store.
        folder: of the store in the cache.
        file: that is damaged; `zarr.json` for all metadata.
    """
    what = _first_line(error)
    if str(folder) not in what:
        what += f"; it was read from the cache ({f'{folder}/*/zarr.json' if file.parent == folder else file})"
    return unusable(what, type(error))


def unusable(what: str, kind: type[StoreError] = StoreCorruptError) -> StoreError:
    """Return an error about a file of the cache where nothing may be downloaded.

    Args:
        what: is wrong with which file, without a full stop.
        kind: of the error.
    """
    return kind(
        f"{what}.\n"
        "  Remove what is damaged from the cache, and start the command once with the network and without --offline:\n"
        "  it is fetched again. If the error stays, the store at the address is damaged."
    )


def not_removed(error: BaseException | None, file: Path, failure: OSError) -> StoreError:
    """Return an error about a file of the cache that cannot be used and cannot be removed.

    Args:
        error: what is wrong with the file.
        file: of the cache.
        failure: to remove it.
    """
    return (type(error) if isinstance(error, StoreError) else StoreCorruptError)(
        f"{_first_line(error)}; its copy in the cache cannot be replaced ({file}: {failure.strerror}).\n"
        "  Remove it, or allow writing there, or choose another place with --store-cache."
    )


def _first_line(error: BaseException | None) -> str:
    return str(error).partition("\n")[0].removesuffix(".")
