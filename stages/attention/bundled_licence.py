"""Find the licence of a weights file that lies in a folder of `pipeline bundle`.

The folder has `weights/<file>` and `MANIFEST.json`, which says the licence and the SHA-256 of every file. So a file
that was carried to another machine still says its licence. A file that was replaced since has another digest, and then
nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stages.outputs.kinds import MANIFEST_FILE
from stages.outputs.marks import json_of
from stages.runs.licences import is_unknown
from store.disk.regular import hash_regular

__all__ = ["licence_in_bundle"]

WEIGHTS = "weights"


def licence_in_bundle(file: Path) -> str:
    """Return the licence that the bundle around a weights file states; "" outside a bundle, or if it is not known."""
    folder = file.resolve().parent
    if folder.name != WEIGHTS:
        return ""
    manifest = json_of(folder.parent / MANIFEST_FILE)
    listed, files = manifest.get("weights"), manifest.get("files")
    if not isinstance(listed, list) or not isinstance(files, Mapping):
        return ""
    rows = [row for row in listed if isinstance(row, Mapping) and row.get("file") == file.name]
    described = files.get(f"{WEIGHTS}/{file.name}")
    if not rows or not isinstance(described, Mapping):
        return ""
    try:
        digest = hash_regular(file)
    except OSError:
        return ""
    licence = str(rows[0].get("licence") or "")
    return "" if digest != described.get("sha256") or is_unknown(licence) else licence
