"""List the changes of optional parts with a fixed meaning, each with its verdict: `OPTIONAL_CASES`."""

from __future__ import annotations

import numpy as np

from tests.store.conformance.case import Case
from tests.store.conformance.changes import encoding, flip, remove
from tests.store.conformance.optional_changes import (
    columns,
    every_optional_part,
    instances,
    instances_as_a_column,
    instances_in_an_unknown_codec,
    label_bits,
    later_instances,
    other_instances,
    pixel_sizes,
    require,
    sharded_objects,
    with_columns,
    with_instances,
    with_places,
    with_rules,
)


def _on_background(numbers: np.ndarray) -> None:
    numbers[0, 0, 0] = 1  # the mask of sample 0 is empty


def _on_ignored(numbers: np.ndarray) -> None:
    numbers[4, 0, 0] = 1  # sample 4 has no mask


def _three(numbers: np.ndarray) -> None:
    row, column = np.argwhere(numbers[3] == 1)[0]
    numbers[3, row, column] = 3


def _seven_labels(bits: np.ndarray) -> None:
    bits[1, 0, 0] = 127


def _no_bits(bits: np.ndarray) -> None:
    bits[0] = 0


def _a_bit_too_many(bits: np.ndarray) -> None:
    bits[1, 0, 0] = 4


VALID_CASES = [
    Case(
        "every_optional_part",
        "valid",
        "every optional array, column and key of the format",
        every_optional_part,
        sealed=True,
    ),
    Case("label_bits", "valid", "masks with one bit for each of two labels", label_bits(), sealed=True),
    Case(
        "label_bits_seven",
        "valid",
        "masks with bits of seven labels, the largest number",
        label_bits(tuple("abcdefg"), _seven_labels),
        sealed=True,
    ),
    Case("instances_uint32", "valid", "instances as uint32", with_instances(dtype="uint32"), sealed=True),
    Case("instances_required", "valid", "requires instances", require("instances", after=instances), sealed=True),
    Case("instances_later", "valid", "`instances` in an unknown encoding, not required", later_instances, sealed=True),
    Case(
        "instances_unknown_codec",
        "valid",
        "instances in a codec that no reader knows, not required",
        instances_in_an_unknown_codec,
        sealed=True,
    ),
    Case("tile_beyond_the_border", "valid", "tiles that begin before their parents", with_places(), sealed=True),
    Case("rules_null_threshold", "valid", "rules without a threshold", with_rules(threshold=None), sealed=True),
]
"""Stores that every reader reads."""

VALUE_CASES = [
    Case(
        "bit_of_no_label", "values", "a pixel with the bit of no label", label_bits(edit=_a_bit_too_many), sealed=True
    ),
    Case("instance_outside", "values", "an object on background", with_instances(_on_background), sealed=True),
    Case("instance_ignored", "values", "an object on ignored pixels", with_instances(_on_ignored), sealed=True),
    Case(
        "instances_too_many",
        "values",
        "more objects in `instances` than `objects` says",
        lambda draft: (columns(draft), instances(draft, _three)),
        sealed=True,
    ),
    Case("objects_negative", "values", "a negative number of objects", with_columns(objects={3: -1}), sealed=True),
    Case(
        "lost_negative", "values", "a negative number of lost objects", with_columns(lost_objects={3: -1}), sealed=True
    ),
    Case(
        "lost_more_than_all", "values", "more lost objects than objects", with_columns(lost_objects={3: 3}), sealed=True
    ),
    Case(
        "objects_unlabelled", "values", "objects in a sample without a mask", with_columns(objects={4: 1}), sealed=True
    ),
    Case(
        "lost_class_kept", "values", "a lost class that the mask has", with_columns(lost_classes={3: "1"}), sealed=True
    ),
    Case(
        "lost_label_kept",
        "values",
        "a lost label that the mask has",
        lambda draft: (columns(draft, {"lost_classes": {0: "2"}}), label_bits()(draft)),
        sealed=True,
    ),
    Case("lost_class_unknown", "values", "a lost class that is none", with_columns(lost_classes={0: "2"}), sealed=True),
    Case("lost_class_background", "values", "the background as lost", with_columns(lost_classes={0: "0"}), sealed=True),
    Case(
        "lost_classes_spaced", "values", "a space in `lost_classes`", with_columns(lost_classes={0: " 1"}), sealed=True
    ),
    Case(
        "lost_classes_falling",
        "values",
        "`lost_classes` in falling order",
        lambda draft: (columns(draft, {"lost_classes": {0: "3,2"}}), label_bits(("a", "b", "c"), _no_bits)(draft)),
        sealed=True,
    ),
    Case("parent_empty", "values", "a part of no image", with_places(parent={1: ""}), sealed=True),
    Case("size_one_number", "values", "one number as the size of a pixel", pixel_sizes(one="0.5"), sealed=True),
    Case("size_zero", "values", "a pixel without a size", pixel_sizes(one="0.0 1.0"), sealed=True),
    Case("size_negative", "values", "a pixel of a negative size", pixel_sizes(one="1.0 -1.0"), sealed=True),
    Case("size_infinite", "values", "a pixel of an infinite size", pixel_sizes(one="1e999 1.0"), sealed=True),
    Case("slice_negative", "values", "a slice before the first", with_places(slice={1: -1}), sealed=True),
    Case(
        "hash_short",
        "values",
        "a perceptual hash of 15 digits",
        with_columns(perceptual_hash={2: "0" * 15}),
        sealed=True,
    ),
    Case(
        "hash_upper",
        "values",
        "a perceptual hash in capitals",
        with_columns(perceptual_hash={2: "A" * 16}),
        sealed=True,
    ),
]
"""Stores with right checksums and values that the format does not allow. A checker refuses them."""

