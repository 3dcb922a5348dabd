"""Keep, rename and merge classes of an export for viewers, from the text of `--classes`.

| part of the text | meaning                                                       |
|------------------|---------------------------------------------------------------|
| `lesion`         | The class is kept.                                            |
| `skin=hair`      | The class `hair` is kept under the name `skin`.               |
| `tumour=a+b`     | The classes `a` and `b` become one class.                     |

Parts are separated by commas, and give the order of the classes. Classes that no part names become background. Ignored
pixels stay ignored. Objects that the source numbers stay apart. Where it has no numbers, or where merged classes may
overlap, the objects of a merged class are its connected regions: regions of `a` and `b` that touch are one object.
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
    names = sorted(classes[1:], key=len, reverse=True)
    if not names:
        raise UsageError(f"--classes {text}: the source has no classes. Leave it out.")
    known = "|".join(map(re.escape, names))
    alone = re.compile(rf"\s*(?P<old>{known})\s*(?:,|$)")  # tried first: a name may look like a part with `=` or `+`
    part = re.compile(rf"\s*(?:(?P<new>[^=,]+)=\s*)?(?P<old>(?:{known})(?:\s*\+\s*(?:{known}))*)\s*(?:,|$)")
    chosen: dict[str, list[str]] = {}
    taken: set[str] = set()
    position = 0
    while position < len(text) or not chosen:
        found = alone.match(text, position) or part.match(text, position)
        old = [] if found is None else _split(found["old"], names)
        if found is None or not old:
            raise UsageError(
                f"--classes {text}: cannot be read from {text[position:].strip()!r} on. The classes are "
                f"{', '.join(classes[1:])}.\n"
                "  Name those to keep, such as a,new=b+c; all others become background."
            )
        position = found.end()
        given = found.groupdict().get("new")
        new = (given or found["old"]).strip()
        if given is None and len(old) > 1:
            raise UsageError(f"--classes {text}: {new!r} has no name for the merged class. Write NAME={new}.")
        if given and (not new.isprintable() or not 0 < len(new) <= LONGEST):
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


def _split(text: str, names: Sequence[str]) -> list[str]:
    """Return the names that `+` joins to a text; [] if it is no such text.

    Args:
        text: Such as `a + b`.
        names: Of the classes, the longest first. They may contain `+` themselves.
    """
    for name in names:
        if text == name:
            return [name]
        rest = text.removeprefix(name).lstrip() if text.startswith(name) else ""
        if rest.startswith("+") and (further := _split(rest[1:].lstrip(), names)):
            return [name, *further]
    return []


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
