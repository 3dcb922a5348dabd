"""Settings of the stages: one frozen dataclass per stage, with the default and a sentence for every field.

Every default and every list of choices is defined here and nowhere else. The command line makes its options and help
from these classes, `params.yaml` is checked against them, and every stage takes one of them. Nothing heavy is
imported here, so that `pipeline --help` is fast.
"""

from __future__ import annotations

import ast
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Interval

from store.errors import UsageError

AtLeastOne = Annotated[int, Ge(1)]
NotNegative = Annotated[int, Interval(ge=0, lt=2**63)]  # a seed: torch takes 64 bits
Share = Annotated[float, Interval(ge=0, lt=1)]

LARGEST = 1e38
"""Largest value of a setting that is not a whole number: more is infinite in float32. So infinity is out of range."""
Above0 = Annotated[float, Interval(gt=0, le=LARGEST)]
AtLeast0 = Annotated[float, Interval(ge=0, le=LARGEST)]

Side = Annotated[int, Interval(ge=1, le=16384)]  # a typo must not exhaust the memory
Size = tuple[Side, Side]
"""(height, width) in pixels."""

TransformerPrecision = Literal["float32", "bfloat16"]
"""Arithmetic of the transformer whose attention is extracted; its softmax is always in float32."""

Device = str
"""`auto`, or a device name of torch: `cpu`, `cuda`, `cuda:1`, `mps`."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's RGB values in [0, 1]: every network here takes images scaled by them."""


SEGMENTATION = Path(__file__).parent / "segmentation"
IMAGING = Path(__file__).parent / "imaging"
"""The folders of the files with tables of choices."""


def names_in_table(source: Path, table: str) -> tuple[str, ...]:
    """Return the keys of a dict that a Python file defines, in the order of the source, without importing the file.

    Losses and other choices that can be extended are tables: one file holds the entries, and a setting has their names
    as choices. Importing the file would import torch and make `pipeline --help` slow, so its source is parsed.

    Args:
        source: the Python file.
        table: name of the dict at the top of the file; its keys are literals.

    Raises:
        LookupError: the file has no such dict.
    """
    for statement in ast.parse(source.read_text(encoding="utf-8")).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        entries = getattr(statement, "value", None)
        if isinstance(entries, ast.Dict) and any(isinstance(one, ast.Name) and one.id == table for one in targets):
            return tuple(ast.literal_eval(key) for key in entries.keys if key is not None)
    raise LookupError(f"{source}: has no table {table}")


if TYPE_CHECKING:
    LossName = str
    FusionName = str
    NormalisationName = str
    LayoutName = str
else:  # at run time the choices are the names in the tables, so a new entry needs no edit here
    LossName = Literal[names_in_table(SEGMENTATION / "losses.py", "LOSSES")]
    FusionName = Literal[names_in_table(SEGMENTATION / "fusions.py", "FUSIONS")]
    NormalisationName = Literal[names_in_table(SEGMENTATION / "normalisation.py", "NORMALISATIONS")]
    LayoutName = Literal["auto", *names_in_table(IMAGING / "layouts.py", "LAYOUTS")]

Classes = dict[str, int | str | list[int | str]] | Path
"""Class names with their mask values, or the file that has them."""
Labels = Literal["auto", "classes", "instances", "multilabel"]
SplitRule = Literal["auto", "exact", "hash"]
Instances = Literal["none", "components", "watershed"]
Branches = Literal["dual", "image", "attention"]
Blocks = Literal["plain", "residual"]
Stem = Literal["light", "full"]
Augment = Literal["full", "light", "none"]
Centring = Literal["sinkhorn", "centre"]
TrainingPrecision = Literal["auto", "float32", "bfloat16"]
Width = Annotated[int, Interval(ge=1, le=1024)]
"""Channels of the segmentation network's first level."""


OFFLINE = ("PIPELINE_OFFLINE", "HF_HUB_OFFLINE")
"""Environment variables that forbid downloads: the program's own and the one of the model hub's client."""


