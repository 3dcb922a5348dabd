"""Write the top of a page: the verdict in one sentence, the figures beside it, and what limits them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stages.reporting.arms import Arm
from stages.reporting.content import Fact, Section, Table
from stages.reporting.differences import PairedArms
from stages.reporting.wording import NOTHING, POOR, named_classes, number, signed, with_interval
from stages.runtime.wording import counted
from stages.segmentation.bootstrap import FEW, FEWEST
from stages.segmentation.instances import INSTANCE_METRICS
from stages.segmentation.interval_text import COVERAGE, few_note
from stages.segmentation.metrics import ALL_METRICS

__all__ = ["facts", "notes", "score_section", "verdict"]

SPLITS = {"train": "training", "val": "validation", "test": "test", "all": ""}
SCORES = ("dice", "iou", "hd95", "nsd")


def verdict(arms: Sequence[Arm], pairs: Sequence[PairedArms]) -> str:
    """Return the answer in one or two sentences, with the interval and the number of images.

    Args:
        arms: The runs; the first is the main one.
        pairs: The first run against each other run.
    """
    main = arms[0]
    dice = main.scores["dice"]
    if dice["mean"] is None:
        return f"No score is defined on these {counted(len(main.cases), 'image')}: every pixel is ignored."
    kind = f"{SPLITS[main.inputs.split]} image".strip()
    values = [case.scores.dice for case in main.cases.values()]
    poor = sum(value < POOR for value in values)
    single = "this model" if len(arms) == 1 else _quoted(main.name)
    every = "all" if len(values) > 1 and poor == len(values) else poor
    failed = f"{every or 'none'} of them {'are' if poor > 1 else 'is'} below {POOR}"
    sentence = (
        f"On {counted(dice['n'], kind)}{_from_groups(dice)} {single} finds {named_classes(main.inputs.card.classes)} "
        f"with a mean Dice of {_interval(dice)}; {failed}."
    )
    return " ".join([sentence, *map(_difference, pairs)])


def _from_groups(interval: Mapping[str, Any]) -> str:
    groups = interval.get("groups", interval["n"])
    return f" from {counted(groups, 'group')}" if groups != interval["n"] else ""


def _interval(interval: Mapping[str, Any], digits: int = 2) -> str:
    """Return a mean with its interval in words; says so if there is none."""
    if interval.get("low") is None:
        unit = "groups" if interval.get("groups", interval["n"]) != interval["n"] else "images"
        why = f" (no interval: fewer than {FEWEST} {unit})" if interval.get("groups", interval["n"]) < FEWEST else ""
        return number(interval["mean"], digits) + why
    low, high = number(interval["low"], digits), number(interval["high"], digits)
    return f"{number(interval['mean'], digits)} (95 % interval {low} to {high})"


def _difference(pair: PairedArms) -> str:
    """Return the comparison with another run in one sentence; claims nothing where the interval holds zero."""
    difference = pair.difference
    other = _quoted(pair.other.name)
    if difference["mean"] is None:
        return f"No common image has a score to compare it with {other}."
    images = "" if pair.all_common else f"On the {counted(pair.common, 'image')} that both have, "
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        mean = signed(difference["mean"])
        text = f"its Dice differs from that of {other} by {mean}, on too few images for a conclusion."
    elif low > 0 or high < 0:
        ends = sorted((abs(low), abs(high)))
        side = "ahead of" if low > 0 else "behind"
        text = f"it is {side} {other} by {abs(difference['mean']):.3f} ({ends[0]:.3f} to {ends[1]:.3f})."
    else:
        text = f"no difference to {other} can be shown: {signed(difference['mean'])} ({signed(low)} to {signed(high)})."
    return images + (text if images else text[0].upper() + text[1:])


def _quoted(name: str) -> str:
    return f"“{name}”"


def facts(arms: Sequence[Arm]) -> list[Fact]:
    """Return the main figures: those of the first run, and the Dice of the others."""
    main = arms[0]
    shown = []
    for name in SCORES:
        if name in main.scores and isinstance(main.scores[name], Mapping):
            metric = ALL_METRICS[name]
            label = metric.heading + (f" ({metric.unit})" if metric.unit else "")
            shown.append(
                Fact(label=label, value=number(main.scores[name]["mean"], _digits(name)), detail=_ends(main, name))
            )
    if original := main.scores.get("original"):
        detail = with_interval(original["dice"]).removeprefix(number(original["dice"]["mean"])).strip(" ()")
        shown.append(
            Fact(
                label="Dice, original size", value=number(original["dice"]["mean"]), detail=detail and f"95 %: {detail}"
            )
        )
    dice = main.scores["dice"]
    shown.append(Fact(label="Images", value=f"{dice['n']:,}", detail=_from_groups(dice).strip()))
    shown += [
        Fact(label=f"Dice of {arm.name}", value=number(arm.scores["dice"]["mean"]), detail=_ends(arm, "dice"))
        for arm in arms[1:]
    ]
    trivial = main.scores.get("trivial") or {}
    shown += [
        Fact(label=f"Dice of predicting {name}", value=number(value), detail="for comparison")
        for name, value in sorted(trivial.items(), key=lambda item: -(item[1] or 0))[:1]
    ]
    return shown


def score_section(arms: Sequence[Arm]) -> Section:
    """Return the table of all scores of all runs, and of predicting one class everywhere."""
    names = [name for name in ALL_METRICS if any(isinstance(arm.scores.get(name), Mapping) for arm in arms)]
    heads = [
        ALL_METRICS[name].heading + (f" ({ALL_METRICS[name].unit})" if ALL_METRICS[name].unit else "") for name in names
    ]
    rows = [
        [arm.name, f"{arm.scores['n']:,}", *(with_interval(arm.scores[name], _digits(name)) for name in names)]
        for arm in arms
    ]
    for arm in arms:
        if original := arm.scores.get("original"):
            row = [with_interval(original[name], _digits(name)) if name in original else NOTHING for name in names]
            rows.append([f"{arm.name}, original size", f"{original['n']:,}", *row])
    for name, value in (arms[0].scores.get("trivial") or {}).items():
        rows.append([f"predicting {name}", f"{arms[0].scores['n']:,}", number(value), *([NOTHING] * (len(names) - 1))])
    means = Table(
        title="Means over images"
        + (", with their 95 % intervals" if arms[0].scores["dice"].get("low") is not None else ""),
        columns=["run", "images", *heads],
        rows=rows,
        caption="A model is only useful if it is clearly better than predicting one class everywhere.",
        numeric=range(1, 2 + len(names)),
    )
    return Section(id="scores", title="All scores", blocks=[means, *_objects(arms)])


def _objects(arms: Sequence[Arm]) -> list[Table]:
    """Return the table of the scores of single objects; nothing if none were computed."""
    rows = [
        [
            f"{arm.name}{where}",
            *(with_interval(scores["instances"][name]) for name in INSTANCE_METRICS),
            f"{scores['instances']['true_objects']:,}",
            f"{scores['instances']['predicted_objects']:,}",
        ]
        for arm in arms
        for scores, where in ((arm.scores, ""), (arm.scores.get("original") or {}, ", original size"))
        if "instances" in scores
    ]
    columns = ["run", *(name.upper() for name in INSTANCE_METRICS), "objects", "predicted objects"]
    return [Table(title="Single objects", columns=columns, rows=rows, numeric=range(1, len(columns)))] if rows else []


def _digits(metric: str) -> int:
    return 3 if ALL_METRICS[metric].unit == "" else 1


def _ends(arm: Arm, name: str) -> str:
    interval = arm.scores[name]
    digits = _digits(name)
    if interval.get("low") is None:
        return ""
    return f"95 %: {number(interval['low'], digits)} to {number(interval['high'], digits)}"


def notes(arms: Sequence[Arm], pairs: Sequence[PairedArms]) -> list[str]:
    """Return what a reader must know before believing the figures."""
    found: list[str] = []
    for arm in arms:
        whose = "" if len(arms) == 1 else f"{arm.name}: "
        if arm.inputs.includes_training:
            found.append(
                f"{whose}Some of these images, or others of their group, were used in training. The scores are biased."
            )
        if arm.scores.get("chosen_on_these_samples"):
            found.append(f"{whose}The checkpoint was chosen by its score on these images. The scores are optimistic.")
        found += [f"{whose}The model {note}." for note in arm.scores.get("one_sided", [])]
        if lost := arm.scores.get("lost"):
            found.append(
                f"{whose}In {counted(lost, 'image')} the store's mask lost a class that the source mask has. They "
                "count as missed (Dice 0 of this class). Extract at a larger --image-size."
            )
    few = few_note(arms[0].scores["n"], arms[0].scores.get("groups"))
    if few is not None:
        found.append(_sentence(few))
    else:
        found += [_few_common(pair) for pair in pairs if FEWEST <= pair.difference["groups"] < FEW]
    if (intervals := sum(pair.difference["low"] is not None for pair in pairs)) > 1:
        found.append(
            f"{arms[0].name} is compared with {intervals} runs. The intervals of the differences are not corrected "
            "for this number: the more runs, the more likely one leaves zero out by chance. `pipeline compare` has "
            "corrected p values."
        )
    found += [
        f"{pair.main.name} and {pair.other.name} were scored on different images. They are compared on the "
        f"{counted(pair.common, 'image')} that both have; {pair.only_main:,} and {pair.only_other:,} are left out of "
        "the comparison."
        for pair in pairs
        if not pair.all_common
    ]
    return found


def _few_common(pair: PairedArms) -> str:
    """Return the note on a difference over few images, where the run itself was scored on more."""
    groups, images = pair.difference["groups"], pair.difference["n"]
    of = counted(images, "image") + (f" of {counted(groups, 'group')}" if groups != images else "")
    return (
        f"The difference to {pair.other.name} is from {of}, which are few: its 95 % interval is too narrow "
        f"(it holds the true mean in {COVERAGE})."
    )


def _sentence(note: str) -> str:
    """Return a note of the terminal as one sentence."""
    text = re.sub(r"\s+", " ", note.removeprefix("note: "))
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
