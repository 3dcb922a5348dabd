"""What is learnt from unlabelled samples: the teacher's answers, their geometry, and what must not be seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.errors import UsageError
from stages.segmentation.consistency import joint_losses, pseudo_masks
from stages.segmentation.trainer import SegmentationTrainer
from stages.segmentation.views import View
from store.records import IGNORE, Sample
from tests.stages.unlabelled_stores import (
    LAYOUT,
    Change,
    inverted_images,
    mixed_store,
    same,
    trained,
    trainer_of,
    weights_of,
)

SPLITS = ["train"] * 3 + ["unlabelled"] + ["val"] * 2 + ["test"] * 2 + ["unlabelled"] * 3
"""Splits of eight samples with a mask, of which the fourth was left out, and of three without."""
MASKS, OTHERS = 8, 3


def weights(folder: Path, change: Change = lambda _, sample: sample, **changes: object) -> dict[str, torch.Tensor]:
    """Return all weights after training on a store whose samples are changed first."""
    store = mixed_store(folder / "s.zarr", masks=MASKS, others=OTHERS, change=change)
    return weights_of(trained(store, SPLITS, **changes))


def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return two folders."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    return tmp_path / "one", tmp_path / "other"


def inverted_mask(index: int, sample: Sample) -> Sample:
    """Return the sample with another mask if its label was left out."""
    return replace(sample, mask=1 - sample.mask) if index == 3 else sample


@pytest.mark.parametrize("branches", ["dual", "image", "attention"])
def test_two_trainings_give_the_same_weights(tmp_path: Path, branches: str):
    one, other = folders(tmp_path)
    assert same(weights(one, branches=branches), weights(other, branches=branches))


@pytest.mark.parametrize(
    ("change", "unchanged"),
    [
        pytest.param(inverted_images([4, 5, 6, 7]), True, id="images_of_validation_and_test"),
        pytest.param(inverted_mask, True, id="mask_of_a_left_out_label"),
        pytest.param(inverted_images([3]), False, id="image_of_a_left_out_label"),
        pytest.param(inverted_images([9]), False, id="image_without_a_mask"),
    ],
)
def test_only_images_of_unlabelled_samples_change_the_weights(tmp_path: Path, change: Change, unchanged: bool):  # noqa: FBT001 - a column of the table
    """Nothing is learnt from validation and test samples, nor from masks of left-out labels."""
    one, other = folders(tmp_path)
    assert same(weights(one), weights(other, change)) == unchanged


def test_the_labelled_samples_are_seen_as_without_unlabelled_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Order and augmentation of labelled samples stay, so a comparison of both trainings is paired."""
    seen: list[View] = []
    original = SegmentationTrainer._losses

    def watched(self: SegmentationTrainer, view: View, *others: object) -> object:
        seen.append(view)
        return original(self, view, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(SegmentationTrainer, "_losses", watched)
    store = mixed_store(tmp_path / "s.zarr", masks=MASKS, others=OTHERS)
    trained(store, SPLITS, batch_size=3)
    trained(store, SPLITS, batch_size=3, unlabelled=False)
    half = len(seen) // 2
    assert half == 3
    for one, other in zip(seen[:half], seen[half:], strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.mask, other.mask)


@pytest.mark.parametrize(("branches", "encoders"), [("dual", 2), ("image", 1), ("attention", 1)])
def test_the_consistency_reaches_every_encoder(tmp_path: Path, branches: str, encoders: int):
    """The loss of the unlabelled samples alone has a gradient in the first layer of every branch, and in the head."""
    trainer = trainer_of(mixed_store(tmp_path / "s.zarr", masks=MASKS, others=OTHERS), SPLITS, branches=branches)
    labelled, unlabelled = (next(iter(trainer._views(1, first, 1))) for first in (0, 1))
    assert labelled is not None
    assert unlabelled is not None
    _, agreement = joint_losses(trainer.model, trainer._loss, labelled, unlabelled)
    agreement.backward()
    stems = [encoder.stem for encoder in (trainer.model.image_encoder, trainer.model.attention_encoder) if encoder]
    assert len(stems) == encoders
    for module in (*stems, trainer.model.head):
        assert all(float(parameter.grad.abs().sum()) > 0 for parameter in module.parameters() if parameter.ndim > 1)


def test_the_teacher_gets_no_gradient_and_stays_in_evaluation_mode(tmp_path: Path):
    trainer = trained(mixed_store(tmp_path / "s.zarr", masks=MASKS, others=OTHERS), SPLITS)
    assert not trainer.evaluated.training
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in trainer.evaluated.parameters())