REFUSED_CASES = [
    Case(
        "label_bits_later",
        "version",
        "masks of bits in a later version of the encoding",
        lambda draft: (label_bits()(draft), encoding("mask", {"name": "label_bits", "version": 2})(draft)),
        sealed=True,
    ),
    Case(
        "instances_later_required",
        "version",
        "requires instances that are in an unknown encoding",
        require("instances", after=later_instances),
        sealed=True,
    ),
    Case(
        "instances_codec_required",
        "version",
        "requires instances that are in a codec that no reader knows",
        require("instances", after=instances_in_an_unknown_codec),
        sealed=True,
    ),
    Case("label_bits_eight", "corrupt", "masks of bits and eight labels", label_bits(tuple("abcdefgh")), sealed=True),
    Case("label_bits_none", "corrupt", "masks of bits and no label", label_bits(()), sealed=True),
    Case("instances_absent", "corrupt", "requires instances and has none", require("instances"), sealed=True),
    Case("rules_not_required", "corrupt", "rules that are not required", with_rules(required=False), sealed=True),
    Case("rules_labels", "corrupt", "rules with another kind of labels", with_rules(labels="regions"), sealed=True),
    Case("rules_threshold", "corrupt", "a threshold above 1", with_rules(threshold=128), sealed=True),
    Case("rules_unclear", "corrupt", "rules without `unclear`", with_rules(unclear=None), sealed=True),
    Case(
        "rules_null",
        "corrupt",
        "null in place of rules",
        lambda draft: (with_rules()(draft), draft.described["masks"].update(rules=None)),
        sealed=True,
    ),
    Case(
        "resize_kind",
        "corrupt",
        "`resize` is no text",
        lambda draft: draft.described["masks"].update(resize=True),
        sealed=True,
    ),
    Case(
        "instances_dimensions",
        "corrupt",
        "the dimensions of `instances` are swapped",
        other_instances(dimension_names=["sample", "column", "row"]),
        sealed=True,
    ),
    Case("instances_signed", "corrupt", "instances as int16", other_instances(data_type="int16"), sealed=True),
    Case(
        "instances_size",
        "corrupt",
        "instances of another size than the masks",
        lambda draft: draft.add_sharded(
            "instances", np.zeros((12, 8, 20), np.uint16), ("sample", "row", "column"), encoding="instance_index"
        ),
        sealed=True,
    ),
    Case("instances_column", "corrupt", "instances that are not sharded", instances_as_a_column, sealed=True),
    Case("objects_sharded", "corrupt", "`objects` as a sharded array", sharded_objects, sealed=True),
    Case(
        "objects_float",
        "corrupt",
        "`objects` as float32",
        lambda draft: draft.add_column("objects", [1.0] * 12, "float32"),
        sealed=True,
    ),
    Case(
        "instances_bit",
        "corrupt",
        "a bit of an instance number is flipped",
        lambda draft: (instances(draft), draft.seal(), flip("instances", 30)(draft)),
    ),
    Case(
        "lost_classes_gone",
        "incomplete",
        "the chunk of `lost_classes` is missing",
        lambda draft: (columns(draft), draft.seal(), remove("lost_classes/c.0")(draft)),
    ),
]
"""Stores that every reader refuses."""

OPTIONAL_CASES = [*VALID_CASES, *VALUE_CASES, *REFUSED_CASES]
"""Every store of the set that is about optional parts."""
