"""Read the labels of one image from its files: masks, objects, one file per class, arrays or annotations.

What the files mean is said by `LabelRules`, made once for a data set. There are three kinds:

| kind | one file | several files |
|---|---|---|
| `classes` | each value is a class | united; with a class name for each file, one class per file |
| `instances` | each value above 0 is an object, all of one class | one object or more per file |
| `multilabel` | one label | one label per file; labels may overlap |

Annotations in JSON or XML (`stages.imaging.annotations`) give all three. An array file (`.npz`) has the mask under the
name `label`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.errors import UsageError
from stages.imaging.annotations import is_annotation, label_names, paint, read_annotation
from stages.imaging.arrays import is_array_file, read_label_array
from stages.imaging.class_files import read_classes
from stages.imaging.class_values import ClassValue
from stages.imaging.classes import BACKGROUND, ClassMap
from stages.imaging.masks import map_values, read_mask, read_objects
from stages.imaging.opening import refuse
from stages.imaging.samples import LabelFile, SourceSample, natural_order
from stages.settings import Size
from store.description import MaskSource
from store.records import IGNORE

__all__ = ["Kind", "LabelRules", "Labels", "read_labels"]

Kind = Literal["classes", "instances", "multilabel"]
MOST_LABELS = 7
OBJECT = "object"
MOST_UNCLEAR = 0.05


@dataclass(frozen=True, eq=False)
class Labels:
    """Hold the labels of one image at its own size."""

    mask: NDArray[np.uint8]
    """(height, width) class index, 255 ignored. Of kind `multilabel`: bit k - 1 is set where label k is."""
    instances: NDArray[np.int32] | None
    """(height, width) number of the object from 1, 0 for none; None unless the kind is `instances`."""


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """Say how the label files of a data set are read."""

    classes: ClassMap
    kind: Kind = "classes"
    threshold: float | None = None
    """Share of white from which a pixel of a soft mask is foreground; None for masks in black and white."""
    unclear: float = MOST_UNCLEAR
    """Largest share of unclear pixels in a JPEG with classes."""

    @classmethod
    def for_samples(
        cls,
        samples: Sequence[SourceSample],
        *,
        classes: Mapping[str, ClassValue] | Path | None = None,
        kind: Kind = "classes",
        threshold: float | None = None,
        unclear: float = MOST_UNCLEAR,
    ) -> LabelRules:
        """Make the rules for a data set.

        Args:
            samples: The samples; their label files name classes where there is a file per class, or an annotation.
            classes: Class names and their values, or a file that holds them.
            kind: See the module.
            threshold: For soft masks without classes.
            unclear: For JPEG masks with classes.

        Raises:
            UsageError: the classes are not valid, or do not fit the kind or the files.
            InputProblemsError: an annotation cannot be read.
        """
        given = read_classes(classes) if isinstance(classes, Path) else classes
        named = _label_names(samples)
        if threshold is not None and given:
            raise UsageError(
                "--threshold is for masks without classes. Give ranges in place of it: --classes lesion=>=128."
            )
        return cls(classes=_class_map(given, named, kind), kind=kind, threshold=threshold, unclear=unclear)

    def to_source(self, pairing: dict[str, Any] | None) -> MaskSource:
        """Return the rules as a store records them.

        Args:
            pairing: The rule by which label files were found; None without labels.
        """
        values = self.classes.to_mapping()
        plain = values is None or all(isinstance(value, int) or value.startswith("#") for value in values.values())
        simple = self.kind == "classes" and self.threshold is None and self.unclear == MOST_UNCLEAR
        simple &= plain and not any("+" in str(value) for value in (values or {}).values())
        simple &= self.classes.values != () or self.classes == ClassMap.binary()
        rules = {"labels": self.kind, "threshold": self.threshold, "unclear": self.unclear}
        return MaskSource(
            values=values,
            decoding="binary" if values is None else "mapped",
            pairing=pairing,
            resize=None if pairing is None else "area",
            rules=None if simple else rules,
        )

    @classmethod
    def from_source(cls, source: MaskSource, names: Sequence[str]) -> LabelRules:
        """Return the rules that a store recorded.

        Args:
            source: Of the store's description.
            names: The store's classes by index.
        """
        rules = source.rules or {}
        classes = ClassMap.from_mapping(source.values, order=names) if source.values else ClassMap(tuple(names))
        return cls(
            classes=classes,
            kind=rules.get("labels", "classes"),
            threshold=rules.get("threshold"),
            unclear=rules.get("unclear", MOST_UNCLEAR),
        )

    def index_of(self, label: str) -> int | None:
        """Return the index of the class that a label file or an annotation names; 255 for `ignore`; None if unknown."""
        if label == "ignore":
            return IGNORE
        return next((index for index, name in enumerate(self.classes.names) if name == label), None)


def read_labels(files: Sequence[LabelFile], rules: LabelRules, expected_size: Size) -> Labels:
    """Read the labels of one image.

    Args:
        files: The files, at least one, in a fixed order.
        rules: Their meaning.
        expected_size: (height, width) of the upright image.

    Returns:
        The labels at that size.

    Raises:
        InputProblemsError: a file cannot be used, or the files contradict each other. The error has one problem.
    """
    annotations = [file for file in files if is_annotation(file.path)]
    if annotations:
        shapes = [shape for file in annotations for shape in read_annotation(file.path, file.entry, expected_size)]
        mask, instances = paint(shapes, expected_size, rules, annotations[0].path)
        return Labels(mask, instances)
    if rules.kind == "instances":
        instances = _read_instances(files, expected_size)
        return Labels((instances > 0).astype(np.uint8), instances)
    mask = (
        _read_bits(files, rules, expected_size)
        if rules.kind == "multilabel"
        else _read_classes(files, rules, expected_size)
    )
    return Labels(mask, None)


def _class_map(given: Mapping[str, ClassValue] | None, named: Sequence[str], kind: Kind) -> ClassMap:
    """Return the classes of a data set from what the user gave and what the files name."""
    if kind == "instances":
        classes = (
            ClassMap.from_mapping(given) if given else ClassMap((BACKGROUND, named[0] if len(named) == 1 else OBJECT))
        )
        if len(classes.names) != 2:  # noqa: PLR2004 - background and objects
            raise UsageError(
                f"--labels instances: all objects are of one class, but {len(classes.names) - 1} are given. "
                "Give one, such as --classes nucleus=>0, or leave --classes out."
            )
        return ClassMap(classes.names)
    if kind == "multilabel":
        if given:
            raise UsageError("--labels multilabel: the files name the labels. Leave --classes out.")
        if not named:
            raise UsageError(
                "--labels multilabel: no label is named. Say where a mask's name has it: "
                "--mask-pattern '{id}_attribute_{label}.png'."
            )
        if len(named) > MOST_LABELS:
            raise UsageError(
                f"--labels multilabel: {len(named)} labels ({', '.join(named[:4])}, …) and at most {MOST_LABELS} are "
                "possible. Make a store for each part of them."
            )
        return ClassMap.of_names(named)
    if given and named:
        unknown = sorted(set(named) - {*given, "ignore"})
        if unknown:
            raise UsageError(f"classes: the files name {', '.join(unknown)}, which --classes does not. Add them.")
        return ClassMap.of_names([name for name in given if name in named])
    if given:
        return ClassMap.from_mapping(given)
    return ClassMap.of_names(named) if named else ClassMap.binary()


def _label_names(samples: Iterable[SourceSample]) -> list[str]:
    """Return the class names in label files, in natural order (`label 2` before `label 10`)."""
    names: set[str] = set()
    seen: set[Path] = set()
    for sample in samples:
        for file in sample.masks:
            if file.label:
                names.add(file.label)
            elif file.path not in seen and is_annotation(file.path):
                seen.add(file.path)
                names |= label_names(file.path)
    return sorted(names - {"ignore", BACKGROUND}, key=natural_order)


def _read_classes(files: Sequence[LabelFile], rules: LabelRules, size: Size) -> NDArray[np.uint8]:
    """Return the class indices of files that are united. A pixel of two classes is an error."""
    united = np.zeros(size, np.uint8)
    for file in files:
        part = _read_one(file, rules, size)
        clash = (united != 0) & (part != 0) & (united != part) & (united != IGNORE) & (part != IGNORE)
        if clash.any():
            one, other = (rules.classes.names[int(mask[clash][0])] for mask in (united, part))
            refuse(
                file.path,
                f"{int(clash.sum())} pixels are {one} in another file and {other} here; classes do not overlap: "
                "correct the files, or keep overlapping labels with --labels multilabel",
            )
        united = np.where((part != 0) & (united != IGNORE), part, united)
    return united


def _read_one(file: LabelFile, rules: LabelRules, size: Size) -> NDArray[np.uint8]:
    """Return the class indices of one mask file."""
    if is_array_file(file.path):
        return map_values(file.path, read_label_array(file.path, size), rules.classes)
    if not file.label:
        return read_mask(file.path, rules.classes, size, threshold=rules.threshold, unclear=rules.unclear)
    inside = read_mask(file.path, ClassMap.binary(), size, threshold=rules.threshold)
    index = rules.index_of(file.label)
    if index is None:
        refuse(file.path, f"is a mask of {file.label!r}, which is none of {', '.join(rules.classes.names)}")
    return np.where(inside == 1, np.uint8(index), np.uint8(0))


def _read_bits(files: Sequence[LabelFile], rules: LabelRules, size: Size) -> NDArray[np.uint8]:
    """Return the labels of files, one bit for each."""
    bits = np.zeros(size, np.uint8)
    parts: dict[int, NDArray[np.bool_]] = defaultdict(lambda: np.zeros(size, np.bool_))
    for file in files:
        index = rules.index_of(file.label)
        if not index:
            refuse(file.path, "its name says no label; name the labels with --mask-pattern '{id}_{label}.png'")
        parts[index] |= read_mask(file.path, ClassMap.binary(), size, threshold=rules.threshold) == 1
    for index, inside in parts.items():
        if index != IGNORE:
            bits |= inside.astype(np.uint8) << np.uint8(index - 1)
    return np.where(parts[IGNORE], np.uint8(IGNORE), bits) if IGNORE in parts else bits


def _read_instances(files: Sequence[LabelFile], size: Size) -> NDArray[np.int32]:
    """Return the objects of all files, numbered from 1. Where files overlap, the first one keeps the pixel."""
    objects = np.zeros(size, np.int32)
    for file in files:
        part = read_label_array(file.path, size) if is_array_file(file.path) else read_objects(file.path, size)
        objects = np.where((objects == 0) & (part > 0), part + objects.max(initial=0), objects).astype(np.int32)
    found, numbers = np.unique(objects, return_inverse=True)
    return (numbers + (0 if found[0] == 0 else 1)).reshape(size).astype(np.int32)
