"""The training objective agrees with slow reference implementations of the papers' formulae."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stages.pretraining.head import BOTTLENECK, ProjectionHead
from stages.pretraining.objective import centred, distillation_loss, entropy, moved_centre, sinkhorn


def _cosines(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_loss_is_the_cross_entropy_over_pairs_of_different_views():
    """The loss is the mean over all pairs of a teacher's view and another view of the student."""
    student = [_cosines(3, 5, seed) for seed in range(4)]
    targets = [centred(_cosines(3, 5, seed), torch.zeros(5), 0.2) for seed in (7, 8)]
    total, pairs = 0.0, 0
    for seen, target in enumerate(targets):
        for answered, cosines in enumerate(student):
            if seen == answered:
                continue
            pairs += 1
            for image in range(3):
                weights = [math.exp(value / 0.1) for value in cosines[image].tolist()]
                for prototype, share in enumerate(target[image].tolist()):
                    total -= share * math.log(weights[prototype] / sum(weights)) / 3
    assert pairs == 6
    assert float(distillation_loss(student, targets, 0.1)) == pytest.approx(total / pairs, rel=1e-5)


def test_loss_is_the_targets_entropy_where_student_and_teacher_agree():
    """Cross-entropy is entropy plus divergence, and the divergence of equal distributions is zero."""
    cosines = _cosines(4, 6)
    target = centred(cosines, torch.zeros(6), 0.1)
    loss = distillation_loss([cosines, cosines], [target, target], 0.1)
    torch.testing.assert_close(loss, entropy(target).mean())


def _slow_sinkhorn(cosines: Tensor, temperature: float, iterations: int) -> Tensor:
    """Compute algorithm 1 in the appendix of Caron et al. 2020 in float64; rows are images."""
    shares = (cosines.double() / temperature).exp()
    shares /= shares.sum()
    for _ in range(iterations):
        shares /= shares.sum(dim=0, keepdim=True) * shares.shape[1]
        shares /= shares.sum(dim=1, keepdim=True) * shares.shape[0]
    return shares * len(shares)


def test_sinkhorn_is_that_of_the_paper():
    """Three iterations with logarithms give what the published algorithm gives with exponentials."""
    cosines = _cosines(12, 5)
    expected = _slow_sinkhorn(cosines, 0.05, 3).float()
    torch.testing.assert_close(sinkhorn(cosines, 0.05), expected, atol=1e-5, rtol=1e-4)


def test_sinkhorn_gives_every_prototype_its_share():
    """An image's shares sum to one after any number of iterations, a prototype's to n / prototypes after many."""
    cosines = _cosines(24, 6) + torch.linspace(-1, 1, 6)  # all images are close to some prototypes and far from others
    assert sinkhorn(cosines, 0.1, iterations=1).sum(dim=1) == pytest.approx(torch.ones(24), abs=1e-5)
    converged = sinkhorn(cosines, 0.1, iterations=300)
    assert converged.sum(dim=0) == pytest.approx(torch.full((6,), 4.0), abs=1e-2)
    assert entropy(converged).mean() < 0.9 * math.log(6), "shares are equal over images, not within one"


def test_sinkhorn_works_at_a_very_low_temperature():
    """Even if exp would overflow float32, the shares are finite and sum to one."""
    shares = sinkhorn(_cosines(8, 4), 1e-3)
    assert torch.isfinite(shares).all()
    assert shares.sum(dim=1) == pytest.approx(torch.ones(8), abs=1e-4)


def test_centring_suppresses_a_prototype_that_every_image_has():
    """After the centre has followed the batch, other prototypes are the most probable ones for many images."""
    cosines = _cosines(16, 4) * 0.1 + torch.tensor([1.0, 0, 0, 0])
    centre = torch.zeros(4)
    assert (centred(cosines, centre, 0.1).argmax(dim=1) == 0).all()
    first = moved_centre(centre, cosines)
    torch.testing.assert_close(first, cosines.mean(dim=0) * 0.1)
    for _ in range(100):
        centre = moved_centre(centre, cosines)
    assert (centred(cosines, centre, 0.1).argmax(dim=1) == 0).float().mean() < 0.7


def test_entropy_at_its_ends():
    """A single prototype gives 0, equal probabilities give ln(prototypes), and a probability of 0 gives no NaN."""
    rows = torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    torch.testing.assert_close(entropy(rows), torch.tensor([0.0, math.log(4)]))


@pytest.mark.parametrize("batch_norm", [True, False])
def test_head_gives_cosines_that_the_prototypes_length_does_not_change(batch_norm):
    """Outputs are in [-1, 1], and prototypes of ten times the length give the same."""
    head = ProjectionHead(8, width=16, prototypes=10, batch_norm=batch_norm)
    tokens = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    cosines = head(tokens)
    assert cosines.shape == (6, 10)
    assert cosines.abs().max() <= 1 + 1e-6
    assert head.prototypes.shape == (10, BOTTLENECK)
    with torch.no_grad():
        head.prototypes.mul_(10)
    torch.testing.assert_close(head(tokens), cosines, atol=1e-6, rtol=1e-5)
    assert not list(head.buffers()), "the teacher is updated from parameters only, so the head must have no buffers"
