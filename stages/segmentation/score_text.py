"""Say the scores of a test set in a few lines on the terminal.

All figures come from the content of `scores.json`, so a finished result can be said again. What an earlier version did
not write is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stages.runtime.wording import counted
from stages.segmentation.bootstrap import FEW, FEWEST
from stages.segmentation.interval_text import few_note, figure, interval_text, wrapped
from stages.segmentation.trivial import NOTHING

__all__ = ["class_table", "honest_lines", "note_lines", "original_lines"]

Scores = Mapping[str, Any]

LONGEST_NAME = 24
MOST_CLASSES = 30
"""Number of classes that the table shows; of more, those with the lowest Dice."""


def honest_lines(scores: Scores) -> list[str]:
    """Return what belongs beside the Dice: the distances, the trivial predictions, and the scores of each class.

    Args:
        scores: The content of `scores.json`, at the store's size.
    """
    lines = []
    if "nsd" in scores:
        lines.append(
            f"HD95 {_pixels(scores['hd95']['mean'])} of the store ({scores['hd95_definition']}), "
            f"NSD {figure(scores['nsd']['mean'])} at {scores['tolerance_px']:g} px"
        )
    if trivial := scores.get("trivial"):
        everything = {name: dice for name, dice in trivial.items() if name != NOTHING and dice is not None}
        best = max(everything, key=lambda name: everything[name], default=None)
        said = [] if best is None else [f"{best} {figure(everything[best])}"]
        lines.append(wrapped(f"for comparison: Dice of {', '.join([*said, f'{NOTHING} {figure(trivial[NOTHING])}'])}"))
    return lines + class_table(scores.get("per_class", {}))


def original_lines(scores: Scores) -> list[str]:
    """Return the lines about the scores at the original size.

    Args:
        scores: The entry `original` of `scores.json`; empty if there is none.
    """
    if not scores:
        return []
    lines = [f"at original size: Dice {interval_text(scores['dice'])}"]
    if "nsd" in scores:
        hd95 = f"HD95 {_pixels(scores['hd95']['mean'])}"
        if "hd95_mm" in scores:
            hd95 += f" ({figure(scores['hd95_mm']['mean'], 2)} mm{_of_some(scores, 'hd95_mm')})"
        nsd = f"NSD {figure(scores['nsd']['mean'])} at {scores['tolerance_px']:g} px"
        if "nsd_mm" in scores:
            nsd += f" ({figure(scores['nsd_mm']['mean'])} at {scores['tolerance_mm']:g} mm{_of_some(scores, 'nsd_mm')})"
        lines.append(wrapped(f"at original size: {hd95}, {nsd}"))
    return lines


def class_table(per_class: Mapping[str, Scores]) -> list[str]:
    """Return an aligned table of the classes, at most 80 characters wide; nothing without classes.

    Args:
        per_class: The entry `per_class` of `scores.json`.
    """
    if not per_class:
        return []
    shown = dict(per_class)
    if len(shown) > MOST_CLASSES:
        order = sorted(shown, key=lambda name: _or_last(shown[name]["dice"]["mean"]))
        shown = {name: shown[name] for name in order[:MOST_CLASSES]}
    rows: list[tuple[str, ...]] = [("class", "images", "Dice (95 % interval)", "HD95 px", "NSD")]
    for name, one in shown.items():
        borders = (_cell(one, "hd95", 1), _cell(one, "nsd", 3))
        rows.append((_short(name), f"{one['n']:,}", interval_text(one["dice"]), *borders))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_aligned(row, widths) for row in rows]
    if hidden := len(per_class) - len(shown):
        lines.append(f"  … and {hidden} classes with a higher Dice, or that are in no image")
    return lines


def note_lines(scores: Scores) -> list[str]:
    """Return what a reader must know before believing the figures.

    Args:
        scores: The content of `scores.json`.
    """
    notes = [f"warning: this model {fault}" for fault in scores.get("one_sided", [])]
    if lost := scores.get("lost"):
        notes.append(
            f"note: in {lost} of these samples the store's mask lost a class that the source mask has. These count as "
            "missed (Dice 0 of this class). Extract at a larger --image-size"
        )
    if (few := few_note(scores["n"], scores.get("groups"))) is not None:
        notes.append(few)
    elif any(FEWEST <= one.get("groups", FEW) < FEW for one in scores.get("per_class", {}).values()):
        notes.append(f"note: the intervals of classes in fewer than {FEW} images or groups are too narrow")
    if scores.get("chosen_on_these_samples"):
        notes.append(
            "note: the checkpoint is the best of all epochs on these validation samples: these scores are optimistic. "
            "Report those of --split test"
        )
    if scores.get("includes_training_samples"):
        notes.append(
            "note: some of these samples, or others of their group, were used in training: these scores are biased"
        )
    return [note if "\n" in note else wrapped(note) for note in notes]


def _pixels(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1f} px"


def _cell(scores: Scores, metric: str, digits: int) -> str:
    """Return a mean for the table; "-" where it is not defined or was not computed."""
    mean = scores.get(metric, {}).get("mean")
    return "-" if mean is None else figure(mean, digits)


def _of_some(scores: Scores, metric: str) -> str:
    """Return in how many images a metric in mm is known, if not in all."""
    known = scores[metric]["n"]
    return f" over {counted(known, 'image')} with a known pixel size" if known < scores["n"] else ""


def _or_last(mean: float | None) -> float:
    return 2.0 if mean is None else mean


def _short(name: str) -> str:
    """Return a class name without control characters, shortened to fit the table."""
    name = "".join(character if character.isprintable() else "?" for character in name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """Return a line: the first and the third cell to the left, the numbers to the right."""
    cells = [
        cell.ljust(width) if position in {0, 2} else cell.rjust(width)
        for position, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return f"  {'  '.join(cells)}".rstrip()
