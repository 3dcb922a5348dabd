"""Settings of the stages that work from a store: `train`, `evaluate`, `predict`, `compare`, `report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval

from stages.settings.fields import (
    OFFLINE,
    Above0,
    AtLeast0,
    AtLeastOne,
    Augment,
    Blocks,
    Border,
    Branches,
    Device,
    FusionName,
    Hd95Name,
    Instances,
    LayoutName,
    LearningRate,
    LossName,
    NormalisationName,
    NotNegative,
    Settings,
    Share,
    SplitRule,
    Stem,
    TrainingPrecision,
    Width,
    setting,
)
from store.remote.address import Place


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Settings):
    """Settings of `pipeline train`, which makes a segmentation model from a store."""

    store: Place = setting(
        Path("store/phantom.zarr"),
        "Attention store to train from; a folder, or an address such as s3://bucket/isic.zarr.",
        may_change=True,
    )
    out: Path = setting(Path("runs/dual"), "Folder for the model, its history and its splits.", may_change=True)
    branches: Branches = setting("dual", "Encoders to use.")
    epochs: AtLeastOne | None = setting(
        None,
        "Passes over the training samples. Without --epochs and --steps: 40, or as many as 2,000 steps need.",
        if_absent=40,
    )
    steps: AtLeastOne | None = setting(
        None,
        "Steps of the optimiser, in place of --epochs; equal steps make runs with few and many samples comparable.",
    )
    labels: AtLeastOne | None = setting(
        None, "Train on only so many of the training samples, drawn by --seed; larger numbers contain the smaller ones."
    )
    batch_size: AtLeastOne = setting(16, "Samples per step.")
    lr: LearningRate = setting(1e-3, "Peak learning rate of AdamW.")
    weight_decay: AtLeast0 = setting(1e-4, "Weight decay of AdamW.")
    warmup: Share = setting(0.05, "Share of the steps over which the learning rate rises; then a cosine to zero.")
    loss: LossName = setting(
        "dice_ce", "Training loss: soft Dice plus cross-entropy, Dice plus focal, or cross-entropy."
    )
    width: Width = setting(8, "Channels of the first level; doubled at every level below.")
    blocks: Blocks = setting("residual", "Convolution blocks of every level.")
    fusion: FusionName = setting("levels", "Where the branches meet: at every level, or at the bottleneck only.")
    stem: Stem = setting(
        "light", "light: the image starts at stride 2 and attention at its own grid; full: both at full resolution."
    )
    attention_norm: NormalisationName = setting(
        "log", "Scaling of every map: log, then mean 0 and deviation 1; minmax: to [0, 1]; none: as stored."
    )
    branch_dropout: Share = setting(
        0.5, "Share of training samples with one branch silenced (dual only).", if_absent=0.0
    )
    augment: Augment = setting(
        "full",
        "full: any orientation (dermoscopy, histology); light: left-right flips and small turns; "
        "geometry: as full, but colours stay as they are; none.",
    )
    border: Border = setting(
        "ignore",
        "Mask outside an augmented picture; ignore: not counted in the loss; mirror: reflected like the image.",
        if_absent="mirror",
    )
    map_dropout: Share = setting(
        0.3,
        "Probability that a map of a training sample is set to zero; one of them always stays.",
        if_absent=0.0,
    )
    map_noise: Share = setting(
        0.5,
        "Noise, shift and change of scale of the maps in training, in deviations of a map (none: in units as stored).",
        if_absent=0.0,
    )
    ema: Share = setting(
        0.0, "Decay of a moving average of the weights, which is then validated and saved, such as 0.99; 0 for none."
    )
    unlabelled: bool = setting(
        False,
        "Also learn from samples without a mask and from those that --labels leaves out: the moving average teaches "
        "(decay 0.99 if --ema is 0).",
    )
    consistency: AtLeast0 = setting(1.0, "Weight of the loss of unlabelled samples.")
    confidence: Share = setting(0.95, "Least probability at which a pixel of an unlabelled sample is learnt from.")
    seed: NotNegative = setting(0, "Seed of weights, order and augmentation.")
    split_seed: NotNegative = setting(0, "Seed of the train/val/test split.")
    val: Share = setting(0.15, "Share of the samples for choosing the checkpoint.")
    test: Share = setting(0.2, "Share of the samples kept for `pipeline evaluate`.")
    split_rule: SplitRule = setting(
        "auto",
        "exact: the given sizes, similar foreground in all splits; hash: adding images never moves a test image; "
        "auto: exact for small sets.",
        may_change=True,
    )
    split_csv: Path | None = setting(
        None, "Table `id,split` with train, val or test in place of the seeded split.", may_change=True
    )
    folds: Annotated[int, Interval(ge=0, le=100)] = setting(
        0, "Cross-validation: number of models, each tested on another part of the samples; 0 trains a single model."
    )
    device: Device = setting("auto", "auto, cpu, cuda, cuda:1, mps.", may_change=True)
    precision: TrainingPrecision = setting("auto", "auto: bfloat16 on CUDA and on processors with AMX, else float32.")
    offline: bool = setting(
        False,
        "Open no connection: a store at an address is read from its cache, and DVCLive does not report to DVC Studio. "
        "Also PIPELINE_OFFLINE=1.",
        may_change=True,
        switched_on_by=OFFLINE[:1],
    )
    resume: bool = setting(
        False, "Resume an interrupted run in the same folder from its last saved epoch.", may_change=True
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(Settings):
    """Settings of `pipeline evaluate`, which scores a run on a store."""

    store: Place = setting(Path("store/phantom.zarr"), "Attention store with the samples to score.")
    run: Path = setting(Path("runs/dual"), "Folder that `pipeline train` wrote.")
    split: Literal["test", "val", "train", "all"] = setting("test", "Samples to score, as the run's splits.csv says.")
    masks: Path | None = setting(None, "Folder of source masks, for scores at their original size too.")
    csv: Path | None = setting(None, "Table with the source masks, in place of --masks.")
    instances: Instances = setting(
        "none", "Score single objects too (AJI, PQ): split the prediction into components or by watershed."
    )
    hd95: Hd95Name = setting(
        "monai", "HD95: the larger percentile of both directions (monai), or of all distances together (pooled: medpy)."
    )
    tolerance: AtLeast0 = setting(2.0, "Distance in pixels up to which a border counts as right in NSD (surface Dice).")
    tolerance_mm: AtLeast0 | None = setting(None, "Also give NSD with this tolerance in mm, at the original size.")
    pixel_mm: Above0 | None = setting(
        None,
        "Side of a pixel of the original images in mm, for distances in mm; a column pixel_mm of --csv comes first. "
        "Without both, it is what the scans or their masks say.",
    )
    out: Path = setting(Path("reports/dual"), "Folder for metrics.json, scores.json, per_sample.csv and pictures.")
    include_training: bool = setting(False, "Allow samples that the run was trained on; such scores are too high.")
    overlays: NotNegative = setting(4, "Pictures of each of the worst, median and best cases.")
    batch_size: AtLeastOne = setting(32, "Samples per batch.")
    device: Device = setting("auto", "auto, cpu, cuda, cuda:1, mps.")


@dataclass(frozen=True, kw_only=True)
class PredictSettings(Settings):
    """Settings of `pipeline predict`, which segments new images with a run."""

    images: Path = setting(Path("data/phantom/images"), "An image, or a folder of images.")
    csv: Path | None = setting(None, "Table `id,image` in place of the folder.")
    layout: LayoutName = setting("auto", "Layout of the folder; auto recognises it by the names of the files.")
    image_pattern: str | None = setting(None, "Names of the images, such as `{id}.{ext}` or `{group}/{id}.png`.")
    run: Path = setting(Path("runs/dual"), "Folder that `pipeline train` wrote.")
    out: Path = setting(Path("predictions"), "Folder for the masks.")
    probabilities: bool = setting(False, "Also write `<id>.npy`, the probability of every class.")
    overlay: bool = setting(False, "Also write `<id>_overlay.png`, the image with the outlines of the mask.")
    contours: bool = setting(False, "Also write `<id>.geojson`, the outlines as polygons in pixels (QuPath reads it).")
    table: bool = setting(False, "Also write `table.csv`: area, objects and confidence of every image and class.")
    instances: Instances = setting(
        "none", "Also write `<id>_instances.png`, one number per object: connected components, or split by watershed."
    )
    uncertainty: bool = setting(False, "Also write `<id>_uncertainty.png`: the entropy of the probabilities, 0 to 255.")
    flips: bool = setting(False, "Average the predictions of the image and its flips (test-time augmentation).")
    pixel_mm: Above0 | None = setting(
        None, "Side of a pixel of the original images in mm, for areas in mm²; scans say it in their headers."
    )
    weights: Path | None = setting(None, "The transformer's weights file, if the store was made with one.")
    offline: bool = setting(
        False,
        "Download nothing: use a weights file, or weights that were downloaded earlier. Also PIPELINE_OFFLINE=1.",
        switched_on_by=OFFLINE,
    )
    memo: Path = setting(Path(".memo"), "Folder that caches computed attention.")
    on_error: Literal["stop", "skip"] = setting("stop", "What to do with a broken image: stop, or skip it.")
    batch_size: AtLeastOne = setting(16, "Images per batch.")
    devices: str | None = setting(
        None, "Several devices for the transformer, one process each: 0,1,2 for GPUs, or names such as cuda:0,cuda:1."
    )
    device: Device = setting("auto", "auto, cpu, cuda, cuda:1, mps.")


@dataclass(frozen=True, kw_only=True)
class CompareSettings(Settings):
    """Settings of `pipeline compare`, which trains several arms with few and many labels and compares them.

    The settings that all arms share, such as the learning rate, are those of `train`; see `stages.comparison.arms`.
    """

    store: Place = setting(Path("store/phantom.zarr"), "Attention store to train and test on.")
    out: Path = setting(Path("reports/compare"), "Folder for the report, the tables and the models.")
    arms: tuple[str, ...] = setting(
        ("dual", "image"), "Arms by branches: dual, image, attention. The first is compared with every other one."
    )
    arm: dict[str, str] | None = setting(
        None,
        "A further arm, NAME=BRANCHES[,setting=value...] with settings of train, such as wide=dual,width=16 or "
        "other=dual,store=OTHER; can be repeated. To have no others, give --arms none.",
    )
    common: tuple[str, ...] = setting(
        (), "Settings of train for all arms, setting=value,...; those not given are taken from the section train."
    )
    labels: tuple[str, ...] = setting(
        ("16", "64", "all"), "Numbers of labelled training samples; all is the whole training split."
    )
    seeds: tuple[str, ...] = setting(
        ("0-2",), "Seeds, such as 0-4 or 1,5,9; each draws other labels, weights and augmentation."
    )
    steps: AtLeastOne = setting(2000, "Steps of the optimiser in every run.")
    score: Literal["test", "val"] = setting("test", "Split that is scored; choose settings on val, report on test.")
    goal: Annotated[float, Interval(gt=0, lt=1)] = setting(0.85, "Dice for which the number of labels is estimated.")
    more: AtLeastOne = setting(50, "Further labels whose gain is estimated.")
    checkpoint: Literal["last", "best"] = setting(
        "last", "last: the model after the last step; best: the best on the validation samples, which need labels too."
    )
    keep_models: Literal["none", "first", "all"] = setting(
        "first", "Models that are kept, to predict with: of no seed, of the first, or of all."
    )
    images: Path | None = setting(None, "Folder of source images, to show them at their own resolution in the report.")
    device: Device = setting("auto", "auto, cpu, cuda, cuda:1, mps.")


@dataclass(frozen=True, kw_only=True)
class ReportSettings(Settings):
    """Settings of `pipeline report`, which makes one HTML page of runs or of a comparison."""

    store: Place = setting(Path("store/phantom.zarr"), "Attention store with the samples of the report.")
    split: Literal["test", "val", "train", "all"] = setting("test", "Samples to show, as each run's splits.csv says.")
    out: Path = setting(Path("report.html"), "The page to write.")
    images: Path | None = setting(None, "Folder of source images, to show them at their own resolution.")
    masks: Path | None = setting(None, "Folder of source masks, for contours and scores at the original size.")
    csv: Path | None = setting(None, "Table with the source images and masks, in place of --images and --masks.")
    cases: NotNegative = setting(500, "Largest number of cases with pictures; every case is in the table.")
    include_training: bool = setting(False, "Allow samples that a run was trained on; such scores are too high.")
    batch_size: AtLeastOne = setting(32, "Samples per batch.")
    device: Device = setting("auto", "auto, cpu, cuda, cuda:1, mps.")