def setting(
    default: Any,
    text: str,
    *,
    may_change: bool = False,
    if_absent: Any = MISSING,
    switched_on_by: tuple[str, ...] = (),
) -> Any:
    """Return a dataclass field with its default and the rules that go with it.

    Args:
        default: value where neither the command line nor `params.yaml` gives one.
        text: the sentence that explains the setting to a user.
        may_change: the value may differ between an interrupted run and its continuation.
        if_absent: value that the setting counts as having if the state of an interrupted run lacks it. Without it, this
            is the default. If a default changes later, give its first value here; see `stages.runs.identity`.
        switched_on_by: environment variables that turn the setting on, unless the command line gives a value.
    """
    before = default if if_absent is MISSING else if_absent
    metadata = {"help": text, "may_change": may_change, "if_absent": before, "switched_on_by": switched_on_by}
    return field(default=default, metadata=metadata)


class Settings:
    """Base of all settings. It refuses infinity and NaN for library use too, where ranges are not checked."""

    def __post_init__(self) -> None:
        """Check the values that were given."""
        for name, value in vars(self).items():
            if isinstance(value, float) and not abs(value) <= LARGEST:
                raise UsageError(f"{name} is {value}: give a finite number of at most {LARGEST:g}.")


@dataclass(frozen=True, kw_only=True)
class PhantomSettings(Settings):
    """Settings of `pipeline phantom`, which draws synthetic dermoscopy-like images with masks."""

    out: Path = setting(Path("data/phantom"), "Folder to write `images/` and `masks/` into.")
    samples: AtLeastOne = setting(240, "Number of images to draw.")
    image_size: Size = setting((192, 256), "Height and width of the images in pixels.")
    seed: NotNegative = setting(0, "Seed. The same seed gives the same files, byte for byte.")


