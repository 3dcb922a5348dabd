"""Parse the addresses of stores in object stores and on web servers.

| address | store |
|---|---|
| `s3://bucket/path` | Amazon S3, or a server that speaks its protocol |
| `gs://bucket/path` | Google Cloud Storage |
| `az://container/path` | Azure Blob Storage |
| `https://host/path` | a web server |
| `hf://datasets/owner/name@revision/path` | a data set on the Hugging Face Hub; without `datasets/` a model |
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from store.errors import UsageError
from store.remote.cache import CacheSettings

__all__ = ["ADDRESS", "SCHEMES", "Place", "RemoteAddress", "place_of"]

SCHEMES = ("s3", "gs", "az", "https", "http", "hf")
"""The kinds of addresses that stores are read from."""

ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):[/\\]{1,2}(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
"""An address. A `Path` collapses `//` into `/`. At least two letters: `c:/` is a drive."""

REPOSITORY_KINDS = ("datasets", "spaces")
"""First parts of an address on the Hugging Face Hub that are no owner."""


@dataclass(frozen=True)
class RemoteAddress:
    """Hold the address of a store, and how it is cached on this machine."""

    scheme: str
    """One of `SCHEMES`."""
    rest: str
    """All after `scheme://`: the bucket, container or host, and the path; without a `/` at the end."""
    cache: CacheSettings | None = field(default=None, compare=False, repr=False)
    """Settings of the cache; None for those of the environment."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.rest}"

    def __fspath__(self) -> str:
        """Refuse to be used as a path of this machine.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"{self}: is an address on the network, and a file or folder of this machine is needed here.\n"
            "  Copy it to this machine, and give the path."
        )

    @property
    def name(self) -> str:
        """The last part, such as `isic.zarr`."""
        return self.rest.rpartition("/")[2]

    @property
    def bucket(self) -> str:
        """The bucket, the container or the host."""
        return self.rest.partition("/")[0]

    @property
    def path(self) -> str:
        """The path in the bucket or on the host; may be empty."""
        return self.rest.partition("/")[2]

    def with_cache(self, cache: CacheSettings) -> RemoteAddress:
        """Return the same address with other settings of the cache."""
        return replace(self, cache=cache)

    def resolved(self, endpoint: str) -> RemoteAddress:
        """Return the web address of a store on the Hugging Face Hub; any other address unchanged.

        Args:
            endpoint: the hub, such as `https://huggingface.co`.
        """
        if self.scheme != "hf":
            return self
        parts = self.rest.split("/")
        kind = [parts.pop(0)] if parts[0] in REPOSITORY_KINDS else []
        owner, name, *path = parts
        name, _, revision = name.partition("@")
        scheme, _, host = endpoint.rstrip("/").partition("://")
        rest = "/".join([host, *kind, owner, name, "resolve", (revision or "main").replace("/", "%2F"), *path])
        return RemoteAddress(scheme, rest.rstrip("/"), self.cache)


Place: TypeAlias = Path | RemoteAddress
"""Place of a store: a path on this machine, or an address."""


def place_of(place: str | Path | RemoteAddress) -> Place:
    """Return the path or the address that a text stands for. A path that exists here is no address.

    Raises:
        UsageError: it is an address of another kind, or an incomplete one.
    """
    if isinstance(place, RemoteAddress):
        return place
    found = ADDRESS.fullmatch(str(place))
    if found is None or Path(place).exists():
        return Path(place)
    scheme = found["scheme"].lower()
    address = RemoteAddress(scheme, found["rest"].replace("\\", "/").strip("/"))
    if scheme not in SCHEMES:
        raise UsageError(
            f"{scheme}://…: stores are not read from this kind of address; they are read from "
            f"{', '.join(f'{one}://' for one in SCHEMES if one != 'http')}, and from folders.\n"
            "  Copy the store to one of these, or to a folder of this machine."
        )
    if not address.bucket:
        raise UsageError(f"{address}: names no bucket, container or host. Give {EXAMPLES[scheme]}.")
    if "@" in address.bucket and scheme != "hf":  # never print what comes before it
        raise UsageError(
            f"{scheme}://…@{address.bucket.rpartition('@')[2]}: an address must not hold a user or a password.\n"
            "  Leave them out; docs/remote.md says how credentials are given."
        )
    if scheme in {"https", "http", "hf"} and set("?#") & set(address.rest):
        raise UsageError(
            f"{scheme}://{address.rest.partition('?')[0].partition('#')[0]}…: `?` and `#` cannot be used here.\n"
            "  Give the address of the store's folder alone. Links that are signed file by file do not work."
        )
    if {".", "..", ""} & set(address.rest.split("/")):
        raise UsageError(f"{address}: `.`, `..` and empty parts cannot be used in an address. Leave them out.")
    least = 3 if address.bucket in REPOSITORY_KINDS else 2
    if scheme == "hf" and len(address.rest.split("/")) < least:
        raise UsageError(f"{address}: is not complete. Give {EXAMPLES[scheme]}.")
    return address


EXAMPLES = {
    "s3": "s3://BUCKET/PATH",
    "gs": "gs://BUCKET/PATH",
    "az": "az://CONTAINER/PATH",
    "https": "https://HOST/PATH",
    "http": "https://HOST/PATH",
    "hf": "hf://datasets/OWNER/NAME/PATH or hf://OWNER/NAME/PATH",
}
"""The form of every kind of address."""
