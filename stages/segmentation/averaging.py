"""Average the weights of a network over the steps of its training.

The average is exponential: after every step it moves a little towards the current weights. It is smoother than the
weights themselves, and is often the better model (Polyak & Juditsky 1992; the teacher of Tarvainen & Valpola 2017).

Running statistics of batch normalisation are averaged in the same way as weights: they then belong to the network of
about the same moment of the training. Whole numbers, such as the count of batches, are copied.
"""

from __future__ import annotations

import copy

import torch

from stages.segmentation.network import Segmenter

__all__ = ["TEACHER_DECAY", "WeightAverage", "decay_at"]

TEACHER_DECAY = 0.99
"""Decay of the average in a training with unlabelled samples, if the setting `ema` is 0: a teacher is needed."""


def decay_at(step: int, decay: float) -> float:
    """Return the decay of a step, counted from 0: min(decay, (1 + step) / (10 + step)).

    The first steps have a smaller decay, so that the random weights of the beginning are forgotten soon, also in a
    training of few steps.
    """
    return min(decay, (1 + step) / (10 + step))


class WeightAverage:
    """Hold the moving average of a network, as a network in evaluation mode without gradients."""

    def __init__(self, model: Segmenter, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
        self._decay = decay

    @torch.no_grad()
    def update(self, model: Segmenter, step: int) -> None:
        """Move the average towards the weights after a step.

        Args:
            model: the network that is trained.
            step: number of the step in the whole training, counted from 0.
        """
        share = 1 - decay_at(step, self._decay)
        current = model.state_dict()
        for name, mean in self.model.state_dict().items():  # they share memory with the network
            if mean.is_floating_point():
                mean.lerp_(current[name], share)
            else:
                mean.copy_(current[name])
