"""Losses for labels that may overlap: they equal MONAI's, and do not depend on ignored pixels."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from stages.errors import UsageError
from stages.segmentation.label_losses import LABEL_LOSSES, focal, loss_for, soft_dice
from stages.segmentation.losses import LOSSES


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(3, 3, 12, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask() -> torch.Tensor:
    """Return masks of three labels that overlap in every way."""
    return torch.randint(0, 8, (3, 12, 10), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def unpacked(mask: torch.Tensor) -> torch.Tensor:
    """Return one channel of 0 and 1 for each of three labels."""
    return torch.stack([(mask // value % 2).float() for value in (1, 2, 4)], dim=1)


def test_every_loss_has_a_form_for_labels_that_overlap():
    """A setting `loss` works for both kinds of masks."""
    assert LABEL_LOSSES.keys() == LOSSES.keys()
    for name in LOSSES:
        assert loss_for(name, multilabel=True) is LABEL_LOSSES[name]
        assert loss_for(name, multilabel=False) is LOSSES[name]
    with pytest.raises(UsageError, match="dice_ce"):
        loss_for("hinge", multilabel=True)


def test_dice_is_monais(logits, mask):
    """Without ignored pixels the Dice term equals MONAI's DiceLoss with a sigmoid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.losses import DiceLoss

        oracle = DiceLoss(sigmoid=True, smooth_nr=1, smooth_dr=1)
    torch.testing.assert_close(soft_dice(logits, mask), oracle(logits, unpacked(mask)))


def test_focal_is_monais(logits, mask):
    """Without ignored pixels the focal loss equals MONAI's with a sigmoid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.losses import FocalLoss

        oracle = FocalLoss(gamma=2.0)
    torch.testing.assert_close(focal(logits, mask), oracle(logits, unpacked(mask)))


def test_the_sums_are_the_sums_of_their_parts(logits, mask):
    """Every part counts once; cross-entropy is torch's binary one."""
    entropy = F.binary_cross_entropy_with_logits(logits, unpacked(mask))
    torch.testing.assert_close(LABEL_LOSSES["ce"](logits, mask), entropy)
    torch.testing.assert_close(LABEL_LOSSES["dice_ce"](logits, mask), soft_dice(logits, mask) + entropy)
    expected = soft_dice(logits, mask) + focal(logits, mask)
    torch.testing.assert_close(LABEL_LOSSES["dice_focal"](logits, mask), expected)


@pytest.mark.parametrize("name", LABEL_LOSSES)
def test_ignored_pixels_change_nothing(logits, mask, name):
    """Neither the loss nor its gradient depends on the prediction where the mask is 255."""
    loss = LABEL_LOSSES[name]
    mask[:, :5] = 255
    changed = logits.clone()
    changed[:, :, :5] += 3
    torch.testing.assert_close(loss(logits, mask), loss(changed, mask))
    changed.requires_grad_()
    loss(changed, mask).backward()
    assert changed.grad is not None
    assert not changed.grad[:, :, :5].any()
    assert changed.grad[:, :, 5:].all()


@pytest.mark.parametrize("name", LABEL_LOSSES)
def test_a_correct_prediction_costs_less_than_a_wrong_one(mask, name):
    """The loss is almost 0 if every label is right with certainty, also where two labels overlap."""
    right = 40 * (unpacked(mask) - 0.5)
    wrong = right.clone()
    wrong[:, 2, :4] *= -1
    assert 0 <= LABEL_LOSSES[name](right, mask) < 0.01 < LABEL_LOSSES[name](wrong, mask)


@pytest.mark.parametrize("name", LABEL_LOSSES)
@pytest.mark.parametrize("value", [0, 255], ids=["empty", "all_ignored"])
def test_empty_masks_give_finite_loss_and_gradient(value, name):
    """An image without a label, or without any known pixel, does not break training."""
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    loss = LABEL_LOSSES[name](logits, torch.full((1, 4, 4), value, dtype=torch.uint8))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