def test_the_answers_have_the_geometry_of_the_augmented_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A teacher that answers by the red channel: in the augmented view, mask and red channel still agree.

    The left half of the image is red. What lies outside the picture is ignored, some of it in this batch.
    """

    def half_red(_: int, sample: Sample) -> Sample:
        image = np.zeros_like(sample.image)
        image[:, : image.shape[1] // 2, 0] = 255
        return replace(sample, image=image)

    def by_red(_: object, batch, *__: object) -> torch.Tensor:
        red = batch.image[:, 0].float() / 255
        return torch.stack([1 - red, red], dim=1)

    monkeypatch.setattr("stages.segmentation.consistency.predict_probabilities", by_red)
    store = mixed_store(tmp_path / "s.zarr", masks=MASKS, others=OTHERS, change=half_red)
    view = next(iter(trainer_of(store, SPLITS, batch_size=32)._views(1, 0, 1)))
    assert view is not None
    counted = view.mask != IGNORE
    middle = view.image[:, 0].mean()
    agree = (view.image[:, 0] > middle) == (view.mask == 1)
    assert float(agree[counted].float().mean()) > 0.9  # the border between the halves is blurred by the warp
    assert 0.5 < float(counted.float().mean()) < 0.98


@pytest.mark.parametrize("confidence", [0.0, 0.8, 0.95])
def test_unsure_pixels_are_ignored(confidence: float):
    probabilities = torch.tensor([[0.97, 0.9, 0.4, 0.05], [0.02, 0.1, 0.35, 0.9], [0.01, 0.0, 0.25, 0.05]])
    expected = [
        value if sure >= confidence else IGNORE for value, sure in zip([0, 0, 0, 1], [0.97, 0.9, 0.4, 0.9], strict=True)
    ]
    masks = pseudo_masks(probabilities[None, :, None], confidence, multilabel=False)
    assert (masks.dtype, masks.shape) == (torch.uint8, (1, 1, 4))
    assert masks.flatten().tolist() == expected


def test_with_labels_that_may_overlap_every_label_must_be_sure():
    """Class 0 says that no label is there and is not looked at. Bit k - 1 stands for label k."""
    labels = torch.tensor([[0.99, 0.01, 0.99, 0.6], [0.98, 0.02, 0.03, 0.99]])
    probabilities = torch.cat([torch.full((1, 4), 0.5), labels])
    masks = pseudo_masks(probabilities[None, :, None], 0.9, multilabel=True)
    assert masks.flatten().tolist() == [0b11, 0b00, 0b01, IGNORE]


def test_a_teacher_that_is_never_sure_changes_no_gradient(tmp_path: Path):
    """All pixels are ignored: the loss of the unlabelled samples is 0, and no number becomes infinite."""
    trainer = trainer_of(
        mixed_store(tmp_path / "s.zarr", masks=MASKS, others=OTHERS), SPLITS, confidence=0.999999, augment="none"
    )
    view = next(iter(trainer._views(1, 0, 1)))
    assert view is not None
    assert (view.mask == IGNORE).all()
    _, agreement = joint_losses(trainer.model, trainer._loss, view, view)
    assert agreement.item() == 0


@pytest.mark.parametrize("loss", ["dice_ce", "dice_focal", "ce"])
@pytest.mark.parametrize("multilabel", [False, True])
def test_several_classes_and_overlapping_labels_are_learnt(tmp_path: Path, loss: str, multilabel: bool):  # noqa: FBT001 - a column of the table
    """Some pixels of the masks are ignored. The weights stay finite, and the unlabelled images change them."""
    classes = ["skin", "lesion", "hair"]
    layout = replace(LAYOUT, classes=classes, multilabel=multilabel)

    def holed(_: int, sample: Sample) -> Sample:
        mask = sample.mask.copy()
        mask[:2] = IGNORE
        return replace(sample, mask=mask)

    one, other = folders(tmp_path)
    results = []
    for folder, inverted in ((one, []), (other, [8, 9, 10])):
        store = mixed_store(
            folder / "s.zarr",
            masks=MASKS,
            others=OTHERS,
            layout=layout,
            change=lambda index, sample, inverted=inverted: inverted_images(inverted)(index, holed(index, sample)),  # type: ignore[misc]
        )
        results.append(weights_of(trained(store, SPLITS, loss=loss, confidence=0.4)))
    assert all(bool(tensor.isfinite().all()) for tensor in results[0].values())
    assert not same(*results)


def test_the_weight_rises_over_the_first_quarter_of_the_steps(tmp_path: Path):
    """It starts near 0, rises like exp(-5 (1 - t)²), and stays at the setting."""
    trainer = trainer_of(
        mixed_store(tmp_path / "s.zarr", masks=MASKS, others=OTHERS), SPLITS, steps=400, consistency=2.0
    )
    consistency = trainer._consistency
    assert consistency is not None
    rising = [consistency.weight_at(step) for step in range(400)]
    assert rising[:100] == sorted(rising[:100])
    assert rising[0] < 0.02
    assert rising[49] == pytest.approx(2 * np.exp(-1.25))
    assert rising[99:] == [2.0] * 301


def test_a_weight_of_zero_learns_nothing_from_the_answers(tmp_path: Path):
    """The images still take part in batch normalisation, so the weights depend on them; the answers do not count."""
    one, other = folders(tmp_path)
    assert same(weights(one, consistency=0.0), weights(other, consistency=0.0, confidence=0.999999))


def test_a_trainer_without_unlabelled_samples_says_what_to_do(tmp_path: Path):
    store = mixed_store(tmp_path / "s.zarr", masks=MASKS, others=OTHERS)
    with pytest.raises(UsageError, match="`unlabelled` needs samples"):
        trainer_of(store, ["train"] * 8 + [""] * 3)
