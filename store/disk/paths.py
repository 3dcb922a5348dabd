"""Refuse addresses on the network where a local path is needed.

Runs and images are read, and everything is written, on local paths only; DVC moves them from and to other machines.
Commands that only read a store take its address (`store.remote.address`). An address is recognised by its form.
Otherwise `s3://bucket/x.zarr` would be reported as a missing folder, or a folder called `s3:` would be created.
"""

from __future__ import annotations

import re
from pathlib import Path

from store.errors import UsageError

# A path collapses `//` into `/`. At least two letters: `c:/` is a drive.
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:[/\\]", re.IGNORECASE)


def require_local(path: Path) -> None:
    """Make sure that a path is local.

    Raises:
        UsageError: it is an address on the network.
    """
    if ADDRESS.match(str(path)) and not path.exists():
        address = ADDRESS.sub(lambda found: f"{found[0][:-1]}//", str(path), count=1)
        raise UsageError(
            f"{address}: is an address on the network; only files and folders of this machine are read and written.\n"
            "  Fetch it first (`dvc pull`, `dvc get`) or mount it, and give the path."
        )
