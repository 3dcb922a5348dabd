"""Write the list of a bundle's files, `MANIFEST.json`.

bundle       1, the version of this list
package      name and version of this package, with its extras
python       version of Python, such as 3.11
platform     such as linux-x86_64
packages     version by name
weights      file, model, licence and source of each weights file
files        path with / → sha256 and bytes
"""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.outputs.kinds import MANIFEST_FILE

__all__ = ["write_manifest"]

VERSION = 1


def write_manifest(
    folder: Path, *, package: str, packages: Mapping[str, str], weights: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """Hash all files of a bundle, write the list into it and return its content."""
    files = {}
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[path.relative_to(folder).as_posix()] = {"sha256": digest, "bytes": path.stat().st_size}
    content = {
        "bundle": VERSION,
        "package": package,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "platform": sysconfig.get_platform(),
        "packages": dict(packages),
        "weights": list(weights),
        "files": files,
    }
    (folder / MANIFEST_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return content
