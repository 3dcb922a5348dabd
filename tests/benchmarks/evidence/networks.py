"""Foreign networks of the evidence by name, for the seam `Arm.network` of a comparison.

All are trained by the loop of `pipeline train`: the same augmentation, loss, optimiser and scoring.

| name | sees | what it is |
|---|---|---|
| linear, mlp | maps | per-patch heads (`heads`) |
| decoder | maps and image | convolutional decoder with the image beside it (`decoders`) |
| unet34 | image | U-Net of ResNet-34, untrained at the start (`unet`) |
| unet_lite0 | image | U-Net of EfficientNet-Lite0, untrained at the start |
| unet_lite0_imagenet | image | the same with an encoder trained on ImageNet; needs the file of weights |
| gated, prior, deep, narrow_image | maps and image | variants of our own network (`networks_variants`) |

The identity of a run holds the name of its arm in place of the network. So an arm must have another name whenever its
network differs; giving it the network's name does that.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stages.comparison.arms import Arm, Network
from stages.errors import UsageError
from stages.runs.tables import entry_of
from tests.benchmarks.evidence.decoders import decoder
from tests.benchmarks.evidence.heads import linear, mlp
from tests.benchmarks.evidence.networks_variants import VARIANTS
from tests.benchmarks.evidence.unet import UNet
from tests.benchmarks.evidence.unet_weights import ENCODER

__all__ = ["NETWORKS", "PRETRAINED", "network_named", "with_network"]

NETWORKS: dict[str, Network] = {
    "linear": linear,
    "mlp": mlp,
    "decoder": decoder,
    "unet34": UNet(encoder="resnet34"),
    "unet_lite0": UNet(encoder=ENCODER),
    **VARIANTS,
}
"""Networks that start untrained, by name."""

PRETRAINED: dict[str, UNet] = {"unet_lite0_imagenet": UNet(encoder=ENCODER)}
"""Networks whose encoder starts from a file of weights, by name."""


def network_named(name: str, weights: Path | None = None) -> Network:
    """Return a network of the tables.

    Args:
        name: in `NETWORKS` or `PRETRAINED`.
        weights: file of the encoder's weights, `.safetensors`; for the pretrained ones.

    Raises:
        UsageError: there is no such network, or weights are missing, or they are given to one that takes none.
    """
    if name in PRETRAINED:
        if weights is None:
            raise UsageError(
                f"the network {name} needs the weights of {PRETRAINED[name].encoder}.\n"
                "  Name the .safetensors file, see tests/benchmarks/evidence/unet_weights.py."
            )
        return replace(PRETRAINED[name], weights=weights)
    if weights is not None:
        raise UsageError(f"the network {name} takes no weights, but {weights} is given.\n  Leave the file out.")
    return entry_of(NETWORKS, name, "network")


def with_network(arm: Arm, name: str, weights: Path | None = None) -> Arm:
    """Return an arm with another network; arguments and errors as in `network_named`."""
    return replace(arm, network=network_named(name, weights))
