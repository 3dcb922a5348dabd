"""Divide an extraction among machines that do not talk to each other: `--shard 2/5` makes the second of five parts.

Every task lists all images and checks all headers, so that all tasks agree on the rules: classes, window, columns. Then
each takes its share of the images, which are sorted: a range of them. A part is a store of this share. Its description
says which part it is, holds a digest of what the tasks must agree on, and counts for the warnings that need all
samples. It also says how many samples were expected: their sum chooses the size of the whole store's shards. `pipeline
merge` joins the parts (`stages.merge`).

Nothing here needs the transformer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import PipelineError, Problem, UsageError
from stages.extraction.part_versions import KEY
from stages.runtime.installation import version_of_program
from store.description import Description
from store.format import canonical_json
from store.root import describe, root_bytes
from store.writer import Layout

if TYPE_CHECKING:
    from stages.extraction.preparation import Prepared
    from stages.extraction.tally import Tally
    from stages.settings import ExtractSettings, Size

__all__ = ["LeftOut", "Share", "describe_part", "require_own_part", "share_of", "step_of"]

MOST = 1_000_000
"""Largest number of parts."""
BEGIN_OF_PATH = r"(?<![^\s'\"(])"
"""Pattern of a place in a text where a path may begin."""
FEWEST_SHARDS = 8
"""Number of full shards of a part from which parts begin with a new shard: they then differ by an eighth at most."""


@dataclass(frozen=True)
class Share:
    """The number of a part, from 1, and the number of parts."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"part {self.number} of {self.of}"

    @classmethod
    def parse(cls, text: str) -> Share:
        """Return the share that `--shard` asks for.

        Raises:
            UsageError: the text is not i/n with i from 1 to n.
        """
        match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,7})", text)
        number, of = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= of <= MOST:
            raise UsageError(
                f"--shard {text}: give i/n, the number of the part and the number of parts, from 1/n to n/n: with "
                f"--shard 2/5 the second of five parts is made. There are at most {MOST:,} parts."
            )
        return cls(number, of)

    def range_of(self, count: int, step: int = 1) -> range:
        """Return the positions, below `count`, of this share. The shares differ by `step` positions at most.

        Args:
            count: Number of positions.
            step: Every share begins at a multiple of this number.
        """
        steps = -(-count // step)
        first, stop = ((number * steps // self.of) * step for number in (self.number - 1, self.number))
        return range(min(first, count), min(stop, count))


def step_of(count: int, of: int, size: Size) -> int:
    """Return the number of images whose multiples divide a store into parts.

    If a part has many shards, parts begin with a new one. Then `merge` need not write full shards again.

    Args:
        count: Number of all images, each one sample.
        of: Number of parts.
        size: Rows and columns of a stored image.
    """
    whole = Layout(size=size, grid=(1, 1), heads=(), keys=1, classes=(), expected=count)
    per_shard = whole.samples_per_shard
    return per_shard if count >= of * per_shard * FEWEST_SHARDS else 1


def share_of(description: Description) -> Share | None:
    """Return which share a store is; None for a whole store."""
    part = description.part
    return None if part is None else Share(part["number"], part["of"])


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """List the inputs that are left out of a store, as `{where, what, inside}`. Paths do not depend on the folders.

    `inside` names the settings whose folders the path is relative to, so that equal paths of images and masks differ.
    """

    plain: list[dict[str, str]]
    """Images whose tiles show nothing, in part."""
    known: list[dict[str, str]]
    """Problems that are known from listing and headers, the same for every part."""
    unread: list[dict[str, str]]
    """Problems of looking for tiles that show nothing."""
    damaged: list[dict[str, str]]
    """Problems of decoding."""

    @classmethod
    def of(cls, prepared: Prepared, problems: Sequence[Problem], settings: ExtractSettings) -> LeftOut:
        """Return the lists of an extraction.

        Args:
            prepared: Its input.
            problems: All problems: those of `prepared` first.
            settings: Their folders are removed from the paths.
        """
        known = prepared.problems[: len(prepared.problems) - len(prepared.unread)]
        before = {*known, *prepared.unread}
        lists = {
            "plain": prepared.plain,
            "known": known,
            "unread": prepared.unread,
            "damaged": [one for one in problems if one not in before],
        }
        return cls(**{name: [_relative(one, settings) for one in listed] for name, listed in lists.items()})

    @classmethod
    def joined(cls, parts: Sequence[LeftOut]) -> LeftOut:
        """Return the lists of all parts together. Problems that several parts found are listed once.

        Args:
            parts: In order, at least one; `known` is the same in all.
        """
        return cls(
            plain=[one for part in parts for one in part.plain],
            known=parts[0].known,
            unread=[one for part in parts for one in part.unread],
            damaged=[one for part in parts for one in part.damaged],
        )

    def shown(self, folders: Mapping[str, str]) -> LeftOut:
        """Return the lists with the paths as the task's user wrote them, for messages.

        Args:
            folders: of the task, by the names of the settings; those that are missing are not put in front.
        """

        def whole(one: dict[str, str]) -> dict[str, str]:
            before = [folders[name] for name in one["inside"].split("+") if name in folders]
            return {**one, "where": "/".join([*before, one["where"]])}

        return LeftOut(**{name: [whole(one) for one in listed] for name, listed in vars(self).items()})

    def as_skipped(self) -> list[dict[str, str]]:
        """Return the list `skipped` of the store's description: each problem once."""
        problems = {canonical_json(one): one for one in (*self.known, *self.unread, *self.damaged)}
        return [{"where": one["where"], "what": one["what"]} for one in (*self.plain, *problems.values())]


def describe_part(
    share: Share, prepared: Prepared, tally: Tally, left_out: LeftOut, settings: ExtractSettings
) -> dict[str, Any]:
    """Return the key `part` of a store's description. It alone holds folders and a version, for messages."""
    return {
        "number": share.number,
        "of": share.of,
        "plan_sha256": _digest_of_plan(
            [image.id for image in prepared.images], left_out.known, share.of, prepared.shard_step
        ),
        "expected": len(prepared.sources),
        "counts": tally.to_dict(),
        "left_out": asdict(left_out),
        "folders": {name: str(folder) for name, folder in _folders(settings).items()},
        KEY: version_of_program(),
    }


def require_own_part(settings: ExtractSettings) -> None:
    """Make sure that a part does not replace the store of another task: every task needs its own path.

    Raises:
        UsageError: `--shard` is not valid, or at the path of the store there is another part or a whole store.
    """
    if settings.shard is None:
        return
    share = Share.parse(settings.shard)
    try:
        found = share_of(describe(settings.store, root_bytes(settings.store)))
    except PipelineError:  # there is none, or none that can be read
        return
    if found != share:
        raise UsageError(
            f"--store {settings.store}: holds {found or 'a whole store'}, and would be replaced by {share}. Give every "
            f"part its own path, such as {settings.store.with_suffix('')}-{share.number}.zarr, or remove the old store."
        )


def _digest_of_plan(images: Iterable[str], problems: Iterable[Mapping[str, Any]], of: int, step: int) -> str:
    """Return the SHA-256 of what all tasks must agree on, so that their shares are parts of one division.

    Args:
        images: Ids of all images, in order.
        problems: Known problems of files, which every task finds alike.
        of: Number of parts.
        step: Number of images whose multiples divide the parts; 1 adds nothing to the digest, as in older versions.
    """
    digest = hashlib.sha256()
    for line in (
        of,
        *([{"step": step}] if step > 1 else []),
        *images,
        *({**one, **{name: _anywhere(one[name]) for name in ("where", "what")}} for one in problems),
    ):
        digest.update(canonical_json(line).encode() + b"\n")
    return digest.hexdigest()


def _relative(problem: Problem, settings: ExtractSettings) -> dict[str, str]:
    """Return a problem for a store's description, which must not depend on where the folders are.

    The text of a problem may name other files.
    """
    where, what, inside = problem.where, problem.what, []
    for name, folder in _folders(settings).items():
        if where.startswith(f"{folder}/"):
            where = where.removeprefix(f"{folder}/")
            inside.append(name)
        what = re.sub(rf"{BEGIN_OF_PATH}{re.escape(f'{folder}/')}", "", what)
    return {"where": where, "what": what, "inside": "+".join(inside)}


def _anywhere(text: str) -> str:
    """Return a text with absolute paths cut down to their last part: files outside the folders of the settings.

    A table may name such files, and other machines have them at other places.
    """
    return re.sub(rf"{BEGIN_OF_PATH}/(?:[^\s/]+/)*", "", text)


def _folders(settings: ExtractSettings) -> dict[str, Path]:
    """Return the folders of the inputs by the names of their settings."""
    folders = {"images": settings.images, "masks": settings.masks, "csv": settings.csv and settings.csv.parent}
    return {name: folder for name, folder in folders.items() if folder is not None}
