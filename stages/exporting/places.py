"""Choose and check the path of an export before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stages.errors import UsageError
from stages.exporting.formats import FORMATS, Source
from stages.outputs.places import require_outside, require_own_folder
from stages.settings import ExportSettings
from store.disk.contents import Output

__all__ = ["FOLDER", "place_of", "require_free", "source_of"]

FOLDER = Path("exports")
"""Folder of exports whose path is not given."""


def source_of(settings: ExportSettings) -> Source:
    """Return which setting names what is exported.

    Raises:
        UsageError: the format cannot be made of what is named.
    """
    sources = FORMATS[settings.format].sources
    if sources == ("run",) and settings.classes is not None:
        raise UsageError(
            f"--classes {settings.classes}: is for formats of viewers, which are made of --predictions or --store. "
            f"`{settings.format}` has the classes of the run: leave it out."
        )
    if settings.pixel_mm is not None and settings.predictions is None:
        raise UsageError(
            f"--pixel-mm {settings.pixel_mm:g}: is for --predictions. A store says the size of its pixels itself: "
            "leave it out."
        )
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
    if isinstance(entry.ours, Output):
        read = {f"--{name}": getattr(settings, name) for name in ("run", "predictions", "images", "store", "weights")}
        require_own_folder(out, entry.ours, option="--out", others=read)
    else:
        _require_own_file(out, settings.format, entry.ending, entry.ours)
    if above := next((folder for folder in out.parents if folder.exists() and not folder.is_dir()), None):
        raise UsageError(f"--out {out}: {above} is a file, and no folder can be made there. Choose another path.")


def _require_own_file(out: Path, name: str, ending: str, ours: Callable[[Path], bool]) -> None:
    """Make sure that a file may be written, and that one that exists is an earlier export in the same format."""
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder, and `{name}` is a file.\n  Give {out / f'model{ending}'}.")
    if out.suffix.lower() != ending:
        raise UsageError(f"--out {out}: a file of the format {name} needs a name that ends in {ending}.")
    require_outside(out, option="--out")
    if (out.exists() or out.is_symlink()) and not ours(out):
        raise UsageError(
            f"--out {out}: is no earlier export as `{name}`, and would be replaced.\n"
            "  Choose another name, or move the file away."
        )
