"""Measure how much phantoms are like real images, by simple statistics of the images and their masks.

    pipeline phantom --samples 400 --image-size 192x256 --out phantoms
    python -m tests.benchmarks.likeness real=isic/images:isic/masks phantoms=phantoms/images:phantoms/masks

A pair is `NAME=IMAGES:MASKS`; the mask of `a.jpg` is `a_segmentation.png`. Images are cropped to their middle square
and reduced to 128 x 128. A random sample of every folder is measured. Images without a lesion, or with hardly any skin,
are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Grey = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIDE = 128
FEWEST = 200
"""Pixels of lesion, and of skin, that an image needs to be measured."""
MIDDLE = 127
BORDER = 3
"""Pixels on either side of the border that count neither as lesion nor as skin."""
QUANTILES = (0.1, 0.5, 0.9)

STATISTICS = {
    "area": "share of the square that is lesion",
    "offset": "distance of the lesion's centre from the middle, in half sides",
    "cut": "1 if the lesion touches the edge",
    "otsu": "Dice of everything darker than Otsu's threshold",
    "darkness": "Dice of the best threshold of brightness for the image",
    "colour": "Dice of the best threshold of the best linear mixture of red, green and blue for the image",
    "contrast": "difference of the mean brightness of skin and lesion, of 255",
    "lesion texture": "deviation of brightness within the lesion, of 255",
    "skin texture": "deviation of brightness within the skin, of 255",
    "sharpness": "share of the difference across the border that lies within 2 pixels of it",
    "roundness": "4 pi area / outline²",
}


def main(
    pairs: Annotated[list[str], typer.Argument(help="NAME=IMAGES:MASKS")],
    samples: Annotated[int, typer.Option(help="Images to measure of every folder.")] = 400,
) -> None:
    """Print a Markdown table: mean, and 10th, 50th and 90th percentile of every statistic."""
    columns = {}
    for pair in pairs:
        name, _, folders = pair.partition("=")
        images, _, masks = folders.partition(":")
        columns[name] = measure_folder(Path(images), Path(masks), samples)
    print(f"| statistic | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")  # noqa: T201 - the table is the output
    for statistic in STATISTICS:
        cells = [_summary([found[statistic] for found in rows]) for rows in columns.values()]
        print(f"| {statistic} | {' | '.join(cells)} |")  # noqa: T201 - the table is the output


def _summary(values: list[float]) -> str:
    """Return the mean and the quantiles. Values that are not defined are left out."""
    low, middle, high = np.nanquantile(values, QUANTILES)
    return f"{np.nanmean(values):.2f} ({low:.2f}, {middle:.2f}, {high:.2f})"


def measure_folder(images: Path, masks: Path, samples: int) -> list[dict[str, float]]:
    """Return the statistics of a random sample of images that have a lesion and skin."""
    files = sorted(file for file in images.iterdir() if file.suffix in {".jpg", ".png"})
    chosen = np.random.default_rng(0).permutation(len(files))[:samples]
    rows = []
    for file in (files[position] for position in chosen):
        mask = np.asarray(_square(masks / f"{file.stem}_segmentation.png", "L")) > MIDDLE
        if min(mask.sum(), (~mask).sum()) >= FEWEST:
            rows.append(measure(np.asarray(_square(file, "RGB"), np.float64), mask))
    return rows


def _square(file: Path, mode: str) -> Image.Image:
    """Return the middle square of an image, reduced to 128 x 128."""
    with Image.open(file) as opened:
        image = opened.convert(mode)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BOX)


def measure(image: NDArray[np.float64], mask: Mask) -> dict[str, float]:
    """Return the statistics of one image.

    Args:
        image: (row, column, 3), brightness from 0 to 255.
        mask: (row, column), True in the lesion. Both sides of it need `FEWEST` pixels.
    """
    grey = image.mean(axis=2)
    distance = ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)  # negative in the lesion
    lesion, skin = grey[distance < -BORDER], grey[distance > BORDER]
    rows, columns = mask.shape
    centre = np.subtract(ndimage.center_of_mass(mask), ((rows - 1) / 2, (columns - 1) / 2))
    outline = int((mask & ~ndimage.binary_erosion(mask)).sum())
    return {
        "area": float(mask.mean()),
        "offset": float(np.hypot(*centre) / (min(rows, columns) / 2)),
        "cut": float(mask[[0, -1]].any() or mask[:, [0, -1]].any()),
        "otsu": dice(grey < otsu(grey), mask),
        "darkness": best_dice(-grey, mask),
        "colour": best_dice(best_mixture(image, mask), mask),
        "contrast": float(skin.mean() - lesion.mean()) if len(skin) and len(lesion) else np.nan,
        "lesion texture": float(lesion.std()) if len(lesion) else np.nan,
        "skin texture": float(skin.std()) if len(skin) else np.nan,
        "sharpness": sharpness(grey, distance),
        "roundness": float(4 * np.pi * mask.sum() / outline**2),
    }


def dice(found: Mask, mask: Mask) -> float:
    """Return the Dice coefficient of two masks, of which one is not empty."""
    return float(2 * (found & mask).sum() / (found.sum() + mask.sum()))


def best_dice(score: Grey, mask: Mask) -> float:
    """Return the largest Dice that a threshold of the score gives; what exceeds it is found."""
    truth = mask.ravel()[np.argsort(-score.ravel(), kind="stable")]
    return float((2 * np.cumsum(truth) / (np.arange(1, truth.size + 1) + truth.sum())).max())


def otsu(grey: Grey) -> float:
    """Return Otsu's threshold: the one that separates dark from bright with the largest variance between them."""
    counts, edges = np.histogram(grey, 256, (0, 256))
    weight, total = np.cumsum(counts)[:-1], np.cumsum(counts * edges[:-1])
    share = weight / grey.size
    with np.errstate(invalid="ignore", divide="ignore"):
        between = (total[-1] / grey.size * share - total[:-1] / grey.size) ** 2 / (share * (1 - share))
    return float(edges[1:][np.nan_to_num(between, nan=-1.0, posinf=-1.0).argmax()])


def best_mixture(image: NDArray[np.float64], mask: Mask) -> Grey:
    """Return the mixture of colours that separates lesion from skin best (Fisher 1936), larger in the lesion."""
    inside, outside = image[mask], image[~mask]
    spread = np.cov(inside.T) + np.cov(outside.T) + np.eye(3)
    weights = np.linalg.solve(spread, inside.mean(axis=0) - outside.mean(axis=0))
    return np.asarray(image @ weights)


def sharpness(grey: Grey, distance: Grey) -> float:
    """Return which share of the change from 8 pixels outside to 8 inside lies between 2 outside and 2 inside.

    An even slope has about a quarter. It is nan where lesion and skin hardly differ, or one of them is too narrow.
    """
    levels = []
    for pixels in (8, 2, -2, -8):
        there = np.abs(distance - pixels) <= 0.5
        levels.append(grey[there].mean() if there.any() else np.nan)
    far_out, out, within, far_within = levels
    change = far_out - far_within
    return float((out - within) / change) if abs(change) > 8 else np.nan


if __name__ == "__main__":
    typer.run(main)
