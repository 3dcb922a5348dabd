"""Show what concerns the data: labels that may be wrong, samples that were left out, and the origin of everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from stages.reporting.arms import Arm
from stages.reporting.content import Block, Paragraph, Section, Table
from stages.reporting.label_doubts import CONFIDENT, IN_DOUBT
from stages.reporting.wording import number, percent
from stages.runs.licences import NOT_USED, licence_of, licence_of_run
from stages.runtime.wording import counted
from store import AttentionStore

__all__ = ["LICENCE", "doubt_section", "left_out_section", "provenance"]

LICENCE = "Licence of the transformer's weights"
MOST_LISTED = 20
PROGRAM = "diamant-pipeline"
HD95_TEXTS = {
    "monai": "HD95: the 95th percentile of the distances from each border to the other, the larger of both directions "
    "(as in MONAI)",
    "pooled": "HD95: the 95th percentile of the distances of both directions together (as in medpy)",
}
INTERVALS = (
    "95 %, percentile bootstrap over images; images of one group are resampled together. They do not hold the "
    "variation between trainings"
)
SETTINGS = ("seed", "split_seed", "branches", "width", "loss", "augment", "lr", "batch_size")
"""Settings of a training that the page shows, if the run recorded them."""


def doubt_section(arms: Sequence[Arm]) -> Section:
    """Return the images whose label may be wrong, the most suspicious first."""
    found: list[tuple[float, list[str]]] = []
    for arm in arms:
        found += [
            (
                doubt.share,
                [arm.inputs.ids[index], arm.name, number(arm.cases[index].scores.dice), str(doubt)],
            )
            for index, doubt in arm.doubts.items()
            if doubt.is_suspicious
        ]
    found.sort(key=lambda one: -one[0])
    rule = (
        f"An image is listed if the model is at least {percent(CONFIDENT)} sure of an answer that the label "
        f"contradicts, on an area of at least {percent(IN_DOUBT)} of the object. "
    )
    if not found:
        return Section(
            id="labels",
            title="Labels that may be wrong",
            blocks=[Paragraph(text=f"{rule}There is no such image among these.")],
        )
    images = {row[0] for _, row in found}
    shown = [row for _, row in found[:MOST_LISTED]]
    blocks: list[Block] = [
        Paragraph(
            text=f"{rule}This is a suspicion and no proof: a model can be sure and wrong. Look at the image before "
            "changing its label, and never correct labels of test images by the model that is tested on them."
        ),
        Table(
            title="Look at these labels",
            columns=["image", "run", "Dice", "why"],
            rows=shown,
            caption=f"{counted(len(images), 'image')} in doubt"
            + (f"; the {MOST_LISTED} most suspicious rows are shown." if len(found) > len(shown) else "."),
            numeric=(2,),
        ),
    ]
    return Section(id="labels", title="Labels that may be wrong", blocks=blocks)


def left_out_section(arms: Sequence[Arm]) -> Section:
    """Return what is not among the scored images, and why."""
    store = arms[0].inputs.store
    scored = {index for arm in arms for index in arm.cases}
    unlabelled = int((~store.labelled).sum())
    others = len(store) - unlabelled - len(scored)
    split = arms[0].inputs.split
    rows = [["in the store", f"{len(store):,}", ""], ["scored here", f"{len(scored):,}", f"split: {split}"]]
    if others:
        rows.append(
            ["in other splits", f"{others:,}", "used for training, or to choose the checkpoint, or in no split"]
        )
    if unlabelled:
        rows.append(["without a mask", f"{unlabelled:,}", "cannot be scored"])
    skipped = store.description.skipped
    if skipped:
        rows.append(["left out by extract", f"{len(skipped):,}", "could not be used; listed below"])
    blocks: list[Block] = [Table(title="Images", columns=["images", "number", "why"], rows=rows, numeric=(1,))]
    if skipped:
        blocks.append(
            Table(
                title="Files that extract left out",
                columns=["file", "why"],
                rows=[[one["where"], one["what"]] for one in skipped[:MOST_LISTED]],
                caption=f"The first {MOST_LISTED} of {len(skipped):,}." if len(skipped) > MOST_LISTED else "",
            )
        )
    if lost := _lost(store, scored):
        blocks.append(Paragraph(text=lost, kind="warning"))
    return Section(id="left-out", title="What was scored, and what was left out", blocks=blocks)


def _licences(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Return the licence of the transformer's weights, or one row each for the store and the runs if they differ.

    Runs that take no attention need none. If there are no others, the row says so.
    """
    store = arms[0].inputs.store
    stored = licence_of(store.recipe, store.description.weights_licence)
    cards = {arm.name: arm.inputs.card for arm in arms}
    trained = {
        name: licence_of_run(card.recipe, card.weights_licence, branches=card.network.branches)
        for name, card in cards.items()
    }
    needed = set(trained.values()) - {NOT_USED}
    if needed <= {stored}:
        return [(LICENCE, stored if needed else NOT_USED)]
    return [(f"{LICENCE}, as the store records it", stored)] + [
        (f"{LICENCE}, as {name} records it", licence) for name, licence in trained.items()
    ]


