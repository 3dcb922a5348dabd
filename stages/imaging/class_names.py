"""Define the classes of a data set from the user's `--classes` and from the names in the label files.

| kind | with `--classes` | without it, if files name classes | without both |
|---|---|---|---|
| `classes` | these | `background` and the named ones | `background` and `foreground` |
| `instances` | these two | `background` and the only name, or `object` | `background` and `object` |
| `multilabel` | these, if files name them | `background` and the named ones, at most 7 | an error |

Names are sorted in natural order: `label 2` comes before `label 10`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from stages.errors import UsageError
from stages.imaging.class_files import read_classes
from stages.imaging.class_values import ClassValue
from stages.imaging.classes import BACKGROUND_NAMES, IGNORE_NAME, ClassMap
from stages.imaging.samples import SourceSample, natural_order

__all__ = ["Kind", "classes_of", "is_annotation_file", "label_names"]

Kind = Literal["classes", "instances", "multilabel"]
"""Meaning of label files; see `stages.imaging.labels`."""
ANNOTATION_ENDINGS = {".json", ".geojson", ".xml"}
MOST_LABELS = 7  # a mask has 8 bits, and 255, all of them, marks ignored pixels
OBJECT = "object"
MOST_LISTED = 5


def is_annotation_file(path: Path) -> bool:
    """Return True if a label file is an annotation, not a picture or an array."""
    return path.suffix.lower() in ANNOTATION_ENDINGS


def label_names(samples: Iterable[SourceSample]) -> list[str]:
    """Return the class names in the label files of all samples, in natural order, without `background` and `ignore`.

    Raises:
        InputProblemsError: an annotation cannot be read.
    """
    names: set[str] = set()
    found: set[Path] = set()
    for sample in samples:
        for file in sample.masks:
            if file.label:
                names.add(file.label)
            elif str(file.place)[-1:] in "nNlL" and is_annotation_file(file.path):  # few files are asked
                found.add(file.path)
    annotations = sorted(found)
    if annotations:
        from stages.imaging import annotations as reading  # here, because it imports scikit-image

        for path in annotations:
            names |= set(reading.label_names(path))
    return sorted((name for name in names if name.lower() not in {*BACKGROUND_NAMES, IGNORE_NAME}), key=natural_order)


def classes_of(
    given: Mapping[str, ClassValue] | Path | None, names: Sequence[str], *, kind: Kind, thresholded: bool = False
) -> ClassMap:
    """Return the classes of a data set.

    Args:
        given: Class names and their values, or a file with them; None for none.
        names: Class names in the label files, from `label_names`.
        kind: Meaning of the label files.
        thresholded: True if soft masks are cut at a threshold.

    Raises:
        UsageError: the classes are not valid, or do not fit the kind, the files or the threshold.
    """
    mapping = read_classes(given) if isinstance(given, Path) else given
    if kind == "instances":
        if thresholded:
            raise UsageError("--threshold: is for soft masks, and --labels instances reads numbers. Leave one out.")
        return _one_class(mapping, names)
    if kind == "multilabel" and not names:
        raise UsageError(
            "--labels multilabel: no file has a label. Say where the names of the masks have it: "
            "--mask-pattern '{id}_{label}.png'."
        )
    if names:
        classes = _named(mapping, names)
        labels = len(classes.names) - 1
        if kind == "multilabel" and labels > MOST_LABELS:
            raise UsageError(
                f"--labels multilabel: the files name {labels} labels ({_listed(classes.names[1:])}), and at most "
                f"{MOST_LABELS} are possible. Make several stores with some of them each."
            )
        return classes
    if mapping and thresholded:
        raise UsageError("--threshold: is for masks without --classes. Give a range instead: --classes lesion=>=128.")
    return ClassMap.from_mapping(mapping) if mapping else ClassMap.binary()


def _one_class(mapping: Mapping[str, ClassValue] | None, names: Sequence[str]) -> ClassMap:
    """Return the background and the class of all objects."""
    if not mapping:
        return ClassMap.of_names(names if len(names) == 1 else [OBJECT])
    classes = ClassMap.from_mapping(mapping)
    background, *others = classes.names
    if len(others) != 1:
        raise UsageError(
            f"--labels instances: all objects are of one class, and --classes gives {len(others)} ({_listed(others)}). "
            "Give one, such as --classes nucleus=>0, or leave --classes out."
        )
    return ClassMap((background, *others))  # without values: every number above 0 is an object


def _named(mapping: Mapping[str, ClassValue] | None, names: Sequence[str]) -> ClassMap:
    """Return the classes of files that name them; those of `mapping` if there is one."""
    if not mapping:
        return ClassMap.of_names(names)
    unknown = [name for name in names if name not in mapping]
    if unknown:
        raise UsageError(
            f"classes: the label files name {_listed(unknown)}, and --classes does not. Add the names, or leave "
            "--classes out: these files need no values."
        )
    return ClassMap.from_mapping(mapping)


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > MOST_LISTED else ""
    return f"{', '.join(names[:MOST_LISTED])}{more}"
