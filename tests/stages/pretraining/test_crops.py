"""Views: crops come from their boxes, all processes draw the same views, and each augmentation works."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.pretraining.crops import Crops, boxes, normalise, take

_SIDE = 32


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(seed=st.integers(0, 2**31), low=st.floats(0.05, 0.9), extent=st.floats(0, 0.1))
@settings(max_examples=50, deadline=None)
def test_boxes_lie_inside_the_image_and_have_the_area_asked_for(seed, low, extent):
    """No crop exceeds the image or the requested area. Only a crop that is as wide or high as the image is smaller."""
    maps = boxes(64, (low, low + extent), _generator(seed))
    width, height = maps[:, 0, 0].abs(), maps[:, 1, 1]
    assert (maps[:, 0, 2].abs() + width <= 1 + 1e-5).all()
    assert (maps[:, 1, 2].abs() + height <= 1 + 1e-5).all()
    area = width * height
    fits = (width < 1) & (height < 1)
    assert (area <= low + extent + 1e-5).all()
    assert (area[fits] >= low - 1e-5).all()
    assert (maps[:, 0, 1] == 0).all(), "nothing is turned or sheared"
    assert (maps[:, 1, 0] == 0).all()


def test_half_of_the_boxes_are_mirrored():
    """Left and right are flipped in about half of the draws, up and down never."""
    maps = boxes(2000, (0.4, 1.0), _generator())
    assert 0.45 < (maps[:, 0, 0] < 0).float().mean() < 0.55
    assert (maps[:, 1, 1] > 0).all()


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_crop_holds_the_pixels_of_its_box(mirrored):
    """The right half of an image at its own resolution has the same pixels, or the same pixels mirrored."""
    image = torch.rand(1, 3, _SIDE, _SIDE, generator=_generator())
    box = torch.tensor([[[-0.5 if mirrored else 0.5, 0, 0.5], [0, 0.5, -0.5]]])
    crop = take(image, box, 16, (0.05, 0.25))
    expected = image[:, :, :16, 16:]
    torch.testing.assert_close(crop, expected.flip(-1) if mirrored else expected, atol=1e-5, rtol=0)


def test_shrinking_averages_instead_of_skipping_pixels():
    """A fine chequerboard becomes grey: skipping pixels would leave it black and white."""
    board = (torch.arange(_SIDE)[:, None] + torch.arange(_SIDE)) % 2
    image = board.float().expand(1, 3, _SIDE, _SIDE)
    whole = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]])
    assert (take(image, whole, 8, (0.4, 1.0)) - 0.5).abs().max() < 1e-5


def _views(images: torch.Tensor, share: slice, *, count: int, seed: int = 3) -> list[torch.Tensor]:
    crops = Crops.of(global_crop=16, local_crop=8, local_crops=2, split=0.4)
    return [make(images, share) for make in crops.draw(count, _generator(seed))]


def _images(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, _SIDE, _SIDE), generator=_generator(1), dtype=torch.uint8)


def test_views_have_their_sizes_and_are_normalised():
    """There are two large views and two small ones. All values lie between normalised black and white."""
    views = _views(_images(6), slice(0, 6), count=6)
    assert [tuple(view.shape) for view in views] == [(6, 3, 16, 16)] * 2 + [(6, 3, 8, 8)] * 2
    extremes = normalise(torch.stack([torch.zeros(3, 1, 1), torch.ones(3, 1, 1)]))
    for view in views:
        assert (view >= extremes[0] - 1e-4).all()
        assert (view <= extremes[1] + 1e-4).all()
        assert view.std() > 0.1
    assert not torch.equal(views[0], views[1])


def test_the_same_seed_gives_the_same_views_in_every_process():
    """The views of parts of a batch equal those of the whole batch. Another seed gives other views."""
    images = _images(6)
    together = _views(images, slice(0, 6), count=6)
    apart = [_views(images[share], share, count=6) for share in (slice(0, 2), slice(2, 6))]
    for view, *parts in zip(together, *apart, strict=True):
        torch.testing.assert_close(torch.cat(parts), view, atol=1e-5, rtol=1e-5)
    assert not torch.equal(_views(images, slice(0, 6), count=6, seed=4)[0], together[0])


def test_a_grey_image_keeps_its_hue():
    """Hue and saturation do not change grey: all three channels stay equal."""
    grey = torch.full((32, 3, _SIDE, _SIDE), 128, dtype=torch.uint8)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    for view in _views(grey, slice(0, 32), count=32):
        colours = view * deviation + mean
        assert (colours.amax(dim=1) - colours.amin(dim=1)).max() < 5e-3
        assert colours.mean(dim=(1, 2, 3)).std() > 0.02, "brightness does change"


def test_blur_removes_detail_from_the_first_view_only():
    """The first large view is always blurred, the second rarely, so noise is left in the second."""
    images = torch.randint(0, 256, (16, 3, 112, 112), generator=_generator(1), dtype=torch.uint8)
    crops = Crops.of(global_crop=112, local_crop=8, local_crops=0, split=0.9)
    first, second = (make(images, slice(0, 16)) for make in crops.draw(16, _generator()))

    def detail(view: torch.Tensor) -> float:
        return float(view.diff(dim=-1).abs().median())

    assert detail(first) < 0.8 * detail(second)
