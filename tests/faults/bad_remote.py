"""List the kinds of bad addresses of stores, and of stores that cannot be reached: `KINDS`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.kinds import Kind

NOBODY = "http" + "://127.0.0.1:9/x.zarr"
"""An address at a port of this machine where nobody listens."""


def _nothing(_: Path) -> None:
    """Change nothing: the command itself is the fault."""


@contextmanager
def _own_cache(room: Path) -> Iterator[None]:
    """Keep files outside the room, and know no credentials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIPELINE_STORE_CACHE", str(room.parent / f"{room.name}-cache"))
        yield


@contextmanager
def _offline(room: Path) -> Iterator[None]:
    with _own_cache(room), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIPELINE_OFFLINE", "1")
        yield


KINDS = [
    Kind("address_other_kind", "a store at an address of a kind that is not read", _nothing, "train --store ftp://host/x.zarr --out new", 2, ("ftp://", "s3://")),
    Kind("address_without_bucket", "an address without a bucket", _nothing, "inspect s3://", 2, ("names no bucket", "s3://BUCKET/PATH")),
    Kind("address_with_password", "an address with a password", _nothing, "verify https://me:hidden@host/x.zarr", 2, ("must not hold a user or a password",)),
    Kind("address_signed", "a link with a signature", _nothing, "inspect https://host/x.zarr?sig=hidden", 2, ("`?` and `#`",)),
    Kind("address_of_the_hub_cut", "an address on the hub without the name of the data set", _nothing, "inspect hf://datasets/lab", 2, ("is not complete", "OWNER/NAME")),
    Kind("address_for_output", "an address where a store is to be written", _nothing, "extract --store s3://bucket/new.zarr", 2, ("s3://bucket/new.zarr", "network")),
    Kind("address_upgrade", "an address of a store to rewrite", _nothing, "upgrade s3://bucket/x.zarr", 2, ("s3://bucket/x.zarr", "network")),
    Kind("remote_nobody_there", "a store at a server that does not answer", _nothing, f"inspect {NOBODY} --offline", 1, ("is not whole in the cache",), _own_cache),
    Kind("remote_offline", "a store at an address, and nothing may be downloaded", _nothing, "evaluate --store s3://bucket/x.zarr", 1, ("s3://bucket/x.zarr", "never opened with this cache"), _offline),
    Kind("remote_verify_unreachable", "a store to verify at a server that does not answer", _nothing, f"verify {NOBODY}", 2, ("cannot be read", "Check the address and the network"), _own_cache),
    Kind("store_cache_size", "a size of the cache that is no size", _nothing, "train --store-cache-size much", 2, ("--store-cache-size much", "20GB")),
]  # fmt: skip