@dataclass(frozen=True, kw_only=True)
class ExtractSettings(Settings):
    """Settings of `pipeline extract`, which makes an attention store from images and masks."""

    images: Path = setting(Path("data/phantom/images"), "Folder of images.")
    masks: Path | None = setting(
        None, "Folder of masks, or a file with annotations of all images. Without it, masks beside the images are used."
    )
    csv: Path | None = setting(
        None, "Table `id,image,mask[,group]` in place of folders; a `split` column is for `train --split-csv`."
    )
    layout: LayoutName = setting("auto", "Layout of the data set; auto recognises it by the names of the files.")
    image_pattern: str | None = setting(None, "Names of the images, such as `{id}.{ext}` or `{group}/{id}.png`.")
    mask_pattern: str | None = setting(None, "Names of the masks, such as `{id}_anno.{ext}` or `{id}/masks/*.png`.")
    group_pattern: str | None = setting(
        None,
        "Regular expression for the patient in an image's path, such as `patient(\\d+)`; a patient stays in one split.",
    )
    store: Path = setting(Path("store/phantom.zarr"), "Path of the store; it appears there when it is complete.")
    model: str = setting("dino_vits8", "Name from `pipeline models`, or a file that `pipeline pretrain` wrote.")
    weights: Path | None = setting(None, "Weights file (.pth as published, or .safetensors) in place of the hub.")
    image_size: Size = setting((224, 224), "Size of images and masks in the store: 224, or HEIGHTxWIDTH.")
    attention_size: Size = setting((224, 224), "Size of the transformer's input; divisible by its patch size.")
    layers: tuple[int, ...] = setting((-3, -2, -1), "Blocks whose heads are kept; -1 is the last.")
    classes: Classes | None = setting(
        None,
        "Class names and their mask values: `skin=0,lesion=255`, ranges and lists `a=1-9,b=10+12,c=>12`, colours "
        "`a=#ff0000`; or a file: dataset.json of nnU-Net, labelmap.txt of CVAT. Without it masks are black and white.",
    )
    labels: Labels = setting(
        "auto",
        "classes: each value is a class; instances: each value is an object, all of one class; multilabel: several "
        "masks of an image are labels that may overlap; auto: the layout's kind, else classes.",
    )
    threshold: Annotated[float, Interval(gt=0, le=1)] | None = setting(
        None, "For soft masks: smallest share of white that is foreground, such as 0.5."
    )
    unclear: Share = setting(
        0.05, "For JPEG masks with classes: largest share of pixels that are far from every class."
    )
    device: Device = setting("auto", "auto, cpu, cuda, cuda:1, mps.")
    batch_size: AtLeastOne = setting(16, "Images per batch of the transformer; halved when it runs out of memory.")
    precision: TransformerPrecision = setting("float32", "Arithmetic of the transformer.")
    memo: Path = setting(Path(".memo"), "Folder that caches computed attention; deleting it loses time only.")
    on_error: Literal["stop", "skip"] = setting("stop", "What to do with a broken input: stop, or skip it.")
    cluster: str | None = setting(
        None,
        "Scheduler of a dask.distributed cluster to compute on, tls://HOST:PORT; tcp:// for this machine only. "
        "Start it with dask's commands, as SECURITY.md says; workers need the files under the same paths.",
    )
    cluster_insecure: bool = setting(
        False,
        "Allow tcp:// to other machines: anyone on the network who reaches the scheduler can run code there and here.",
    )
    offline: bool = setting(
        False,
        "Download nothing: use a weights file, or weights that were downloaded earlier. Also PIPELINE_OFFLINE=1.",
        switched_on_by=OFFLINE,
    )
    compress: bool = setting(False, "Compress images and attention too: a smaller store, but slower training.")
    dry_run: bool = setting(False, "Show the plan and check the files' headers; compute and write nothing.")


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Settings):
    """Settings of `pipeline train`, which makes a segmentation model from a store."""

    store: Path = setting(Path("store/phantom.zarr"), "Attention store to train from.", may_change=True)
    out: Path = setting(Path("runs/dual"), "Folder for the model, its history and its splits.", may_change=True)
    branches: Branches = setting("dual", "Encoders to use.")
    epochs: AtLeastOne = setting(40, "Passes over the training samples.")
    batch_size: AtLeastOne = setting(16, "Samples per step.")
    lr: Above0 = setting(1e-3, "Peak learning rate of AdamW.")
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
    branch_dropout: Share = setting(0.0, "Share of training samples with one branch silenced (dual only).")
    augment: Augment = setting(
        "full", "full: any orientation (dermoscopy, histology); light: left-right flips and small turns; none."
    )
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
    precision: TrainingPrecision = setting("auto", "auto: bfloat16 on CUDA, float32 elsewhere.")
    offline: bool = setting(
        False,
        "Send nothing: DVCLive writes its log without reporting to DVC Studio. Also PIPELINE_OFFLINE=1.",
        may_change=True,
        switched_on_by=OFFLINE[:1],
    )
    resume: bool = setting(
        False, "Resume an interrupted run in the same folder from its last saved epoch.", may_change=True
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(Settings):
    """Settings of `pipeline evaluate`, which scores a run on a store."""

    store: Path = setting(Path("store/phantom.zarr"), "Attention store with the samples to score.")
    run: Path = setting(Path("runs/dual"), "Folder that `pipeline train` wrote.")
    split: Literal["test", "val", "train", "all"] = setting("test", "Samples to score, as the run's splits.csv says.")
    masks: Path | None = setting(None, "Folder of source masks, for scores at their original size too.")
    csv: Path | None = setting(None, "Table with the source masks, in place of --masks.")
    instances: Instances = setting(
        "none", "Score single objects too (AJI, PQ): split the prediction into components or by watershed."
    )
    out: Path = setting(Path("reports/dual"), "Folder for metrics.json, per_sample.csv and pictures.")
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
    pixel_mm: Above0 | None = setting(None, "Side of a pixel of the original images in millimetres, for areas in mm².")
    weights: Path | None = setting(None, "The transformer's weights file, if the store was made with one.")
    offline: bool = setting(
        False,
        "Download nothing: use a weights file, or weights that were downloaded earlier. Also PIPELINE_OFFLINE=1.",
        switched_on_by=OFFLINE,
    )
    memo: Path = setting(Path(".memo"), "Folder that caches computed attention.")
    on_error: Literal["stop", "skip"] = setting("stop", "What to do with a broken image: stop, or skip it.")
    batch_size: AtLeastOne = setting(16, "Images per batch.")
    device: Device = setting("auto", "auto, cpu, cuda, cuda:1, mps.")


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(Settings):
    """Settings of `pipeline pretrain`, which trains a transformer with DINO on images without labels."""

    images: Path = setting(Path("data/phantom/images"), "Folder of images; labels are not used.", may_change=True)
    masks: Path | None = setting(
        None, "Folder of black and white masks, only to measure how well heads separate them.", may_change=True
    )
    out: Path = setting(
        Path("models/pretrained.safetensors"), "Weights file to write, for `extract --model`.", may_change=True
    )
    arch: str = setting("vit_tiny_patch8", "vit_tiny_patch8, vit_mini_patch8, or a ViT of timm: vit_small_patch16.")
    init: str | None = setting(None, "Initial weights: a file, or a name from `pipeline models`.")
    image_size: Annotated[int, Interval(ge=32, le=1024)] = setting(
        128, "Side at which images are kept in memory and heads are measured, in pixels."
    )
    global_crop: AtLeastOne = setting(64, "Side of the two large crops, in pixels.")
    local_crop: AtLeastOne = setting(32, "Side of the small crops, in pixels.")
    local_crops: NotNegative = setting(2, "Small crops of every image.")
    crop_split: Annotated[float, Interval(gt=0.05, lt=1)] = setting(
        0.25, "Share of an image's area: large crops cover more, small crops less."
    )
    steps: AtLeastOne = setting(2000, "Steps of the optimiser.")
    batch_size: Annotated[int, Ge(2)] = setting(64, "Images per step, over all processes.")
    lr: Above0 = setting(1e-3, "Peak learning rate of AdamW; try 5e-4 * batch / 256 for a large ViT.")
    warmup: Share = setting(0.1, "Share of the steps over which learning rate and teacher temperature rise.")
    weight_decay: AtLeast0 = setting(0.04, "Weight decay of AdamW at the first step.")
    weight_decay_end: AtLeast0 = setting(0.4, "Weight decay at the last step; half a cosine in between.")
    momentum: Annotated[float, Interval(ge=0, le=1)] = setting(
        0.99, "Teacher's momentum at the first step; then half a cosine up to 1. For larger batches: 0.996."
    )
    prototypes: Annotated[int, Ge(2)] = setting(256, "Outputs of the projection head; 65536 in the paper.")
    head_width: AtLeastOne = setting(512, "Hidden width of the projection head; 2048 in the paper.")
    batch_norm: bool = setting(True, "Batch normalisation in the projection head; small batches need it.")
    centring: Centring = setting(
        "sinkhorn", "Method that prevents the teacher's collapse to one answer: Sinkhorn-Knopp, or a running centre."
    )
    teacher_temperature: Above0 = setting(0.05, "Teacher's temperature; starts at 0.04 if higher.")
    student_temperature: Above0 = setting(0.1, "Student's temperature.")
    freeze_last: Share = setting(0.01, "Share of the steps during which the head's last layer is frozen.")
    clip: Above0 = setting(3.0, "Largest norm of the gradient.")
    watch_every: AtLeastOne = setting(50, "Steps between rows of the history; the state is saved as often.")
    description: str = setting("", "Description of the images in words; kept in the weights file.")
    licence: str = setting("not stated", "Licence of the weights; kept in the weights file.")
    seed: NotNegative = setting(0, "Seed of weights, order and crops.")
    device: Device = setting("auto", "auto, cpu, cuda, cuda:1, mps.", may_change=True)
    precision: TrainingPrecision = setting("auto", "auto: bfloat16 on CUDA, float32 elsewhere.")
    offline: bool = setting(
        False,
        "Download nothing: initial weights are a file or were downloaded earlier. Also PIPELINE_OFFLINE=1.",
        may_change=True,
        switched_on_by=OFFLINE,
    )
    resume: bool = setting(
        False, "Resume an interrupted run with the same output from its last saved step.", may_change=True
    )
