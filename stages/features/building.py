"""Write a store whose maps are reduced features: everything else is copied from another store."""

from __future__ import annotations

import dataclasses
import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.attention.foreign_text import quoted
from stages.attention.recipe import FEATURES
from stages.errors import InputProblemsError, Problem, UsageError
from stages.features.found import Features, FoundFeatures
from stages.features.placing import Region, place, step_of
from stages.features.reduction import Components, as_maps, fit
from stages.imaging.image_rules import STRETCH, ImageRules
from stages.imaging.samples import normal_id
from stages.runtime.progress import Progress
from stages.settings.features import MapsSettings
from store import AttentionStore, Sample
from store.disk.regular import hash_regular
from store.upgrade import layout_of
from store.writer import Layout, new_store

__all__ = ["Built", "build", "licence_of_encoder"]

FITTED_ON = 100_000
"""Most feature vectors that the components are fitted on."""
FINEST = 4
"""Pixels of the store's images along the side of the smallest cell of a grid that is chosen by itself."""
WHOLE: Region = (0.0, 0.0, 1.0, 1.0)


class _FeatureLayout(Layout):
    """Layout of a store whose maps are features."""

    def attributes(self, name: str) -> dict[str, Any]:
        """Return a sharded array's attributes for other readers."""
        attributes = super().attributes(name)
        return {**attributes, "long_name": "reduced features, exp(z - 4)"} if name == "attention" else attributes


@dataclass(frozen=True, kw_only=True)
class Built:
    """Report what was written."""

    samples: int
    grid: tuple[int, int]
    components: Components
    covered: float
    """Mean share of the cells that have features, 0 to 1."""
    left_out: Sequence[str]
    """Ids of samples without features."""
    unused: Sequence[str]
    """Ids of features that no sample has."""


def build(settings: MapsSettings, store: AttentionStore, found: FoundFeatures, progress: Progress) -> Built:
    """Write the store.

    Raises:
        UsageError: images and features do not fit together, or there are too few features.
        InputProblemsError: files cannot be used, or samples have no features and are not to be left out.
    """
    _require_placeable(store)
    names, number_of = _parents(store)
    missing = sorted(set(names) - found.files.keys())
    if missing and (settings.on_error == "stop" or len(missing) == len(names)):
        raise InputProblemsError(
            [Problem(one, f"has no features in {settings.features}") for one in missing],
            "Compute their features, or leave these images out with --on-error skip. The names of image and features "
            "must be equal, without endings.",
        )
    used = [one for one in names if one in found.files]
    components, step, relative = _fit(settings, found, used, progress)
    order = np.flatnonzero(np.array([one in found.files for one in names], np.bool_)[number_of])
    grid = settings.grid or _grid(store, order, step, relative=relative)
    _require_grid(grid, store)
    layout = _layout(store, settings, found, grid)
    recipe = _recipe(settings, store, found, used, components, layout)
    shares = array("d")
    with new_store(settings.out, layout=layout, recipe=recipe) as writer:
        writer.skipped += [dict(one) for one in store.description.skipped]
        writer.skipped += [{"where": one, "what": "has no features"} for one in missing]
        with progress.task("placing features", len(order)) as task:
            for sample, features, values in _with_features(store, order, names, number_of, found, components):
                region = _region(sample, features)
                placed, share = place(features, values, region, grid)
                shares.append(share)
                writer.append(dataclasses.replace(sample, attention=as_maps(placed)))
                task.advance()
        if not any(shares):
            raise UsageError(
                f"{settings.features}: no tile with features lies in an image of {store.path}. Coordinates must be in "
                "pixels of the image files (level 0)."
            )
    return Built(
        samples=len(order),
        grid=grid,
        components=components,
        covered=float(np.mean(shares)),
        left_out=missing,
        unused=sorted(found.files.keys() - set(names)),
    )


def _require_placeable(store: AttentionStore) -> None:
    """Make sure that the place of every sample in its image file is known.

    Raises:
        UsageError: it is not.
    """
    if ImageRules.from_dict(store.description.images).fit != STRETCH:
        raise UsageError(f"{store.path}: its images were padded. Extract the store with --fit stretch.")
    if store.has("slice") and np.any(store.column("slice") != 0):
        raise UsageError(f"{store.path}: holds slices of scans, and features of tiles belong to flat images.")


def _parents(store: AttentionStore) -> tuple[list[str], NDArray[np.int32]]:
    """Return the ids of the image files, and for every sample the position of its own among them, (sample,)."""
    names: dict[str, int] = {}
    numbers = [np.empty(0, np.int32)]
    for texts in store.columns.texts("parent" if store.has("parent") else "sample"):
        differs = texts.differs_from_previous()
        some = [normal_id(one.decode()) for one in texts.chosen(np.flatnonzero(differs))]
        found = np.array([names.setdefault(one, len(names)) for one in some], np.int32)
        numbers.append(found[np.cumsum(differs) - 1])
    return list(names), np.concatenate(numbers)


