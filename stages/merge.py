"""Run `pipeline merge`: join the parts that `extract --shard` made into the store that one `extract` would have made.

First all parts are opened and compared: each must be there once, and all must have the same recipe, rules and plan.
Then their samples are taken over in order. The stored bytes are compared with their checksums and not decoded. Full
shards that stay as they are become hard links, others are copied (`store.copying`). The store appears at its path when
it is complete and verified. After an error there is none.

Warnings that need all samples are made here, from the counts of the parts. No transformer is involved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from stages.errors import InputProblemsError, PipelineError, Problem, UsageError
from stages.extraction.part_versions import unreadable, versions_of
from stages.extraction.parts import LeftOut, Share, share_of
from stages.extraction.tally import Tally
from stages.outputs.places import require_own_folder
from stages.runtime.progress import SILENT, Progress
from stages.runtime.wording import counted
from store.copying import SampleCopier
from store.disk.paths import require_local
from store.format import VERSION
from store.reader import AttentionStore
from store.root import STORE
from store.upgrade import layout_of
from store.writer import Layout, new_store

__all__ = ["MergeReport", "run"]

REMEDY = "No store was written. Repeat the tasks of these parts, or give other parts."
MOST_NAMED = 10
"""Most missing parts that are named."""


@dataclass(frozen=True, kw_only=True)
class MergeReport:
    """Report the result of a merge."""

    store: Path
    parts: int
    samples: int
    labelled: int
    skipped: Sequence[Problem]
    """Inputs that the parts left out, by the paths that the user of the part's task gave."""
    hints: Sequence[str]
    """Warnings about the whole data set."""
    seconds: float

    def __str__(self) -> str:
        done = f"{self.store}: {counted(self.samples, 'sample')}, {self.labelled:,} with a mask, "
        return "\n".join(
            [
                f"{done}from {counted(self.parts, 'part')}, in {self.seconds:.1f} s",
                *(f"left out: {problem}" for problem in self.skipped),
                *self.hints,
            ]
        )


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Hold one part that was opened."""

    path: Path
    store: AttentionStore
    share: Share
    layout: Layout
    """Layout of all parts. It does not say how many samples are expected: parts differ in that."""
    expected: int
    """Number of samples that the part would have if all its files could be read."""
    left_out: LeftOut
    folders: dict[str, str]
    """Folders of the inputs by the names of their settings, as the task got them; {} if it recorded none."""

    @property
    def content(self) -> dict[str, Any]:
        """The key `part` of the description, which `extract --shard` wrote."""
        return self.store.description.part or {}


def run(parts: Sequence[Path], store: Path, progress: Progress = SILENT) -> MergeReport:
    """Join all parts of a store.

    Args:
        parts: Paths of the parts, in any order.
        store: Path of the whole store. An older store there is replaced.
        progress: Shows how far it is.

    Raises:
        UsageError: `store` is a part, or a place where it would be lost or would replace something else; or an address
            is given.
        InputProblemsError: parts are missing, given twice, damaged, or do not belong together; all faults are listed.
        StoreError: bytes of a part are damaged. No store is written.
        PipelineError: there is no space for the store.
    """
    began = time.monotonic()
    if not parts:
        raise UsageError("no part is given: name the stores that the tasks of extract --shard made.")
    for path in (*parts, store):
        require_local(path)
    for path in parts:
        require_own_folder(store, STORE, option="--store", others={"the part": path})
    opened = _open_all(parts)
    tally, left_out = _summary(opened)
    if not tally.samples:
        problems = [Problem(one["where"], one["what"]) for one in _shown(opened).as_skipped()]
        raise InputProblemsError(problems or [Problem(str(store), "no part holds a sample")], "No sample is left.")
    first = opened[0]
    layout = replace(first.layout, expected=sum(part.expected for part in opened))
    with progress.task("merging", tally.samples, "samples") as task:
        copier = SampleCopier(task.advance)
        with new_store(store, layout=layout, recipe=first.store.recipe, copied=copier.written) as writer:
            for part in opened:
                copier.copy(part.store, writer)
            writer.skipped = left_out.as_skipped()
    return MergeReport(
        store=store,
        parts=len(opened),
        samples=tally.samples,
        labelled=tally.labelled,
        skipped=[Problem(one["where"], one["what"]) for one in _shown(opened).as_skipped()],
        hints=tally.hints(first.layout.size),
        seconds=time.monotonic() - began,
    )


def _summary(parts: Sequence[_Part]) -> tuple[Tally, LeftOut]:
    """Return the counts and the problems of all parts together.

    Raises:
        InputProblemsError: the counts of a part are not what this program writes.
    """
    tally = Tally()
    for part in parts:
        try:
            tally.add_part(part.content["counts"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputProblemsError([Problem(str(part.path), unreadable(part.content, _why(error)))], REMEDY) from None
    return tally, LeftOut.joined([part.left_out for part in parts])


def _shown(parts: Sequence[_Part]) -> LeftOut:
    """Return the problems of all parts together, with the paths as `extract` shows them."""
    return LeftOut.joined([part.left_out.shown(part.folders) for part in parts])


def _open_all(paths: Sequence[Path]) -> list[_Part]:
    """Return all parts in order, after comparing them with the first one.

    Raises:
        InputProblemsError: they are not exactly the parts of one store.
    """
    parts: list[_Part] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            parts.append(_open(path))
        except UsageError:
            raise
        except InputProblemsError as error:
            problems += error.problems
        except PipelineError as error:
            problems.append(Problem(str(path), str(error).removeprefix(f"{path}: ")))
    parts.sort(key=lambda part: part.share.number)
    for one in parts:
        problems += [Problem(str(one.path), what) for what in _differences(one, parts[0])]
    for one, other in pairwise(parts):
        if one.share == other.share:
            problems.append(Problem(str(other.path), f"is {other.share}, as {one.path} is; give each part once"))
    if parts:
        problems += _missing({part.share.number for part in parts}, parts[0], unusable=len(paths) > len(parts))
    if problems:
        raise InputProblemsError(problems, REMEDY)
    return parts


def _open(path: Path) -> _Part:
    """Open one part.

    Raises:
        InputProblemsError: it is not a part that this version can read.
        StoreError: it is not a sound store.
    """
    if not path.exists():
        unfinished = any(path.parent.glob(f".{path.name}.partial-*"))
        what = "its task has not finished, or was ended" if unfinished else "there is no store; its task has made none"
        raise InputProblemsError([Problem(str(path), what)])
    store = AttentionStore.open(path)
    share = share_of(store.description)
    if share is None:
        raise InputProblemsError([Problem(str(path), "is a whole store, and not a part that extract --shard made")])
    content = store.description.part or {}
    try:
        lists, expected = content["left_out"], int(content["expected"])
        folders = {name: str(folder) for name, folder in dict(content.get("folders", {})).items()}
        left_out = LeftOut(**{field.name: [_texts(one) for one in lists[field.name]] for field in fields(LeftOut)})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputProblemsError([Problem(str(path), unreadable(content, _why(error)))]) from None
    if share.number > share.of or store.description.version != VERSION:
        why = f"it says {share}, in a store of version {store.description.version}"
        raise InputProblemsError([Problem(str(path), unreadable(content, why))])
    layout = replace(layout_of(store), expected=0)
    return _Part(
        path=path, store=store, share=share, layout=layout, expected=expected, left_out=left_out, folders=folders
    )


def _why(error: Exception) -> str:
    """Return what is wrong with the description of a part."""
    return f"it lacks `{error.args[0]}`" if isinstance(error, KeyError) else "a value is of another kind"


def _texts(problem: dict[str, Any]) -> dict[str, str]:
    return {name: str(problem[name]) for name in ("where", "what", "inside")}


def _differences(part: _Part, first: _Part) -> list[str]:
    """Return how a part differs from the first one in what all parts have in common."""
    found: list[str] = []
    versions = versions_of(part.content, first.content)
    other = f"of {first.path}"
    compared: list[tuple[str, Callable[[_Part], dict[str, Any]]]] = [
        ("was made with another recipe of the transformer than that", lambda one: one.store.recipe),
        ("was made by other rules than those", lambda one: asdict(one.layout)),
    ]
    for text, what in compared:
        names = _unequal(what(part), what(first))
        if names:
            found.append(f"{text} {other} (different: {', '.join(names)}){versions}")
    if part.share.of != first.share.of:
        found.append(f"is {part.share}, and {first.path} is {first.share}")
    elif part.content.get("plan_sha256") != first.content.get("plan_sha256"):
        found.append(
            f"was made from another list of images than that {other}, or other files were broken{_where(part, first)}"
            f"{versions}"
        )
    return found


def _where(part: _Part, first: _Part) -> str:
    """Return where the tasks of two parts read their input, if these are different folders."""
    names = [name for name, folder in part.folders.items() if folder != first.folders.get(name, folder)]
    read = [f"{part.folders[name]} and not {first.folders[name]}" for name in names]
    return f"; its task read {' and '.join(read)}: compare what they hold" if read else ""


def _unequal(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names of the values that differ."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def _missing(numbers: set[int], first: _Part, *, unusable: bool) -> list[Problem]:
    """Return the problem that parts are missing; none if all are there."""
    missing = [number for number in range(1, first.share.of + 1) if number not in numbers]
    if not missing:
        return []
    named = ", ".join(map(str, missing[:MOST_NAMED])) + (", …" if len(missing) > MOST_NAMED else "")
    also = "; some of the parts above may be these" if unusable else ""
    what = f"{counted(len(missing), 'part')} of {first.share.of} not given or not usable: {named}{also}"
    return [Problem("missing", what)]
