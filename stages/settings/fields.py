"""Define the parts of settings: ranges, choices, and `setting`, which makes a field with a default and a sentence."""

from __future__ import annotations

from dataclasses import MISSING, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Interval

from stages.choices import names_in_table
from store.errors import UsageError

AtLeastOne = Annotated[int, Ge(1)]
NotNegative = Annotated[int, Interval(ge=0, lt=2**63)]  # a seed: torch takes 64 bits
Share = Annotated[float, Interval(ge=0, lt=1)]

LARGEST = 1e38
"""Largest value of a setting that is not a whole number: more is infinite in float32. So infinity is out of range."""
Above0 = Annotated[float, Interval(gt=0, le=LARGEST)]
LearningRate = Annotated[float, Interval(gt=0, le=1e30)]
"""Learning rate of AdamW, which divides it by a small number in the first steps: the result must fit into float32."""
AtLeast0 = Annotated[float, Interval(ge=0, le=LARGEST)]

Side = Annotated[int, Interval(ge=1, le=16384)]  # a typo must not exhaust the memory
Size = tuple[Side, Side]
"""(height, width) in pixels."""

TransformerPrecision = Literal["float32", "bfloat16"]
PositionRule = Literal["timm", "original"]
"""Arithmetic of the transformer whose attention is extracted; its softmax is always in float32."""

Device = str
"""`auto`, or a device name of torch: `cpu`, `cuda`, `cuda:1`, `mps`."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's RGB values in [0, 1]: every network here takes images scaled by them."""


SEGMENTATION = Path(__file__).parent.parent / "segmentation"
IMAGING = Path(__file__).parent.parent / "imaging"
"""The folders of the files with tables of choices."""


if TYPE_CHECKING:
    LossName = str
    FusionName = str
    NormalisationName = str
    LayoutName = str
    Hd95Name = str
else:  # at run time the choices are the names in the tables, so a new entry needs no edit here
    LossName = Literal[names_in_table(SEGMENTATION / "losses.py", "LOSSES")]
    FusionName = Literal[names_in_table(SEGMENTATION / "fusions.py", "FUSIONS")]
    NormalisationName = Literal[names_in_table(SEGMENTATION / "normalisation.py", "NORMALISATIONS")]
    Hd95Name = Literal[names_in_table(SEGMENTATION / "surfaces.py", "HD95")]
    LayoutName = Literal["auto", *names_in_table(IMAGING / "layouts.py", "LAYOUTS")]

AxisName = Literal["axial", "coronal", "sagittal", "0", "1", "2"]
"""The axes of `stages.imaging.volumes.geometry.AXES`."""
Classes = dict[str, int | str | list[int | str]] | Path
"""Class names with their mask values, or the file that has them."""
Labels = Literal["auto", "classes", "instances", "multilabel"]
SplitRule = Literal["auto", "exact", "hash"]
Fit = Literal["stretch", "pad"]
Instances = Literal["none", "components", "watershed"]
Branches = Literal["dual", "image", "attention"]
Blocks = Literal["plain", "residual"]
Stem = Literal["light", "full"]
Augment = Literal["full", "light", "geometry", "none"]
Border = Literal["mirror", "ignore"]
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
