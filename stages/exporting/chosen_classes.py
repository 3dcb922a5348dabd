"""Keep, rename and merge classes of an export for viewers, from the text of `--classes`.

| part of the text | meaning                                                       |
|------------------|---------------------------------------------------------------|
| `lesion`         | The class is kept.                                            |
| `skin=hair`      | The class `hair` is kept under the name `skin`.               |
| `tumour=a+b`     | The classes `a` and `b` become one class.                     |

Parts are separated by commas, and give the order of the classes. Classes that no part names become background. Pixels
of which nothing is known stay so. Objects that the source numbers stay apart; without numbers the objects of a merged
class are its connected regions, so regions of `a` and `b` that touch are one object. That is also so if classes that
overlap are merged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stages.errors import UsageError
from stages.exporting.labelled import Collection, Item, Labels

__all__ = ["with_classes"]

LONGEST = 60
"""Most characters of a new name: files and folders are named after classes."""


def with_classes(collection: Collection, text: str) -> Collection:
    """Return a collection with the classes that a user chose.

    Args:
        collection: Images with labels.
        text: Value of `--classes`.

    Raises:
        UsageError: the text cannot be read, or names a class that the source does not have.
    """
    chosen = _parse(text, collection.classes)
    places = {name: index for index, name in enumerate(collection.classes)}
    members = {index: [places[one] for one in old] for index, old in enumerate(chosen.values(), start=1)}
    used = {one for old in chosen.values() for one in old}
    left_out = [name for name in collection.classes[1:] if name not in used]

    def read(position: int) -> Item:
        item = collection.read(position)
        if item.labels is None:
            return item
        return replace(item, labels=_merged(item.labels, members, multilabel=collection.multilabel))

    notes = [f"classes left out, which are background here: {', '.join(left_out)}"] if left_out else []
    return replace(
        collection,
        classes=[collection.classes[0], *chosen],
        read=read,
        notes=[*collection.notes, *notes],
        facts={**collection.facts, "classes_from": chosen},
    )


def _parse(text: str, classes: Sequence[str]) -> dict[str, list[str]]:
    """Return the former classes of every new class. Names of classes may contain commas, `+` and `=`."""
    known = "|".join(re.escape(name) for name in sorted(classes[1:], key=len, reverse=True))
    part = re.compile(rf"\s*(?:([^=,]+)=\s*)?((?:{known})(?:\s*\+\s*(?:{known}))*)\s*(?:,|$)")
    chosen: dict[str, list[str]] = {}
    taken: set[str] = set()
    position = 0
    while position < len(text) or not chosen:
        found = part.match(text, position)
        if found is None:
            raise UsageError(
                f"--classes {text}: cannot be read from {text[position:].strip()!r} on. The classes are "
                f"{', '.join(classes[1:])}.\n"
                "  Give those to keep, such as a,new=b+c; the background and classes that are not named are background."
            )
        position = found.end()
        old = re.findall(rf"(?:{known})(?=\s*(?:\+|$))", found[2])
        new = (found[1] or found[2]).strip()
        if found[1] is None and len(old) > 1:
            raise UsageError(f"--classes {text}: {new!r} has no name for the merged class. Write NAME={new}.")
        if found[1] and (not new.isprintable() or not 0 < len(new) <= LONGEST):
            raise UsageError(
                f"--classes: the name {new!r} is not printable text of at most {LONGEST} characters. Choose another."
            )
        if new in chosen or new == classes[0]:
            raise UsageError(f"--classes {text}: {new!r} would be the name of two classes. Choose another name.")
        if again := taken & set(old) or {one for one in old if old.count(one) > 1}:
            raise UsageError(f"--classes {text}: {', '.join(sorted(again))} is named twice. Name it once.")
        taken |= set(old)
        chosen[new] = old
    return chosen


def _merged(labels: Labels, members: Mapping[int, Sequence[int]], *, multilabel: bool) -> Labels:
    """Return labels with the new classes, each of them made of the former classes `members`."""
    regions = {new: np.logical_or.reduce([labels.regions[one] for one in old]) for new, old in members.items()}
    merged = Labels(regions, labels.ignored)
    if labels.instances is None:
        return merged
    instances: dict[int, NDArray[np.int32]] = {}
    for new, old in members.items():
        if multilabel and len(old) > 1:  # every class numbers its own objects
            instances[new] = merged.objects(new)
        else:
            instances[new] = np.maximum.reduce([labels.instances[one] for one in old])
    return replace(merged, instances=instances)
