"""Addresses on the network where a path on this machine is needed.

Stores, runs and images are read and written on local paths only; remote ones are DVC's business. An
address given for a path is refused by what it looks like. Otherwise `s3://bucket/x.zarr` would be a
folder that does not exist, or worse, one called `s3:` that is made.
"""

from __future__ import annotations

import re
from pathlib import Path

from store.errors import UsageError

# A path collapses `//` into `/`. At least two letters: `c:/` is a drive.
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:[/\\]", re.IGNORECASE)


def require_local(path: Path) -> None:
    """Make sure that a path is one of this machine.

    Raises:
        UsageError: it is the address of something on the network.
    """
    if ADDRESS.match(str(path)) and not path.exists():
        address = ADDRESS.sub(lambda found: f"{found[0][:-1]}//", str(path), count=1)
        raise UsageError(
            f"{address}: is an address on the network; only files and folders of this machine are read and written.\n"
            "  Fetch it first (`dvc pull`, `dvc get`) or mount it, and give the path."
        )
