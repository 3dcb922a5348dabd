"""The loss: MONAI's Dice plus cross-entropy, blind to ignored pixels and to how samples are batched."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from stages.segmentation.losses import dice_cross_entropy, foreground_dice
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


def test_ignored_pixels_have_no_say(logits, mask):
    """Neither the loss nor its gradient depends on what is predicted where the mask is 255."""
    mask[:, :5] = 255
    changed = logits.clone()
    changed[:, :, :5] += 3
    torch.testing.assert_close(dice_cross_entropy(logits, mask), dice_cross_entropy(changed, mask))
    changed.requires_grad_()
    dice_cross_entropy(changed, mask).backward()
    assert changed.grad is not None
    assert not changed.grad[:, :, :5].any()
    assert changed.grad[:, :, 5:].any()


def test_dice_does_not_depend_on_the_batch(logits, mask):
    """The loss of a batch is the mean of the losses of its samples."""
    alone = [dice_cross_entropy(logits[i : i + 1], mask[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(dice_cross_entropy(logits, mask), torch.stack(alone).mean())


@pytest.mark.parametrize("value", [0, 255], ids=["empty", "all_ignored"])
def test_empty_masks_give_finite_loss_and_gradient(value):
    """An image without foreground, or without any known pixel, does not break training."""
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    loss = dice_cross_entropy(logits, torch.full((1, 4, 4), value, dtype=torch.uint8))
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
