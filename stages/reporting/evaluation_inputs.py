"""Load a run and the samples of a store that it is scored on, and check that they may be scored.

Leakage is an error. Samples that the run was trained on are rejected, by image and by patient, also in another store
(`stages.segmentation.leakage`). Samples that were used to choose the checkpoint are rejected too, unless the split
`val` is asked for. `include_training` overrides both, and the scores then record it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stages.errors import UsageError
from stages.imaging.labels import LabelRules
from stages.imaging.parts import Part
from stages.imaging.pixel_sizes import pixel_sizes, sizes_in_files, stored_sizes
from stages.imaging.samples import LabelFile
from stages.imaging.source_masks import find_source_masks
from stages.imaging.stored_parts import stored_parts
from stages.runs.whole_store import require_whole
from stages.runtime.devices import resolve_device
from stages.runtime.out_of_memory import AdaptiveBatch
from stages.segmentation.checkpoint import SPLITS_FILE, ModelCard, load_model, require_fit
from stages.segmentation.inputs import adaptive_batch_for
from stages.segmentation.leakage import leaked_samples
from stages.segmentation.metrics import MetricRules, PixelSize
from stages.segmentation.network import Segmenter
from stages.segmentation.run_splits import NAMES, RunSplits, read_run_splits
from stages.segmentation.split_tables import UNLABELLED
from stages.segmentation.store_groups import StoreGroups, store_groups
from stages.segmentation.training_report import FEWEST_TO_CHOOSE
from store import AttentionStore
from store.chosen_texts import ChosenTexts
from store.remote.address import Place

__all__ = ["EvaluationInputs", "Request", "load_inputs"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """Say what is scored and how. The names are those of the options of `pipeline evaluate`."""

    run: Path
    """Folder of the run."""
    store: Place
    split: str = "test"
    """`train`, `val`, `test` or `all`."""
    include_training: bool = False
    masks: Path | None = None
    csv: Path | None = None
    instances: str = "none"
    rules: MetricRules = MetricRules()  # noqa: RUF009 - a frozen value
    """Definitions of the metrics; its `pixel_mm` holds for images whose row in the table gives no size."""
    device: str = "auto"
    batch_size: int = 32
    """Samples per batch; halved when memory runs out."""


@dataclass(frozen=True, kw_only=True)
class EvaluationInputs:
    """Hold everything that scoring needs, checked before the first sample is scored."""

    store: AttentionStore
    model: Segmenter
    card: ModelCard
    device: torch.device
    adaptive_batch: AdaptiveBatch
    """Batch size of all predictions of this model: what ran out of memory once is not tried again."""
    indices: NDArray[np.int64]
    """(sample,) positions in the store of the samples to score."""
    split: str
    includes_training: bool
    """True if any of these samples, or others of their group, were used in training or to choose the checkpoint."""
    chosen_on_these: bool
    """True if these are the validation samples by which the checkpoint was chosen."""
    masks: Mapping[str, Sequence[LabelFile]]
    """Source label files by sample id; empty when neither folder nor table was given."""
    labels: LabelRules
    """Meaning of the source label files."""
    instances: str
    """Method by which predictions are split into objects; `none` scores no objects."""
    rules: MetricRules
    """Definitions of the metrics, without the size of a pixel."""
    pixel_mm: Mapping[str, PixelSize]
    """Size of a pixel of the original image in mm by sample id, where it is known."""
    groups: Sequence[str]
    """Group of every sample to score. Groups that share an image (equal digests) are one."""

    @cached_property
    def ids(self) -> ChosenTexts:
        """The ids of the samples to score, by their positions in the store."""
        return self.store.chosen_texts("sample", self.indices)


def load_inputs(request: Request) -> EvaluationInputs:
    """Load the run and open the store, choose the samples, and find their source masks.

    Raises:
        StoreError, CheckpointError: the store or the run cannot be read, or they do not fit each other.
        UsageError: the split is empty, or holds samples that were used in training or to choose the checkpoint;
            objects are to be scored and the store has none; or millimetres are asked for and cannot be given.
        InputProblemsError: source masks are missing.
    """
    _require_masks_for_mm(request)
    device = resolve_device(request.device)
    model, card = load_model(request.run, device)
    store = AttentionStore.open(request.store)
    require_whole(store)
    require_fit(card, request.run, store)
    if request.instances != "none" and not store.has("instances"):
        raise UsageError(
            f"--instances {request.instances}: {request.store} has no objects to compare with.\n"
            "  Extract it with --labels instances, from masks in which every object has its own number."
        )
    splits = read_run_splits(request.run / SPLITS_FILE, card.splits_sha256)
    samples = store_groups(store, splits, trained_on=card.store_contents_sha256)
    indices, includes_training = _choose_samples(samples, splits, request)
    parts = stored_parts(store, indices)
    masks = find_source_masks(parts, store.description.masks, masks=request.masks, csv=request.csv)
    return EvaluationInputs(
        store=store,
        model=model,
        card=card,
        device=device,
        adaptive_batch=adaptive_batch_for(request.batch_size, card.network, device),
        indices=indices,
        split=request.split,
        includes_training=includes_training,
        # A run of a comparison that keeps its last step has validation samples, but they chose nothing.
        chosen_on_these=request.split == "val"
        and splits.count("val") >= FEWEST_TO_CHOOSE
        and card.val_dice is not None,
        masks=masks,
        labels=LabelRules.from_source(store.description.masks, store.classes),
        instances=request.instances,
        rules=request.rules,
        pixel_mm=_pixel_sizes(request, parts, {**sizes_in_files(masks), **stored_sizes(store, indices)}),
        groups=samples.names(indices),
    )


def _choose_samples(samples: StoreGroups, splits: RunSplits, request: Request) -> tuple[NDArray[np.int64], bool]:
    """Return the positions of the samples to score, and True if any of them are leaked.

    Raises:
        UsageError: no labelled sample is in the split, or leaked samples are among them and were not asked for.
    """
    wanted = samples.store.labelled
    if request.split != "all":
        codes = splits.codes_of(samples.digests)
        wanted = wanted & (codes == NAMES.index(request.split))
    chosen = np.flatnonzero(wanted).astype(np.int64)
    if not len(chosen):
        raise UsageError(
            f"{request.store}: none of its samples with a mask is in the split `{request.split}` of {request.run}.\n"
            "  For a store that was not used in training, use --split all."
        )
    seen = {"train", UNLABELLED}  # an image that was learnt from without its label is no new image either
    by = seen if request.split == "val" else {*seen, "val"}
    leaked = chosen[leaked_samples(samples, splits, chosen, by)]
    if len(leaked) and not request.include_training:
        ids = samples.store.chosen_texts("sample", leaked[:3])
        some = ", ".join(ids[index] for index in leaked[:3].tolist())
        raise UsageError(
            f"{request.run} was trained on {len(leaked)} of these {len(chosen)} samples, or on others of their "
            f"group,\n  or its checkpoint was chosen by them ({some}, …): their scores would be biased.\n"
            "  Use --split test. To score them all the same, add --include-training."
        )
    return chosen, bool(len(leaked))


def _require_masks_for_mm(request: Request) -> None:
    """Make sure that there are scores at the original size if scores in millimetres are asked for."""
    for option, value in (("--pixel-mm", request.rules.pixel_mm), ("--tolerance-mm", request.rules.tolerance_mm)):
        if value is not None and request.masks is None and request.csv is None:
            raise UsageError(
                f"{option} {value:g}: distances in millimetres are computed at the images' original size.\n"
                "  Give the source masks too, with --masks or --csv."
            )


def _pixel_sizes(
    request: Request, parts: Mapping[str, tuple[str, Part]], said: Mapping[str, PixelSize]
) -> dict[str, PixelSize]:
    """Return the size of a pixel by id: from the table, else from the option, else what the files say.

    What the files say counts if the size is then known for all samples, so that no mean is over a part of them, or if a
    tolerance in millimetres is given.

    Args:
        request: The options.
        parts: The parent and the part of it that each sample is.
        said: Sizes by id that the store records or the headers of the masks give.

    Raises:
        UsageError: a tolerance in millimetres is given, but no image's pixel size is known.
    """
    sizes: dict[str, PixelSize] = {}
    if request.rules.pixel_mm is not None:
        sizes = dict.fromkeys(parts, request.rules.pixel_mm)
    if request.csv is not None:
        of_files = pixel_sizes(request.csv, {parent for parent, _ in parts.values()})
        sizes |= {id_: of_files[parent] for id_, (parent, _) in parts.items() if parent in of_files}
    if len(sizes) < len(parts):
        known = {**said, **sizes}
        if len(known) == len(parts) or request.rules.tolerance_mm is not None:
            sizes = known
    if request.rules.tolerance_mm is not None and not sizes:
        raise UsageError(
            f"--tolerance-mm {request.rules.tolerance_mm:g}: the size of a pixel is known for none of these images.\n"
            "  Give it with --pixel-mm, or in a column `pixel_mm` of the table of --csv. Scans say it in their headers."
        )
    return sizes
