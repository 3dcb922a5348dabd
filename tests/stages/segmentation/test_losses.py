"""Losses: they equal MONAI's, and do not depend on ignored pixels or on the other samples of a batch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from stages.segmentation.losses import LOSSES, dice_cross_entropy, dice_focal, focal, foreground_dice, soft_dice
from stages.segmentation.metrics import score_sample


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(3, 3, 12, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.randint(0, 3, (3, 12, 10), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_dice_is_monais(logits, mask):
    """Without ignored pixels the Dice term equals MONAI's DiceLoss."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.losses import DiceLoss

        oracle = DiceLoss(include_background=False, softmax=True, to_onehot_y=True, smooth_nr=1, smooth_dr=1)
    expected = oracle(logits, mask[:, None].long()) + F.cross_entropy(logits, mask.long())
    torch.testing.assert_close(dice_cross_entropy(logits, mask), expected)


def test_focal_is_monais(logits, mask):
    """MONAI averages over pixels and classes, so its mean is smaller by the number of classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.losses import FocalLoss

        oracle = FocalLoss(gamma=2.0, use_softmax=True, to_onehot_y=True)
    expected = 3 * oracle(logits, mask[:, None].long())
    torch.testing.assert_close(focal(logits, mask), expected)
    torch.testing.assert_close(dice_focal(logits, mask), soft_dice(logits, mask) + expected)


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_change_nothing(logits, mask, name):
    """Neither the loss nor its gradient depends on the prediction where the mask is 255."""
    loss = LOSSES[name]
    mask[:, :5] = 255
    changed = logits.clone()
    changed[:, :, :5] += torch.arange(3.0)[None, :, None, None]
    torch.testing.assert_close(loss(logits, mask), loss(changed, mask))
    changed.requires_grad_()
    loss(changed, mask).backward()
    assert changed.grad is not None
    assert not changed.grad[:, :, :5].any()
    assert changed.grad[:, :, 5:].any()


def test_dice_does_not_depend_on_the_batch(logits, mask):
    """The loss of a batch is the mean of the losses of its samples."""
    alone = [dice_cross_entropy(logits[i : i + 1], mask[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(dice_cross_entropy(logits, mask), torch.stack(alone).mean())


@pytest.mark.parametrize("name", LOSSES)
def test_a_correct_prediction_costs_less_than_a_wrong_one(mask, name):
    """The loss is almost 0 if every pixel is right with certainty. It grows with the number of wrong pixels."""
    right = 20 * torch.nn.functional.one_hot(mask.long(), 3).movedim(-1, 1).float()
    wrong = right.clone()
    wrong[:, :, :4] = right[:, [1, 2, 0], :4]
    assert 0 <= LOSSES[name](right, mask) < 0.01 < LOSSES[name](wrong, mask) < LOSSES[name](-right, mask)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("value", [0, 255], ids=["empty", "all_ignored"])
def test_empty_masks_give_finite_loss_and_gradient(value, name):
    """An image without foreground, or without any known pixel, does not break training."""
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    loss = LOSSES[name](logits, torch.full((1, 4, 4), value, dtype=torch.uint8))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_validation_dice_is_the_metrics_dice(mask):
    """Choosing the checkpoint uses the same Dice as the evaluation, empty and ignored pixels included."""
    predicted = torch.randint(0, 3, mask.shape, generator=torch.Generator().manual_seed(2))
    mask[0] = 0
    mask[1, :4] = 255
    predicted[0] = 0
    expected = [
        score_sample(p.numpy().astype(np.uint8), m.numpy(), 3).dice for p, m in zip(predicted, mask, strict=True)
    ]
    torch.testing.assert_close(foreground_dice(predicted, mask, 3), torch.tensor(expected, dtype=torch.float32))


def test_validation_dice_of_labels_that_overlap_is_the_metrics_dice():
    """Each label counts by itself, ignored pixels do not, and a lost label is a miss."""
    random = torch.Generator().manual_seed(3)
    mask = torch.randint(0, 4, (4, 12, 10), generator=random, dtype=torch.uint8)
    predicted = torch.randint(0, 4, mask.shape, generator=random)
    mask[0], predicted[0] = 0, 0
    mask[1, :4] = 255
    mask[2] &= 1
    mask[3], predicted[3] = 0, 0
    lost = [set(), set(), {2}, {1, 2}]
    expected = [
        score_sample(p.numpy().astype(np.uint8), m.numpy(), 3, multilabel=True, lost=gone).dice
        for p, m, gone in zip(predicted, mask, lost, strict=True)
    ]
    assert (expected[0], expected[3]) == (1.0, 0.0)
    flags = torch.tensor([[label in gone for label in (1, 2)] for gone in lost])
    found = foreground_dice(predicted, mask, 3, multilabel=True, lost=flags)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_a_network_that_finds_nothing_has_no_validation_dice_where_the_store_lost_the_lesion():
    """An empty mask whose source is not empty counts as 0; one whose source is empty counts as 1."""
    nothing = torch.zeros(2, 6, 6, dtype=torch.uint8)
    lost = torch.tensor([[True], [False]])
    assert foreground_dice(nothing.long(), nothing, 2, lost=lost).tolist() == [0.0, 1.0]
