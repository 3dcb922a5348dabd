"""Decide which samples a store keeps when new images are added to it: `extract --append`.

A sample is kept if its image, its label files and its group are those that the store records. The files of a kept
sample are read once, to compare their digests, and are not decoded; later they are read again only if the system shows
that they may have changed (`stages.extraction.known_files`). New samples follow the kept ones, in the order of
their ids. A store whose samples were changed or removed, or that was made by other rules, is not added to: it has to be
extracted as a whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np

from stages.errors import InputProblemsError, Problem, UsageError
from stages.extraction.known_files import KnownFiles, States, mark_of, record_of
from stages.extraction.memo_place import memo_folder
from stages.extraction.source_digests import mask_digest
from stages.imaging.image_rules import ImageRules
from stages.imaging.samples import SourceSample
from stages.imaging.volumes.opened import hash_file
from stages.imaging.volumes.readers import is_volume_file
from stages.runtime.look_ahead import look_ahead
from stages.runtime.progress import Progress
from stages.runtime.wording import counted
from stages.settings import ExtractSettings
from store import AttentionStore
from store.format import recipe_sha256
from store.upgrade import layout_of
from store.writer import Layout

__all__ = ["Additions"]

NAMED = 3
"""Number of samples that a message names."""
REMEDY = "Move the store away and run the command again to extract all images, or leave out --append."
TOGETHER = 16
"""Number of samples that are hashed as one task of a thread."""
AT_ONCE = 4096
"""Number of samples that are looked up in the record of known files together."""
SAME = (
    "size",
    "grid",
    "heads",
    "keys",
    "classes",
    "masks",
    "images",
    "compress",
    "instances",
    "multilabel",
    "weights_licence",
)
"""Fields of the layout that must be the same for old and new samples."""


class _Kept(NamedTuple):
    """Hold a sample that is in the store and whose files have to be read, and what the store records of them."""

    sample: SourceSample
    digest: bytes
    mask_digest: bytes
    state: bytes | None
    """State of its files before they are read; None if it proves nothing."""
    mark: bytes
    """The mark of the sample, if its files have the digests that the store records."""


@dataclass
class Additions:
    """Compare the samples that were found with those of the store."""

    previous: AttentionStore
    progress: Progress
    new: int = field(default=0)
    """Number of samples that are not in the store, those with damaged files included."""
    labelled: int = field(default=0)
    """Number of samples in the store that have a mask."""
    known: KnownFiles = field(default_factory=KnownFiles)
    """The files that were read in an earlier run."""
    marks: list[bytes] = field(default_factory=list)
    """Marks of the kept samples, after `choose`: see `stages.extraction.known_files`."""
    read: int = field(default=0)
    """Number of kept samples whose files were read."""

    @classmethod
    def open(cls, settings: ExtractSettings, progress: Progress) -> Self | None:
        """Open the store that samples are added to; None without `append`, or if there is no store yet.

        Raises:
            UsageError: the images are cut into parts, or the store does not record its label files.
            StoreError: the store cannot be read.
        """
        if not settings.append:
            return None
        if settings.tile is not None:
            raise UsageError("--append: images that are cut into tiles cannot be added.\n  Leave out --append.")
        if not settings.store.exists():
            return None
        previous = AttentionStore.open(settings.store)
        if not previous.has("mask_digest"):
            raise UsageError(
                f"{settings.store}: does not record the digests of its masks, so it is not known which samples "
                f"have changed.\n  {REMEDY}"
            )
        known = KnownFiles() if settings.rehash else KnownFiles.read(record_of(settings.store, memo_folder(settings)))
        return cls(previous, progress, labelled=int(previous.labelled.sum()), known=known)

    @property
    def rules(self) -> ImageRules:
        """The rules by which the images of the store were read.

        Raises:
            UsageError: this version of the program does not know them.
        """
        return ImageRules.from_dict(self.previous.description.images)

    @property
    def weights_licence(self) -> str:
        """Licence of the transformer's weights that the store records; "" for nothing."""
        return self.previous.description.weights_licence

    def summary(self, added: int) -> str:
        """Return the line for the output.

        Args:
            added: number of samples that were added.
        """
        return f"added to the store: {counted(added, 'sample')}; {len(self.previous):,} were kept"

    def planned(self) -> str:
        """Return the line for the plan, after `choose`."""
        return f"{counted(self.new, 'image')}; {len(self.previous):,} samples of the store are kept as they are"

    def choose(self, samples: list[SourceSample]) -> list[SourceSample]:
        """Return the samples that are not in the store, in order.

        Raises:
            UsageError: no sample is new, or samples of the store were changed or removed.
            InputProblemsError: files cannot be read.
        """
        unseen = {sample.id: sample for sample in samples}
        ids = [text.decode() for text in self._texts("sample")]
        removed = sorted(id_ for id_ in ids if id_ not in unseen)
        kept = [unseen.pop(id_) for id_ in ids if id_ in unseen]
        new = list(unseen.values())
        volumes = [sample.id for sample in new if is_volume_file(sample.image)]
        self._refuse(volumes, "are volumes, which --append does not add")  # a store has their slices, not their ids
        self._refuse(removed, "are in the store, and their images are not there any more")
        self._refuse(self._changed(kept), "have another image, mask or group than the store has")
        self.new = len(new)
        return new

    def require_same(self, layout: Layout, recipe: dict[str, Any], *, known_images: bool) -> None:
        """Make sure that new samples are made as those of the store were.

        Args:
            layout: of the new samples.
            recipe: of their attention.
            known_images: False if there is no new image. Then only those rules of images are compared that do not
                follow from the images, such as their orientation.

        Raises:
            UsageError: the recipe or a rule is another one, or the new images need a column that the store has not.
        """
        old = layout_of(self.previous)
        if not known_images:
            old, layout = (replace(one, images=_of_settings(one.images)) for one in (old, layout))
        different = [name for name in SAME if _comparable(old, name) != _comparable(layout, name)]
        if recipe_sha256(recipe) != self.previous.description.recipe_sha256:
            different.insert(0, "model or recipe")
        different += [f"column {name}" for name in layout.columns if name not in old.columns]
        if different:
            raise UsageError(
                f"{self.previous.path}: the new images would be stored in another way ({', '.join(different)}), so "
                f"they cannot be added.\n  {REMEDY}"
            )

    def _changed(self, samples: Sequence[SourceSample]) -> list[str]:
        """Return the ids of samples whose files or groups are not those that the store records, sorted.

        Args:
            samples: one for every sample of the store, in its order.
        """
        columns = [self._texts(name) for name in ("digest", "mask_digest", "group")]
        states = States()
        changed: list[str] = []
        problems: dict[str, list[Problem]] = {}
        with self.progress.task("comparing", len(samples)) as task:
            for start in range(0, len(samples), AT_ONCE):
                block = samples[start : start + AT_ONCE]
                digests, mask_digests, groups = (list(itertools.islice(column, len(block))) for column in columns)
                changed += [one.id for one, group in zip(block, groups, strict=True) if _group_of(one) != group]
                unknown = self._unknown(block, digests, mask_digests, states)
                task.advance(len(block) - len(unknown))
                parts = [unknown[start : start + TOGETHER] for start in range(0, len(unknown), TOGETHER)]
                for part, found in zip(parts, look_ahead(_digests_of, parts), strict=True):
                    for one, outcome in zip(part, found, strict=True):
                        if isinstance(outcome, list):
                            problems[one.sample.id] = outcome
                        elif outcome != (one.digest.decode(), one.mask_digest.decode()):
                            changed.append(one.sample.id)
                        elif one.state is not None and states.of(one.sample) == one.state:
                            self.marks.append(one.mark)
                        task.advance()
                self.read += len(unknown)
        if problems:
            listed = [problem for _, some in sorted(problems.items()) for problem in some]
            raise InputProblemsError(listed, "Repair them; nothing was changed.")
        return sorted(set(changed))

    def _unknown(
        self, samples: Sequence[SourceSample], digests: Sequence[bytes], mask_digests: Sequence[bytes], states: States
    ) -> list[_Kept]:
        """Return the samples whose files have to be read, and keep the marks of the others."""
        found = [states.of(sample) for sample in samples]
        marks = [mark_of(state or b"", *both) for state, *both in zip(found, digests, mask_digests, strict=True)]
        same = self.known.has(marks) & np.array([state is not None for state in found])
        self.marks += itertools.compress(marks, same.tolist())
        others = np.flatnonzero(~same).tolist()
        return [_Kept(samples[at], digests[at], mask_digests[at], found[at], marks[at]) for at in others]

    def _texts(self, name: str) -> Iterator[bytes]:
        """Yield the texts of a column of the store in UTF-8, in order."""
        for texts in self.previous.columns.texts(name):
            yield from texts.chosen(np.arange(len(texts)))

    def _refuse(self, ids: Sequence[str], what: str) -> None:
        if ids:
            more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
            raise UsageError(f"{self.previous.path}: {', '.join(ids[:NAMED])}{more} {what}.\n  {REMEDY}")


def _group_of(sample: SourceSample) -> bytes:
    """Return the group of a sample in UTF-8."""
    return sample.group.encode("utf-8", "surrogatepass")


def _digests_of(samples: Sequence[_Kept]) -> list[tuple[str, str] | list[Problem]]:
    """Return `_digests` of several samples: a task of a thread costs as much as hashing a small file."""
    return [_digests(one.sample) for one in samples]


def _digests(sample: SourceSample) -> tuple[str, str] | list[Problem]:
    """Return the digests of a sample's image and of its label files, or the problems of reading them."""
    try:
        return hash_file(sample.image), mask_digest(sample)
    except InputProblemsError as error:
        return list(error.problems)


def _of_settings(images: dict[str, Any] | None) -> dict[str, Any]:
    """Return the rules of images that follow from the settings, or from the store."""
    return {name: value for name, value in (images or {}).items() if name in {"fit", "channels", "window"}}


def _comparable(layout: Layout, name: str) -> Any:
    """Return a field of a layout in a form in which equal values are equal."""
    value = getattr(layout, name)
    if name == "images":
        return value or None
    return list(value) if isinstance(value, list | tuple) else value