def _lost(store: AttentionStore, scored: set[int]) -> str:
    """Return the sentence on objects that are too small for the store's size; "" if there are none."""
    if not store.has("lost_objects"):
        return ""
    column = store.column("lost_objects")
    images = [index for index in sorted(scored) if column[index] > 0]
    if not images:
        return ""
    objects = int(sum(column[index] for index in images))
    return (
        f"{counted(objects, 'object')} in {counted(len(images), 'image')} are too small for the store's size and have "
        "no pixel in its masks. Extract at a larger --image-size to score them."
    )


def provenance(arms: Sequence[Arm], settings: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return where everything comes from, as label and value for the foot of the page.

    Args:
        arms: The runs.
        settings: By run, the settings of its training; empty where they were not recorded.
    """
    store, recipe = arms[0].inputs.store, arms[0].inputs.store.recipe
    rows = [
        ("Store", f"{store.path.name}, contents {store.description.contents_sha256[:12]}"),
        ("Attention", _attention(recipe)),
        *_licences(arms),
        ("Splits", _splits(arms)),
    ]
    for arm in arms:
        known = settings.get(arm.name, {})
        shown = [f"{name} {known[name]}" for name in SETTINGS if isinstance(known.get(name), str | int | float)]
        rows.append((f"Training of {arm.name}", ", ".join(shown) or f"{arm.inputs.card.network.branches}"))
    definition = str(arms[0].scores.get("hd95_definition", "monai"))
    tolerance = arms[0].scores.get("tolerance_px")
    rows.append(("Distances", HD95_TEXTS.get(definition, definition) + ", in pixels of the store"))
    if tolerance is not None:
        rows.append(("NSD", f"share of the borders within {tolerance:g} px of each other (Nikolov et al. 2018)"))
    rows.append(("Intervals", INTERVALS))
    return [*rows, ("Made by", f"{PROGRAM} {_version(PROGRAM)}, torch {_version('torch')}, numpy {_version('numpy')}")]


def _attention(recipe: Mapping[str, Any]) -> str:
    parts = [str(recipe.get("model", "unknown model"))]
    if size := recipe.get("input_size"):
        parts.append(f"at {'×'.join(map(str, size))} px")
    if heads := recipe.get("heads"):
        parts.append(f"{len(heads)} heads of the blocks {', '.join(str(layer) for layer in recipe.get('layers', []))}")
    if digest := recipe.get("weights_sha256"):
        parts.append(f"weights {str(digest)[:12]}")
    return ", ".join(parts)


def _splits(arms: Sequence[Arm]) -> str:
    digests = {arm.inputs.card.splits_sha256 for arm in arms}
    same = "the same for all runs" if len(arms) > 1 and len(digests) == 1 else ""
    named = ", ".join(sorted(digest[:12] for digest in digests if digest)) or "not recorded"
    return f"{named}{f', {same}' if same else ''}; images of one group are in one split"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(version unknown)"
