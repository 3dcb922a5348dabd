"""Options of the cache of remote stores: `--store-cache`, `--store-cache-size` and `--offline`.

They belong to the machine and not to an experiment, so they are no settings of `params.yaml`. Each can be given by an
environment variable too (`store.remote.cache`). The options set these variables while the command runs, so that
processes that the command starts have them as well.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from store.remote.cache import DEFAULT_SIZE, FOLDER, OFFLINE, SIZE, parse_size

__all__ = ["CacheFolder", "CacheSize", "StoreOffline", "cache_options", "options_of_cache"]

CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--store-cache",
        help=f"Folder that caches stores at an address. Also {FOLDER}.  [default: the user's cache folder]",
    ),
]
CacheSize = Annotated[
    str | None,
    typer.Option(
        "--store-cache-size",
        metavar="SIZE",
        help=f"Largest size of that cache, such as 500GB. Also {SIZE}.  [default: {DEFAULT_SIZE}]",
    ),
]
StoreOffline = Annotated[
    bool, typer.Option("--offline", help=f"Fetch nothing: read stores at an address from that cache. Also {OFFLINE}=1.")
]


def options_of_cache(others: Collection[str]) -> dict[str, Any]:
    """Return the options by name; without `--offline` if the command has a setting of this name.

    Args:
        others: names of the command's own options.
    """
    options = {"store_cache": CacheFolder, "store_cache_size": CacheSize, "offline": StoreOffline}
    return {name: option for name, option in options.items() if name not in others}


@contextlib.contextmanager
def cache_options(
    *, store_cache: Path | None = None, store_cache_size: str | None = None, offline: bool | None = None
) -> Iterator[None]:
    """Use these options for all stores at addresses that are opened in the block.

    Args:
        store_cache: folder of the cache; None for that of the environment.
        store_cache_size: such as `20GB`; None for that of the environment.
        offline: fetch nothing.

    Raises:
        UsageError: the size is not a size.
    """
    if store_cache_size is not None:
        parse_size(store_cache_size)
    wanted = {FOLDER: store_cache and str(store_cache), SIZE: store_cache_size, OFFLINE: "1" if offline else None}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: value for name, value in wanted.items() if value})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
