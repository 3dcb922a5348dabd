"""The loss of self-distillation: the student predicts from one view what the teacher predicts from another.

The teacher's cosines become probabilities over prototypes, sharpened by a low temperature. One of two methods prevents
the same prediction for all images: a running centre subtracted before the softmax (Caron et al. 2021, section 3.1), or
Sinkhorn-Knopp, which gives every prototype an equal share of the batch (Caron et al. 2020, section 3; Cuturi 2013). The
loss is the cross-entropy of the student's predictions for the other views, averaged over pairs and images.

With several processes, the centre and the shares are computed over the batches of all processes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor

from stages.runtime.collectives import largest_over_processes, mean_over_processes, sum_over_processes

__all__ = ["centred", "distillation_loss", "entropy", "moved_centre", "sinkhorn"]

ITERATIONS = 3
CENTRE_MOMENTUM = 0.9


def distillation_loss(student: Sequence[Tensor], targets: Sequence[Tensor], temperature: float) -> Tensor:
    """Return the cross-entropy between the teacher's prediction for one view and the student's for another.

    Args:
        student: (batch, prototypes) cosines of every view.
        targets: (batch, prototypes) probabilities of the teacher for the first of these views.
        temperature: of the student's softmax.

    Returns:
        Scalar in nats: the mean over all pairs of different views and over images.
    """
    logs = [F.log_softmax(cosines / temperature, dim=-1) for cosines in student]
    pairs = [
        -(target * log).sum(dim=-1).mean()
        for teacher_view, target in enumerate(targets)
        for student_view, log in enumerate(logs)
        if student_view != teacher_view
    ]
    return torch.stack(pairs).mean()


def sinkhorn(cosines: Tensor, temperature: float, iterations: int = ITERATIONS) -> Tensor:
    """Return probabilities over prototypes; every prototype gets nearly the same share of the batch.

    Args:
        cosines: (n, prototypes) of the teacher; with several processes, those of this process.
        temperature: of the teacher's softmax.
        iterations: each scales the prototypes, then the images. Afterwards every row sums to 1. The sum of a column
            approaches n / prototypes with more iterations.

    Returns:
        (n, prototypes) float32. Computed with logarithms, so that a low temperature does not overflow.
    """
    logs = cosines.float() / temperature
    for _ in range(iterations):
        logs = logs - _log_sum_over_images(logs)
        logs = logs - logs.logsumexp(dim=1, keepdim=True)
    return logs.exp()


def centred(cosines: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """Return (n, prototypes) probabilities of cosines minus the running centre, (prototypes,)."""
    return ((cosines.float() - centre) / temperature).softmax(dim=-1)


def moved_centre(centre: Tensor, cosines: Tensor) -> Tensor:
    """Return the running centre after a batch: nine tenths of the old one plus one tenth of the batch's mean."""
    mean = mean_over_processes(cosines.float().mean(dim=0))
    return centre * CENTRE_MOMENTUM + mean * (1 - CENTRE_MOMENTUM)


def entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of every row, (n,), in nats: 0 for a single prototype, ln(prototypes) if all are equal."""
    terms: Tensor = torch.special.entr(probabilities)
    return terms.sum(dim=-1)


def _log_sum_over_images(logs: Tensor) -> Tensor:
    """Return (1, prototypes): logarithm of the sum of exponentials over the images of all processes."""
    largest = largest_over_processes(logs.amax(dim=0, keepdim=True))
    return largest + sum_over_processes((logs - largest).exp().sum(dim=0, keepdim=True)).log()
