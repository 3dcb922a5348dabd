"""Find the width at which a network has about as many parameters as another one."""

from __future__ import annotations

from dataclasses import replace

from stages.settings import TrainSettings
from store import AttentionStore

__all__ = ["count_parameters", "width_for"]

WIDEST = 128
"""Largest width that is tried."""


def count_parameters(settings: TrainSettings, store: AttentionStore) -> int:
    """Return the number of trained parameters of our network with these settings. No memory is used for them."""
    import torch

    from stages.segmentation.network import NetworkConfig, Segmenter

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Segmenter(NetworkConfig.of(settings, store)).parameters())


def width_for(parameters: int, settings: TrainSettings, store: AttentionStore) -> int:
    """Return the width at which the network has the number of parameters nearest to `parameters`, by ratio.

    Parameters grow with the width, so the widths are bisected.

    Args:
        parameters: number to reach.
        settings: of the network, whose own width does not count.
        store: gives the sizes of the images and maps.
    """

    def count(width: int) -> int:
        return count_parameters(replace(settings, width=width), store)

    low, high = 1, WIDEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= parameters else (low, middle)
    return min((low, high), key=lambda width: max(count(width), parameters) / min(count(width), parameters))
