"""Add optional parts with a fixed meaning to a draft: the changes that `optional_cases` are made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.store.conformance.changes import Change
from tests.store.conformance.draft import Draft

COLUMNS = {"objects": "int32", "lost_objects": "int32", "lost_classes": "string", "perceptual_hash": "string"}
RULES = {"labels": "classes", "threshold": 0.5, "unclear": 0.05}
SMALL = {"objects": 1, "lost_objects": 1, "lost_classes": "1"}
"""Values of sample 0. Its mask is empty, because its only object is too small."""


def columns(draft: Draft, edits: dict[str, dict[int, Any]] | None = None) -> None:
    """Add the columns about objects and images. `edits`: other values, by column and sample."""
    labelled = [bool((mask != 255).any()) for mask in draft.masks()]
    values: dict[str, list[Any]] = {
        "objects": [2 if one else 0 for one in labelled],
        "lost_objects": [0 for _ in labelled],
        "lost_classes": ["" for _ in labelled],
        "perceptual_hash": [f"{sample:016x}" if sample else "" for sample, _ in enumerate(labelled)],
    }
    for name, value in SMALL.items():
        values[name][0] = value
    for name, data_type in COLUMNS.items():
        for sample, value in (edits or {}).get(name, {}).items():
            values[name][sample] = value
        draft.add_column(name, values[name], data_type)


def instances(draft: Draft, edit: Callable[[np.ndarray], object] = lambda _: None, dtype: str = "uint16") -> None:
    """Add instances: two objects, left and right, of every mask's foreground. `edit` changes them in place."""
    numbers = np.zeros(draft.masks().shape, dtype)
    numbers[..., :10], numbers[..., 10:] = 1, 2
    numbers[draft.masks() != 1] = 0
    edit(numbers)
    draft.add_sharded("instances", numbers, ("sample", "row", "column"), encoding="instance_index", packing="lz4")


def with_columns(**edits: dict[int, Any]) -> Change:
    return lambda draft: columns(draft, edits)


def with_places(**edits: dict[int, Any]) -> Change:
    """Add the columns for slices and tiles of larger images. `edits`: other values, by column and sample."""

    def change(draft: Draft) -> None:
        samples = range(draft.described["samples"])
        for name, kind in (("parent", "string"), ("slice", "int32"), ("row", "int32"), ("column", "int32")):
            values: list[Any] = [f"scan_{sample}" if kind == "string" else sample - 1 for sample in samples]
            values[0] = values[0] if kind == "string" else 0 if name == "slice" else -1
            for sample, value in edits.get(name, {}).items():
                values[sample] = value
            draft.add_column(name, values, kind)

    return change


def pixel_sizes(**edits: str) -> Change:
    """Add the sizes of pixels: not known for sample 0. `edits`: the text of sample 1."""

    def change(draft: Draft) -> None:
        values = ["" if sample == 0 else "0.75 5e-05" for sample in range(draft.described["samples"])]
        values[1] = edits.get("one", values[1])
        draft.add_column("pixel_mm", values, "string")

    return change


def with_instances(edit: Callable[[np.ndarray], object] = lambda _: None, dtype: str = "uint16") -> Change:
    return lambda draft: instances(draft, edit, dtype)


def with_rules(*, required: bool = True, **edits: Any) -> Change:
    """Add rules of decoding. A value of None takes a key away, except `threshold`, which may be null."""

    def change(draft: Draft) -> None:
        rules = {key: value for key, value in {**RULES, **edits}.items() if value is not None or key == "threshold"}
        draft.described["masks"].update(rules=rules, values={"skin": "0-127", "lesion": ">=128"})
        if required:
            draft.described["required"].append("label_rules")

    return change


def label_bits(
    names: tuple[str, ...] = ("red", "blue"), edit: Callable[[np.ndarray], object] = lambda _: None
) -> Change:
    """Turn the masks into two labels that overlap: the lesion, and the lower half of the picture. `edit` in place."""

    def change(draft: Draft) -> None:
        masks = draft.masks()
        bits = (masks == 1).astype(np.uint8)
        bits[:, 8:] |= 2
        bits[masks == 255] = 255
        edit(bits)
        draft.set_masks(bits)
        draft.described["classes"] = ["background", *names]
        flags = {"flag_masks": [1 << bit for bit in range(len(names))], "flag_meanings": " ".join(names)}
        draft.metadata("mask", attributes={"encoding": {"name": "label_bits", "version": 1}, **flags})

    return change


def every_optional_part(draft: Draft) -> None:
    samples = draft.described["samples"]
    random = np.random.default_rng(0)
    draft.add_column("parent", [f"volume_{index // 4}" for index in range(samples)], "string")
    draft.add_column("row", [16 * (index % 4) for index in range(samples)], "int32")
    draft.add_column("column", [0] * samples, "int32")
    draft.add_column("slice", list(range(samples)), "int32")
    pixel_sizes()(draft)
    instances(draft)
    columns(draft)
    features = random.standard_normal((samples, 3, 4, 6)).astype(np.float16)
    names = ("sample", "features_channel", "features_row", "features_column")
    draft.add_sharded("features", features, names, encoding="map")
    draft.described["maps"] = {"features": {"recipe": {"model": "any"}, "recipe_sha256": "0" * 64}}
    draft.described["upgraded_from"] = ["0" * 64]
    draft.described["masks"]["resize"] = "area"
    with_rules()(draft)


def later_instances(draft: Draft) -> None:
    """Add instances in an encoding and a shape that no reader knows."""
    numbers = np.ones((draft.described["samples"], 5), np.uint16)
    draft.add_sharded("instances", numbers, ("sample", "object"), encoding="instance_polygons")


def instances_in_an_unknown_codec(draft: Draft) -> None:
    instances(draft)
    bytes_codec = {"name": "bytes", "configuration": {"endian": "little"}}
    draft.sharding("instances", codecs=[bytes_codec, {"name": "unheard_of"}, {"name": "crc32c"}])


def sharded_objects(draft: Draft) -> None:
    """Add the column `objects` with one chunk per sample."""
    draft.add_sharded("objects", np.ones(draft.described["samples"], np.int32), ("sample",), encoding="objects")


def instances_as_a_column(draft: Draft) -> None:
    """Add instances in one chunk of all samples."""
    instances(draft)
    column = draft.described["sharded"].index("instances")
    draft.described["sharded"].remove("instances")
    draft.described["columns_sha256"]["instances"] = []
    draft.set_checksums(np.delete(draft.checksums(), column, axis=1))
    shape = draft.metadata("instances")["shape"]
    first = {"name": "bytes", "configuration": {"endian": "little"}}
    draft.metadata(
        "instances",
        chunk_grid={"name": "regular", "configuration": {"chunk_shape": shape}},
        codecs=[first, {"name": "crc32c"}],
    )
    draft.chunks("instances")[1].unlink()


def other_instances(**metadata: Any) -> Change:
    """Add instances, and change members of their metadata."""
    return lambda draft: (instances(draft), draft.metadata("instances", **metadata))


def require(*names: str, after: Change = lambda _: None) -> Change:
    return lambda draft: (after(draft), draft.described["required"].extend(names))
