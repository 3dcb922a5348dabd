"""What the student learns from the teacher: to answer one view of an image as the teacher answers another.

The teacher's cosines become probabilities over prototypes, sharpened by a low temperature. Two things keep it from
giving all images one answer: a running centre subtracted before the softmax (Caron et al. 2021, section 3.1), or
Sinkhorn-Knopp, by which every prototype gets its equal share of the batch (Caron et al. 2020, section 3; Cuturi
2013). The loss is the cross-entropy of the student's answers to the other views, averaged over pairs and images.

With several processes, centre and shares are those of the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor

from stages.pretraining.processes import largest_over_processes, mean_over_processes, sum_over_processes

__all__ = ["centred", "distillation_loss", "entropy", "moved_centre", "sinkhorn"]

ITERATIONS = 3
CENTRE_MOMENTUM = 0.9


def distillation_loss(student: Sequence[Tensor], targets: Sequence[Tensor], temperature: float) -> Tensor:
    """Cross-entropy between the teacher's answer to one view and the student's to another.

    Args:
        student: (batch, prototypes) cosines of every view.
        targets: (batch, prototypes) probabilities of the teacher for the first of these views.
        temperature: the student's.

    Returns:
        Scalar in nats: the mean over all pairs of different views and over images.
    """
    logs = [F.log_softmax(cosines / temperature, dim=-1) for cosines in student]
    pairs = [
        -(target * log).sum(dim=-1).mean()
        for seen, target in enumerate(targets)
        for answered, log in enumerate(logs)
        if answered != seen
    ]
    return torch.stack(pairs).mean()


def sinkhorn(cosines: Tensor, temperature: float, iterations: int = ITERATIONS) -> Tensor:
    """Probabilities over prototypes, of which every prototype gets nearly the same share of the batch.

    Args:
        cosines: (n, prototypes) of the teacher; with several processes, this one's.
        temperature: the teacher's.
        iterations: of scaling prototypes, then images. Rows sum to 1 after any number, columns to n / prototypes
            as the number grows.

    Returns:
        (n, prototypes) float32. Worked out with logarithms, so that no temperature is too low.
    """
    logs = cosines.float() / temperature
    for _ in range(iterations):
        logs = logs - _log_sum_over_images(logs)
        logs = logs - logs.logsumexp(dim=1, keepdim=True)
    return logs.exp()


def centred(cosines: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """(n, prototypes) probabilities of cosines from which the running centre, (prototypes,), is taken away."""
    return ((cosines.float() - centre) / temperature).softmax(dim=-1)


def moved_centre(centre: Tensor, cosines: Tensor) -> Tensor:
    """The running centre after a batch: nine parts of what it was, one part of the batch's mean."""
    mean = mean_over_processes(cosines.float().mean(dim=0))
    return centre * CENTRE_MOMENTUM + mean * (1 - CENTRE_MOMENTUM)


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy of every row, (n,), in nats: 0 for one prototype alone, ln(prototypes) for all alike."""
    terms: Tensor = torch.special.entr(probabilities)
    return terms.sum(dim=-1)


def _log_sum_over_images(logs: Tensor) -> Tensor:
    """(1, prototypes) logarithm of the sum of exponentials over the images of all processes."""
    largest = largest_over_processes(logs.amax(dim=0, keepdim=True))
    return largest + sum_over_processes((logs - largest).exp().sum(dim=0, keepdim=True)).log()
