"""`pipeline inspect`: describe a store as JSON-ready values, print tables of them, and draw a picture of its heads."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.console import say, show_table
from stages.runtime.wording import counted
from store import AttentionStore
from store.disk.publish import replace_file
from store.errors import UsageError
from store.values import count_lost_classes


def describe_store(path: Path, *, stats: bool) -> dict[str, Any]:
    """Describe a store as values that are ready for JSON.

    Args:
        path: of the store.
        stats: also read every sample, and describe every class and every head.

    Raises:
        StoreError: it cannot be opened.
    """
    store = AttentionStore.open(path)
    description = store.description
    described: dict[str, Any] = {
        "store": str(path),
        "version": description.version,
        "count": len(store),
        "labelled": int(store.labelled.sum()),
        "classes": description.classes,
        "multilabel": store.multilabel,
        "instances": store.has("instances"),
        "groups": _describe_groups(store),
        "objects": _describe_objects(store),
        "heads": store.heads,
        "recipe": description.recipe,
        "recipe_sha256": description.recipe_sha256,
        "contents_sha256": description.contents_sha256,
        "upgraded_from": description.upgraded_from,
        "size": list(store.size),
        "masks": asdict(description.masks),
        "arrays": {name: _describe_array(store, name) for name in store.arrays},
        "files": sum(1 for file in path.rglob("*") if file.is_file()),
        "bytes": _bytes(path),
        "skipped": description.skipped,
    }
    if stats:
        from store.statistics import class_shares, head_statistics

        shares = class_shares(store)
        described["class_shares"] = shares and dict(zip(store.classes, shares, strict=True))
        described["head_statistics"] = [
            {key: None if value != value else value for key, value in asdict(head).items()}  # JSON has no nan  # noqa: PLR0124
            for head in head_statistics(store)
        ]
    return described


def show_store(described: dict[str, Any]) -> None:
    """Print the values of `describe_store` as tables."""
    show_table(
        described["store"],
        ["property", "value"],
        [
            ["version", str(described["version"])],
            ["samples", f"{described['count']} ({described['labelled']} with a mask)"],
            ["classes", ", ".join(described["classes"]) + ("; they may overlap" if described["multilabel"] else "")],
            *_rows_of_groups(described["groups"]),
            *_rows_of_objects(described),
            ["heads", f"{len(described['heads'])}: {', '.join(described['heads'])}"],
            ["on disk", f"{_readable(described['bytes'])} in {counted(described['files'], 'file')}"],
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
                _readable(array["bytes"]),
            ]
            for name, array in described["arrays"].items()
        ],
    )
    if described.get("class_shares"):
        rows = [[name, f"{share:.2%}"] for name, share in described["class_shares"].items()]
        show_table("classes", ["class", "share of pixels"], rows)
    if "head_statistics" in described:
        columns = ["head", "mean", "contrast", "separation"]
        show_table("heads", columns, [[head[column] for column in columns] for head in described["head_statistics"]])
    if described["skipped"]:
        say("\n".join(f"left out: {skipped['where']}: {skipped['what']}" for skipped in described["skipped"]))


def draw_store(path: Path, *, out: Path, samples: int) -> None:
    """Write a PNG of samples spread evenly over the store, with their masks and every head's map.

    Raises:
        StoreError: it cannot be opened or read.
        UsageError: `out` is not the name of a PNG, it exists and is not such a picture, or it lies inside an output.
    """
    import numpy as np

    from stages.outputs.places import require_outside
    from stages.pictures.heads import draw_heads

    if out.suffix.lower() != ".png" or (out.exists() and not out.is_file()):
        raise UsageError(f"--picture {out}: give the name of a .png file to write.")
    require_outside(out, option="--picture")
    _require_own_picture(out)
    store = AttentionStore.open(path)
    chosen = np.unique(np.linspace(0, len(store) - 1, samples).round().astype(np.int64))
    batch = store.read(chosen)
    masks = batch.mask if store.labelled[chosen].any() else None
    out.parent.mkdir(parents=True, exist_ok=True)
    picture = draw_heads(batch.image, batch.attention, heads=store.heads, masks=masks)
    _require_own_picture(out)
    replace_file(out, picture)


def _require_own_picture(path: Path) -> None:
    """Make sure that a picture replaces no other file than an earlier picture of heads.

    Raises:
        UsageError: there is another file.
    """
    from stages.pictures.marked import is_heads_picture

    if path.exists() and not is_heads_picture(path):
        raise UsageError(
            f"--picture {path}: `inspect` did not write this file, and it would be replaced.\n"
            "  Choose another name, or move the file away."
        )


def _describe_groups(store: AttentionStore) -> dict[str, Any]:
    """Return the number of groups, and the largest one; None for it if every sample is its own group."""
    sizes = Counter(map(str, store.column("group")))
    name, samples = min(sizes.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
    return {"count": len(sizes), "largest": {"name": name, "samples": samples} if samples > 1 else None}


def _describe_objects(store: AttentionStore) -> dict[str, Any] | None:
    """Return how many objects the masks had, and what is too small for the store; None if it was not recorded.

    Raises:
        StoreCorruptError: the column `lost_classes` has something else than classes.
    """
    if not all(store.has(name) for name in ("objects", "lost_objects", "lost_classes")):
        return None
    lost = store.column("lost_objects")
    return {
        "count": int(store.column("objects").sum()),
        "lost": int(lost.sum()),
        "samples_with_lost": int((lost > 0).sum()),
        "lost_classes": count_lost_classes(store),
    }


def _rows_of_groups(groups: dict[str, Any]) -> list[list[str]]:
    largest = groups["largest"]
    if largest is None:
        return [["groups", "every sample is a group of its own"]]
    return [
        ["groups", f"{groups['count']}; the largest is {largest['name']} ({counted(largest['samples'], 'sample')})"]
    ]


def _rows_of_objects(described: dict[str, Any]) -> list[list[str]]:
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


def _describe_array(store: AttentionStore, name: str) -> dict[str, Any]:
    array = store.arrays[name]
    sharded = name in store.description.sharded
    return {
        "shape": list(array.shape),
        "dtype": array.data_type,
        "chunks": [1, *array.shape[1:]] if sharded else list(array.chunk_shape),
        "shards": list(array.chunk_shape) if sharded else None,
        "bytes": _bytes(store.path / name),
    }


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _extents(extents: list[int]) -> str:
    return " × ".join(str(extent) for extent in extents)


def _readable(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:  # noqa: PLR2004 - the units are powers of 1024
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
