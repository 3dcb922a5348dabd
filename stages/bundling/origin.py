"""Find out from where this package was installed: an index of packages, a folder, a wheel or a repository."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from stages.errors import PipelineError
from stages.runtime.installation import DISTRIBUTION, checkout

__all__ = ["origin"]


def origin() -> Path | str | None:
    """Return from where the wheel of this package can be had once more.

    Returns:
        The folder with the source code, or a wheel, of which it was made; or an address as pip takes it, such as
        `git+https://host/repository@commit`; None if it came from an index of packages.

    Raises:
        PipelineError: the folder or the wheel is not there any more.
    """
    source = checkout()
    if source is not None:
        return source
    # https://packaging.python.org/en/latest/specifications/direct-url/
    text = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    if text is None:
        return None
    found = json.loads(text)
    address = str(found["url"])
    if "vcs_info" in found:
        return f"{found['vcs_info']['vcs']}+{address}@{found['vcs_info']['commit_id']}{_fragment(found)}"
    if not address.startswith("file:"):
        return address + _fragment(found)
    path = Path(unquote(urlsplit(address).path))
    if not path.is_file() and not (path / "pyproject.toml").is_file():
        raise PipelineError(
            f"{path}: {DISTRIBUTION} was installed from there, and it is gone. A bundle needs it for the wheel.\n"
            "  Put it back, or install the package again from where it is now."
        )
    return path


def _fragment(found: Mapping[str, Any]) -> str:
    """Return what comes behind an address: the folder of the package in it, and the hash by which pip checks it."""
    hashes = found.get("archive_info", {}).get("hashes", {})
    parts = {name: hashes[name] for name in ("sha256",) if name in hashes}
    if "subdirectory" in found:
        parts["subdirectory"] = found["subdirectory"]
    return "#" * bool(parts) + "&".join(f"{name}={value}" for name, value in parts.items())
