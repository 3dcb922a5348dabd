"""Choose and check the path of an export before any work."""

from __future__ import annotations

from pathlib import Path

from stages.errors import UsageError
from stages.exporting.formats import FORMATS, Format, Source
from stages.outputs.places import require_outside
from stages.settings import ExportSettings
from store.disk.contents import is_empty

__all__ = ["FOLDER", "place_of", "require_free", "source_of"]

FOLDER = Path("exports")
"""Folder of exports whose path is not given."""


def source_of(settings: ExportSettings) -> Source:
    """Return which setting names what is exported.

    Raises:
        UsageError: the format cannot be made of what is named.
    """
    sources = FORMATS[settings.format].sources
    given: list[Source] = [name for name in ("predictions", "store") if getattr(settings, name) is not None]
    if sources == ("run",) and given == ["store"]:  # the store to check the network with
        return "run"
    if unusable := next((name for name in given if name not in sources), None):
        raise UsageError(
            f"--{unusable} {getattr(settings, unusable)}: `{settings.format}` is not made of it, but of "
            f"{_options(sources)}."
        )
    if len(given) > 1:
        raise UsageError(f"--predictions and --store are both given. Give one: `{settings.format}` is made of either.")
    if not given and "run" not in sources:
        raise UsageError(f"--format {settings.format} is made of {_options(sources)}: give it.")
    return given[0] if given else "run"


def _options(sources: tuple[Source, ...]) -> str:
    return " or ".join(f"--{source}" for source in sources)


def place_of(settings: ExportSettings) -> Path:
    """Return the path that is written: the one given, or one in `exports/` with the name of what is exported.

    Raises:
        UsageError: as in `source_of`.
    """
    if settings.out is not None:
        return settings.out
    source: Path = getattr(settings, source_of(settings))
    name = source.resolve().name.removesuffix(".zarr")
    entry = FORMATS[settings.format]
    return FOLDER / (f"{name}{entry.ending}" if entry.ending else f"{name}-{settings.format}")


def require_free(out: Path, settings: ExportSettings) -> None:
    """Make sure that an export may be written to a path.

    Raises:
        UsageError: its name has another ending, it lies inside another output, it is or contains what is read, or there
            is something that this program did not write in this format.
    """
    entry = FORMATS[settings.format]
    if entry.ending and out.suffix.lower() != entry.ending:
        raise UsageError(
            f"--out {out}: a file of the format {settings.format} needs a name that ends in {entry.ending}."
        )
    require_outside(out, option="--out")
    if above := next((folder for folder in out.parents if folder.exists() and not folder.is_dir()), None):
        raise UsageError(f"--out {out}: {above} is a file, and no folder can be made there. Choose another path.")
    if not entry.ending:
        _require_apart(out, settings)
    _require_ours(out, entry, settings.format)


def _require_ours(out: Path, entry: Format, name: str) -> None:
    """Make sure that a file or folder at the path is an earlier export in the same format."""
    if entry.ending and out.is_dir():
        raise UsageError(f"--out {out}: is a folder, and `{name}` is a file.\n  Give {out / f'model{entry.ending}'}.")
    if not out.exists() and not out.is_symlink():
        return
    if not entry.ending and out.is_dir() and is_empty(out):
        return
    if not entry.is_ours(out):
        raise UsageError(
            f"--out {out}: is not, or not only, an earlier export as `{name}`, and would be replaced.\n"
            "  Choose another name, or move it away."
        )


def _require_apart(out: Path, settings: ExportSettings) -> None:
    """Make sure that a folder that is replaced does not hold what is read, or the current folder."""
    place = out.resolve()
    read = {f"--{name}": getattr(settings, name) for name in ("run", "predictions", "store", "weights")}
    for option, path in {**read, "the current folder": Path()}.items():
        if path is not None and place in (there := path.resolve(), *there.parents):
            raise UsageError(
                f"--out {out}: is or contains {option}{'' if path == Path() else f' {path}'}, and the whole folder "
                "would be replaced.\n  Choose another path."
            )
