"""Find the packages that this installation consists of."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stages.errors import PipelineError, UsageError
from stages.runtime.installation import DISTRIBUTION, checkout, missing_in_metadata

__all__ = ["installed_bytes", "pinned"]


def pinned(extras: Sequence[str]) -> dict[str, str]:
    """Return the packages that this package needs, with the versions that are installed here, this package first.

    Args:
        extras: Names of extras of this package.

    Returns:
        Version by name.

    Raises:
        UsageError: there is no such extra, or its packages are not installed here.
        PipelineError: this package, or one that it always needs, is not installed.
    """
    try:
        own = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise PipelineError(f"{DISTRIBUTION} is not installed here.\n  pip install {DISTRIBUTION}") from None
    source = checkout()
    if source is not None and (newer := missing_in_metadata(source)):
        raise UsageError(
            f"{source}: the source code is newer than this installation; it also needs {', '.join(newer)}.\n"
            f"  Install it again: pip install --editable {source}"
        )
    known = {canonicalize_name(name) for name in own.metadata.get_all("Provides-Extra") or []}
    if unknown := [name for name in extras if canonicalize_name(name) not in known]:
        raise UsageError(
            f"--extras {','.join(unknown)}: there is no such extra. Choose from {', '.join(sorted(known))}."
        )
    found: dict[str, str] = {}
    missing: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(DISTRIBUTION, extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        name = canonicalize_name(name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            missing.add(name)
            continue
        found[name] = distribution.version
        waiting += _needed_by(distribution, extra)
    if missing:
        wanted = f"[{','.join(extras)}]" if extras else ""
        raise UsageError(
            f"not installed here: {', '.join(sorted(missing))}. A bundle has the packages of this installation.\n"
            f"  pip install '{DISTRIBUTION}{wanted}'"
        )
    return found


def _needed_by(distribution: importlib.metadata.Distribution, extra: str) -> Iterator[tuple[str, str]]:
    """Yield (name, extra) of what a package needs on this machine; with an extra, only what the extra adds."""
    for line in distribution.requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        wanted = marker is not None and not always and marker.evaluate({"extra": extra}) if extra else always
        if wanted:
            yield from ((requirement.name, one) for one in ("", *requirement.extras))


def installed_bytes(names: Sequence[str]) -> int:
    """Return the bytes that packages take on this disk, as their lists of files say."""
    return sum(file.size or 0 for name in names for file in importlib.metadata.distribution(name).files or [])