def _fit(
    settings: MapsSettings, found: FoundFeatures, used: Sequence[str], progress: Progress
) -> tuple[Components, tuple[float, float], bool]:
    """Fit the components on features drawn from all images; return the smallest step of the tiles too."""
    random = np.random.default_rng(settings.seed)
    share = max(1, FITTED_ON // len(used))
    drawn: list[NDArray[np.float32]] = []
    steps: list[tuple[float, float]] = []
    problems: list[Problem] = []
    kinds: set[tuple[int, bool]] = set()
    for identifier in progress.track(used, "reading features"):
        try:
            features = found.read(identifier)
        except InputProblemsError as error:
            problems += error.problems
            continue
        if not len(features.values):
            problems.append(Problem(str(found.files[identifier]), "has no features: no tile of the image was used"))
            continue
        kinds.add((features.values.shape[1], features.relative))
        if len(kinds) > 1:
            problems.append(
                Problem(
                    str(found.files[identifier]),
                    f"has features of {features.values.shape[1]} dimensions, and others have "
                    f"{', '.join(str(one) for one, _ in sorted(kinds) if one != features.values.shape[1])}",
                )
            )
            break
        count = len(features.values)
        drawn.append(features.values[random.permutation(count)[:share]])
        steps.append(step_of(features))
    if problems:
        raise InputProblemsError(problems)
    components = fit(np.concatenate(drawn), settings.components)
    return components, (min(one[0] for one in steps), min(one[1] for one in steps)), next(iter(kinds))[1]


def _grid(
    store: AttentionStore, order: NDArray[np.int64], step: tuple[float, float], *, relative: bool
) -> tuple[int, int]:
    """Return the grid with cells of the size of a step in the largest sample, at most one cell per 4 pixels."""
    heights, widths = (store.column(name)[order].max() for name in ("height", "width"))
    extents = (1.0, 1.0) if relative else (float(heights), float(widths))
    rows, columns = (
        max(1, min(round(extent / one), side // FINEST))
        for extent, one, side in zip(extents, step, store.size, strict=True)
    )
    return rows, columns


def _require_grid(grid: tuple[int, int], store: AttentionStore) -> None:
    if not all(1 <= one <= side for one, side in zip(grid, store.size, strict=True)):
        raise UsageError(f"--grid {grid[0]},{grid[1]}: must be from 1,1 to the size of the images, {store.size}.")


def _layout(store: AttentionStore, settings: MapsSettings, found: FoundFeatures, grid: tuple[int, int]) -> Layout:
    """Return the layout of the store, with the licence of the encoder in place of that of the former transformer."""
    own = layout_of(store)
    fields = {field.name: getattr(own, field.name) for field in dataclasses.fields(Layout)}
    heads = [f"F{number}" for number in range(settings.components)]
    changed = {
        "heads": heads,
        "grid": grid,
        "keys": grid[0] * grid[1],
        "weights_licence": licence_of_encoder(settings, found),
    }
    return _FeatureLayout(**{**fields, **changed})


def licence_of_encoder(settings: MapsSettings, found: FoundFeatures) -> str:
    """Return the licence of the encoder that computed the features, in words; files of features do not state it."""
    encoder = f"the encoder {quoted(found.encoder)}" if found.encoder else "the encoder"
    return settings.licence or f"unknown (the terms of {encoder} bind what you make with its features)"


def _recipe(
    settings: MapsSettings,
    store: AttentionStore,
    found: FoundFeatures,
    used: Sequence[str],
    components: Components,
    layout: Layout,
) -> dict[str, Any]:
    """Return all that determines the maps."""
    digests = "".join(
        f"{hash_regular(file)} {one}\n"
        for one in sorted(used)
        for file in (found.files[one], *found.further.get(one, ()))
    )
    return {
        "model": f"features:{found.encoder or found.format}",
        "heads": list(layout.heads),
        "layers": [],
        "grid": list(layout.grid),
        FEATURES: {
            "format": found.format,
            "encoder": found.encoder,
            "components": settings.components,
            "dimensions": len(components.mean),
            "explained": components.explained,
            "fitted_on": components.fitted_on,
            "seed": settings.seed,
            "components_sha256": components.sha256,
            "files_sha256": hashlib.sha256(digests.encode()).hexdigest(),
            "from_contents_sha256": store.description.contents_sha256,
        },
    }


def _with_features(
    store: AttentionStore,
    order: NDArray[np.int64],
    names: Sequence[str],
    number_of: NDArray[np.int32],
    found: FoundFeatures,
    components: Components,
) -> Iterator[tuple[Sample, Features, NDArray[np.float32]]]:
    """Yield samples with the features of their image; those of one image that follow each other read it once."""
    last: tuple[int, Features, NDArray[np.float32]] | None = None
    for position in map(int, order):
        parent = int(number_of[position])
        if last is None or last[0] != parent:
            features = found.read(names[parent])
            last = parent, features, components.apply(features.values)
        yield store[position], last[1], last[2]


def _region(sample: Sample, features: Features) -> Region:
    """Return the region of a sample in the units of its features.

    Raises:
        UsageError: the features belong to the whole image, and the sample is a tile of it.
    """
    if not features.relative:
        return float(sample.row or 0), float(sample.column or 0), float(sample.height), float(sample.width)
    if sample.parent is not None and sample.parent != sample.id:
        raise UsageError(
            f"{sample.id}: is a tile, and its features are those of a whole image. Extract the store without --tile."
        )
    return WHOLE
