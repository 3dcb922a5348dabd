"""Print what `pipeline.inspection` found in a store: first what a person asks about the data, the rest on request."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.console import say, say_literally, show_table
from stages.runtime.wording import counted

MOST_SKIPPED = 5
"""Inputs that were left out which are listed without `--all`."""


def show_store(
    described: Mapping[str, Any],
    *,
    everything: bool = False,
    shares: Mapping[str, float] | None = None,
    picture: Path | None = None,
) -> None:
    """Print the values of `describe_store` as tables.

    Args:
        described: values of `describe_store`.
        everything: also print the recipe, the version, the names of all heads, and every array.
        shares: share of pixels of every class, 0 to 1; None if they are not known.
        picture: file of the picture that was drawn; None if none was.
    """
    show_table(described["store"], ["property", "value"], [*_rows_of_data(described, shares)])
    if everything:
        _show_details(described)
    if described.get("class_shares"):
        rows = [[name, f"{share:.2%}"] for name, share in described["class_shares"].items()]
        show_table("classes", ["class", "share of pixels"], rows)
    if "head_statistics" in described:
        columns = ["head", "mean", "contrast", "separation"]
        show_table("heads", columns, [[head[column] for column in columns] for head in described["head_statistics"]])
    _say_skipped(described["skipped"], everything=everything)
    if not everything:
        store = shlex.quote(described["store"])
        drawing = "" if picture else f"one picture of the heads: pipeline inspect {store} --picture heads.png\n"
        say_literally(
            f"see the samples: pipeline view {store}\n{drawing}recipe and arrays: pipeline inspect {store} --all"
        )
    if picture:
        say_literally(f"result: {picture}")


def _rows_of_data(described: Mapping[str, Any], shares: Mapping[str, float] | None) -> list[list[str]]:
    """Return the rows that describe the images and their masks."""
    size = _extents(described["size"])
    sizes = described["original_sizes"]
    what = "the tiles cover" if (described.get("parents") or {}).get("tile") else "the images have"
    images = f"; {what} {_range(sizes['height'])} × {_range(sizes['width'])}" if sizes else ""
    part = described.get("part")
    return [
        *([["part", f"{part['number']} of {part['of']}; pipeline merge joins them"]] if part else []),
        ["samples", f"{described['count']} ({described['labelled']} with a mask)"],
        *_rows_of_parents(described.get("parents")),
        *_rows_of_splits(described.get("splits")),
        ["classes", _classes(described, shares)],
        *_rows_of_groups(described["groups"]),
        ["size", f"{size} pixels in the store{images}"],
        *_rows_of_objects(described),
        ["attention", _attention(described)],
        ["licence of its weights", described["weights_licence"]],
        *([["licence of the run", described["run_licence"]]] if described.get("run_licence") else []),
        *_rows_of_files(described),
    ]


def _rows_of_files(described: Mapping[str, Any]) -> list[list[str]]:
    """Return how much a store fills of the disk; nothing for one at an address."""
    if described["bytes"] is None:
        return []
    return [["on disk", f"{_readable(described['bytes'])} in {counted(described['files'], 'file')}"]]


def _show_details(described: Mapping[str, Any]) -> None:
    show_table(
        "recipe",
        ["property", "value"],
        [
            ["version", str(described["version"])],
            ["heads", f"{len(described['heads'])}: {', '.join(described['heads'])}"],
            ["recipe", described["recipe_sha256"][:16]],
            *([f"  {key}", str(value)] for key, value in described["recipe"].items() if key != "heads"),
        ],
    )
    show_table(
        "arrays",
        ["array", "shape", "dtype", "chunks", "shards", "on disk"],
        [
            [
                name,
                _extents(array["shape"]),
                array["dtype"],
                _extents(array["chunks"]),
                _extents(array["shards"]) if array["shards"] else "-",
                "-" if array["bytes"] is None else _readable(array["bytes"]),
            ]
            for name, array in described["arrays"].items()
        ],
    )


def _say_skipped(skipped: list[dict[str, str]], *, everything: bool) -> None:
    """Say which inputs `extract` left out, and why."""
    shown = skipped if everything else skipped[:MOST_SKIPPED]
    lines = [f"left out: {one['where']}: {one['what']}" for one in shown]
    if len(shown) < len(skipped):
        lines.append(f"left out: {len(skipped) - len(shown)} more; --all lists them")
    if lines:
        say("\n".join(lines))


def _classes(described: Mapping[str, Any], shares: Mapping[str, float] | None) -> str:
    """Return the names of the classes, each with its share of the pixels if it is known."""
    known = shares or {}
    names = [f"{name} {known[name]:.1%}" if name in known else name for name in described["classes"]]
    unit = " of the pixels" if known else ""
    return ", ".join(names) + unit + ("; they may overlap" if described["multilabel"] else "")


def _attention(described: Mapping[str, Any]) -> str:
    """Return the number of heads, the size of a map and the model."""
    *_, rows, columns = described["arrays"]["attention"]["shape"]
    model = described["recipe"].get("model", "")
    return f"{counted(len(described['heads']), 'map')} of {rows} × {columns}" + (f" by {model}" if model else "")


def _rows_of_splits(splits: Mapping[str, int] | None) -> list[list[str]]:
    if splits is None:
        return []
    text = ", ".join(f"{name} {splits[name]}" for name in ("train", "val", "test", "unlabelled") if name in splits)
    return [["splits", text + (f"; the run does not know {splits['none']}" if splits["none"] else "")]]


def _rows_of_parents(parents: Mapping[str, Any] | None) -> list[list[str]]:
    """Return the row about the images that the samples are parts of."""
    if parents is None:
        return []
    parts = " and ".join(
        [*(["slices"] if parents["slices"] else []), *(["tiles"] if parents["tile"] is not None else [])]
    )
    text = f"{parts or 'parts'} of {counted(parents['count'], 'image')}"
    if tile := parents["tile"]:
        text += f"; a tile has {_extents(tile['size'])} pixels"
        if tile.get("overlap"):
            text += f", overlapping by {tile['overlap']}"
        if "micrometres" in tile:
            text += f", of {tile['micrometres']:g} um"
        elif "reduction" in tile:
            text += f", at 1/{tile['reduction']:g} of the resolution"
    return [["parts", text]]


def _rows_of_groups(groups: Mapping[str, Any]) -> list[list[str]]:
    largest = groups["largest"]
    if largest is None:
        return [["groups", "every sample is a group of its own"]]
    return [
        ["groups", f"{groups['count']}; the largest is {largest['name']} ({counted(largest['samples'], 'sample')})"]
    ]


def _rows_of_objects(described: Mapping[str, Any]) -> list[list[str]]:
    objects, rows = described["objects"], []
    if objects is not None:
        text = f"{objects['count']} in the mask files"
        if objects["lost"]:
            size = _extents(described["size"])
            lost = f"{objects['lost']} in {counted(objects['samples_with_lost'], 'sample')}"
            text += f"; too small for {size} pixels: {lost}"
        rows = [["objects", text]]
        if objects["lost_classes"]:
            lost = ", ".join(f"{name} in {counted(count, 'sample')}" for name, count in objects["lost_classes"].items())
            rows.append(["lost classes", lost])
    return [*rows, ["instances", "yes, objects are numbered"]] if described["instances"] else rows


def _range(extremes: list[int]) -> str:
    """Return the smallest and the largest value, or the only one."""
    low, high = extremes
    return str(low) if low == high else f"{low}-{high}"


def _extents(extents: list[int]) -> str:
    return " × ".join(str(extent) for extent in extents)


def _readable(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:  # noqa: PLR2004 - the units are powers of 1024
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
