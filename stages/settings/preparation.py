"""Settings of the stages that prepare data: `phantom`, `extract`, `pretrain`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Interval, Len

from stages.settings.fields import (
    OFFLINE,
    Above0,
    AtLeast0,
    AtLeastOne,
    AxisName,
    Centring,
    Classes,
    Device,
    Fit,
    Labels,
    LayoutName,
    LearningRate,
    NotNegative,
    PositionRule,
    Settings,
    Share,
    Size,
    TrainingPrecision,
    TransformerPrecision,
    setting,
)

WINDOW = (
    "Values that become black and white in images of more than 8 bits: two values such as -160:240; percentiles (0.5 "
    "and 99.5 of each file); percentiles:1:99; minmax (of each image); file (its own window); auto: percentiles."
)


@dataclass(frozen=True, kw_only=True)
class PhantomSettings(Settings):
    """Settings of `pipeline phantom`, which draws synthetic dermoscopy-like images with masks."""

    out: Path = setting(Path("data/phantom"), "Folder to write `images/` and `masks/` into.")
    samples: AtLeastOne = setting(240, "Number of images to draw.")
    image_size: Size = setting((192, 256), "Height and width of the images in pixels.")
    seed: NotNegative = setting(0, "Seed. The same seed gives the same files, byte for byte.")
    without_lesion: Share = setting(
        0.03, "Share of images of skin only, with an empty mask; the other images are the same with any share."
    )


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
    channels: str | None = setting(
        None,
        "Channels to use, by name or by number from 0: one as grey, two or three as red, green and blue, such as "
        "`DAPI,GFP`. Needed for files of two channels, or of more than three.",
    )
    store: Path = setting(Path("store/phantom.zarr"), "Path of the store; it appears there when it is complete.")
    model: str = setting("dino_vits8", "Name from `pipeline models`, or a file that `pipeline pretrain` wrote.")
    weights: Path | None = setting(None, "Weights file (.pth as published, or .safetensors) in place of the hub.")
    licence: Annotated[str, Len(max_length=1000)] = setting(
        "",
        "Licence of the weights, recorded in the store. Without it: that known for the model or stated in its file.",
    )
    image_size: Size = setting((224, 224), "Size of images and masks in the store: 224, or HEIGHTxWIDTH.")
    attention_size: Size = setting((224, 224), "Size of the transformer's input; divisible by its patch size.")
    axis: AxisName = setting(
        "axial", "Axis along which scans with a geometry (NIfTI) are cut into slices; 0, 1, 2 are those of the array."
    )
    tile: Size | None = setting(
        None, "Cut images into tiles of this size, each a sample: 512, or HEIGHTxWIDTH in pixels of --resolution."
    )
    overlap: NotNegative = setting(0, "Pixels that neighbouring tiles share.")
    resolution: str = setting(
        "1", "Resolution of tiles: a reduction (2: half the pixels along each side), or micrometres per pixel: 0.5um."
    )
    context: NotNegative = setting(
        0, "Pixels around a tile that the transformer sees too, on every side; black beyond the image."
    )
    tile_background: Annotated[float, Interval(gt=0, le=1)] | None = setting(
        None,
        "Leave out tiles of which at least this share is plain white or black, such as 0.95; tiles with labels stay.",
    )
    position_embedding: PositionRule = setting(
        "timm",
        "Resampling of position embeddings to --attention-size: timm's, original: that of DINO's and DINOv2's own "
        "code, or transformers: that of Hugging Face. At the size of the weights nothing is resampled.",
    )
    layers: tuple[int, ...] = setting((-3, -2, -1), "Blocks whose heads are kept; -1 is the last.")
    window: str = setting("auto", f"{WINDOW} Images of 8 bits stay as they are.")
    fit: Fit = setting(
        "stretch",
        "stretch: images are stretched to --image-size; pad: their aspect is kept, with black around them that is "
        "ignored in the mask.",
    )
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
    devices: str | None = setting(
        None, "Several devices of this machine, one process each: 0,1,2 for GPUs, or names such as cuda:0,cuda:1."
    )
    shard: str | None = setting(
        None,
        "Make only one part of the store, i/n such as 2/5, for `pipeline merge`; for machines that share no scheduler.",
    )
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
    append: bool = setting(
        False,
        "Keep the samples of the store that is there, and add the new images at its end. The digests of masks are "
        "recorded for that, so use it from the first extraction on.",
    )
    rehash: bool = setting(
        False,
        "With --append: read the files of all old samples again. Otherwise files whose size, inode and times are those "
        "of an earlier run are taken as unchanged.",
    )
    dry_run: bool = setting(
        False,
        "Show the plan and check the files' headers; write no store. A few images are read to estimate size and time, "
        "and the transformer's weights are needed for that.",
    )


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(Settings):
    """Settings of `pipeline pretrain`, which trains a transformer with DINO on images without labels."""

    images: Path = setting(Path("data/phantom/images"), "Folder of images; labels are not used.", may_change=True)
    masks: Path | None = setting(
        None, "Folder of black and white masks, only to measure how well heads separate them.", may_change=True
    )
    channels: str | None = setting(
        None, "Channels to use: one as grey, two or three as red, green and blue; as in `extract`."
    )
    out: Path = setting(
        Path("models/pretrained.safetensors"), "Weights file to write, for `extract --model`.", may_change=True
    )
    arch: str = setting("vit_tiny_patch8", "vit_tiny_patch8, vit_mini_patch8, or a ViT of timm: vit_small_patch16.")
    init: str | None = setting(None, "Initial weights: a file, or a name from `pipeline models`.")
    image_size: Annotated[int, Interval(ge=32, le=1024)] = setting(
        128, "Side at which images are kept in memory and heads are measured, in pixels."
    )
    window: str = setting("auto", f"{WINDOW} Images of 8 bits stay as they are.", if_absent="minmax")
    global_crop: AtLeastOne = setting(64, "Side of the two large crops, in pixels.")
    local_crop: AtLeastOne = setting(32, "Side of the small crops, in pixels.")
    local_crops: NotNegative = setting(2, "Small crops of every image.")
    crop_split: Annotated[float, Interval(gt=0.05, lt=1)] = setting(
        0.25, "Share of an image's area: large crops cover more, small crops less."
    )
    steps: AtLeastOne = setting(2000, "Steps of the optimiser.")
    batch_size: Annotated[int, Ge(2)] = setting(64, "Images per step, over all processes.")
    lr: LearningRate = setting(1e-3, "Peak learning rate of AdamW; try 5e-4 * batch / 256 for a large ViT.")
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
    licence: Annotated[str, Len(max_length=1000)] = setting(
        "not stated", "Licence of the weights; kept in the weights file."
    )
    seed: NotNegative = setting(0, "Seed of weights, order and crops.")
    device: Device = setting("auto", "auto, cpu, cuda, cuda:1, mps.", may_change=True)
    precision: TrainingPrecision = setting("auto", "auto: bfloat16 on CUDA and on processors with AMX, else float32.")
    offline: bool = setting(
        False,
        "Download nothing: initial weights are a file or were downloaded earlier. Also PIPELINE_OFFLINE=1.",
        may_change=True,
        switched_on_by=OFFLINE,
    )
    resume: bool = setting(
        False, "Resume an interrupted run with the same output from its last saved step.", may_change=True
    )
