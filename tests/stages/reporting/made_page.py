"""Make pages of synthetic cases for the tests of the report's page."""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from stages.reporting.content import (
    Case,
    CasePicture,
    CaseTable,
    Fact,
    Figure,
    Maps,
    Page,
    Paragraph,
    Section,
    Shape,
    Table,
)
from stages.reporting.figures import MUTED, SERIES, new_figure, to_svg

ARMS = ("dual", "image")
SCORES = {"dice": "Dice", "hd95": "HD95 (px)"}
HEADS = tuple(f"L11H{number}" for number in range(6))
GRID = 28


def made_page(cases: Sequence[Case], *, arms: Sequence[str] = ARMS) -> Page:
    """Return a page with every kind of content and the given cases."""
    return Page(
        title="Skin lesions: does attention help?",
        verdict="With 32 labelled images the dual network reaches Dice 0.812 (95 % interval 0.776 to 0.846, "
        "43 images): 0.041 more than the image alone (0.018 to 0.066).",
        facts=[
            Fact(label="Dice, dual", value="0.812", detail="0.776 to 0.846"),
            Fact(label="Dice, image only", value="0.771", detail="0.728 to 0.811"),
            Fact(label="Difference", value="+0.041", detail="0.018 to 0.066, paired"),
            Fact(label="Images won", value="31 of 43", detail="72 %"),
            Fact(label="Everything marked", value="0.214", detail="Dice of marking every pixel"),
        ],
        notes=[
            "43 images are few: the interval is wide.",
            "Two masks are empty; their Dice is 1 if nothing is predicted.",
        ],
        sections=[
            Section(
                id="scores",
                title="Scores",
                blocks=[
                    Paragraph(
                        text="All runs were trained for 1,200 steps on the same 32 images and tested on 43 others."
                    ),
                    Table(
                        title="Runs",
                        columns=["Run", "Dice", "95 % interval", "HD95 (px)", "Parameters", "Time"],
                        rows=[
                            ["dual", "0.812", "0.776–0.846", "18.2", "412,338", "3 min 12 s"],
                            ["image", "0.771", "0.728–0.811", "24.9", "301,122", "2 min 48 s"],
                        ],
                        numeric=[1, 2, 3, 4, 5],
                        caption="Intervals by bootstrap over images.",
                    ),
                    Paragraph(text="Still improving at the last step: train longer.", kind="warning"),
                    curve(),
                    histogram(),
                ],
            ),
            Section(id="left-out", title="Left out", blocks=[Paragraph(text="Nothing was left out.", kind="note")]),
        ],
        cases=CaseTable(arms=arms, scores=SCORES, cases=cases, note="Pictures are shown of all cases."),
        footer=[("Recipe", "vit_small_patch8_224.dino, layer 11, 224 px"), ("Version", "0.9.0"), ("Seed", "0")],
    )


def curve() -> Figure:
    figure, axes = new_figure()
    steps = np.arange(0, 1201, 50)
    for name, top in (("dual", 0.82), ("image", 0.77)):
        axes.plot(steps, top * (1 - np.exp(-steps / 250)), label=name)
        axes.fill_between(
            steps, top * (1 - np.exp(-steps / 250)) - 0.04, top * (1 - np.exp(-steps / 250)) + 0.04, alpha=0.15
        )
    axes.axhline(0.214, color=MUTED, linestyle="--", linewidth=1)
    axes.set_xlabel("step")
    axes.set_ylabel("validation Dice")
    axes.legend(loc="lower right")
    return Figure(
        title="Validation Dice during training",
        svg=to_svg(figure),
        description="Dice of both runs rises to about 0.8; the dual run is higher throughout.",
        caption="The dashed line marks every pixel as foreground.",
    )


def histogram() -> Figure:
    figure, axes = new_figure()
    random = np.random.default_rng(1)
    for colour, shift in zip(SERIES, (0.82, 0.76), strict=False):
        axes.hist(np.clip(random.normal(shift, 0.1, 43), 0, 1), bins=20, range=(0, 1), color=colour, alpha=0.6)
    axes.set_xlabel("Dice")
    axes.set_ylabel("images")
    return Figure(title="Distribution of Dice", svg=to_svg(figure), description="Most images lie above 0.7.")


def made_cases(count: int, *, pictures: int | None = None, size: tuple[int, int] = (384, 288)) -> list[Case]:
    """Return `count` cases, the first with the best Dice; the first `pictures` have one of `size` (width, height)."""
    pictures = count if pictures is None else pictures
    return [made_case(number, size if number < pictures else None, count) for number in range(count)]


def made_case(number: int, size: tuple[int, int] | None, count: int = 100) -> Case:
    random = np.random.default_rng(number)
    dice = 0.97 - 0.6 * number / max(1, count)
    return Case(
        id=f"LESION_{number:06d}",
        group=f"patient {number // 3}",
        height=768,
        width=1024,
        scores={
            "dual": {"dice": dice, "hd95": 4 + 40 * (1 - dice)},
            "image": {"dice": float(np.clip(dice + random.normal(-0.04, 0.05), 0, 1)), "hd95": math.nan},
        },
        size=0.05 + 0.4 * random.random(),
        flags=["label in doubt"] if number % 7 == 3 else [],
        picture=None if size is None else made_picture(random, *size),
    )


def ellipse(x: float, y: float, a: float, b: float, turn: float = 0.0, wobble: float = 0.0) -> str:
    """Return the SVG path of an ellipse whose radius varies by the share `wobble`."""
    points = []
    for angle in np.linspace(0, 2 * np.pi, 48, endpoint=False):
        radius = 1 + wobble * math.sin(3 * angle + turn)
        u, v = a * radius * math.cos(angle), b * radius * math.sin(angle)
        points.append(
            f"{x + u * math.cos(turn) - v * math.sin(turn):.1f},{y + u * math.sin(turn) + v * math.cos(turn):.1f}"
        )
    return f"M{'L'.join(points)}Z"


def made_picture(random: np.random.Generator, width: int, height: int) -> CasePicture:
    """Return a picture of a dark spot on skin with one true and two predicted contours, probability and maps."""
    x, y = width * random.uniform(0.35, 0.65), height * random.uniform(0.35, 0.65)
    a, b, turn = width * random.uniform(0.12, 0.25), height * random.uniform(0.15, 0.3), random.uniform(0, 3)
    rows, columns = np.mgrid[0:height, 0:width].astype(float)
    u = ((columns - x) * math.cos(turn) + (rows - y) * math.sin(turn)) / a
    v = (-(columns - x) * math.sin(turn) + (rows - y) * math.cos(turn)) / b
    inside = 1 / (1 + np.exp(8 * (np.hypot(u, v) - 1)))
    waves = np.sin(columns / 9 + 3 * np.sin(rows / 23)) + np.sin(rows / 7 + 2 * np.sin(columns / 31))
    grain = 5 * waves + random.normal(0, 4, (height, width))
    skin, spot = np.array([214, 168, 146]), np.array([104, 58, 48])
    pixels = skin + inside[..., None] * (spot - skin) + grain[..., None]
    shift = random.uniform(-0.15, 0.15)
    return CasePicture(
        width=width,
        height=height,
        image=_coded(np.clip(pixels, 0, 255).astype(np.uint8), "JPEG", quality=80),
        image_type="image/jpeg",
        truth=[Shape(name="lesion", path=ellipse(x, y, a, b, turn, 0.06))],
        predictions={
            "dual": [Shape(name="lesion", path=ellipse(x + shift * a, y, a * 1.04, b * 0.94, turn, 0.1))],
            "image": [Shape(name="lesion", path=ellipse(x + 2 * shift * a, y + 0.2 * b, a * 1.1, b * 0.8, turn, 0.2))],
        },
        probability={arm: _coded((255 * inside[::4, ::4]).astype(np.uint8), "PNG") for arm in ARMS},
        maps=made_maps(random, inside),
    )


def made_maps(random: np.random.Generator, inside: np.ndarray) -> Maps:
    """Return six maps: the third follows the spot, the fourth its background, the others are noise."""
    height, width = inside.shape
    rows, columns = np.arange(GRID) * height // GRID, np.arange(GRID) * width // GRID
    spot = inside[np.ix_(rows, columns)]
    noise = random.gamma(2, 0.5, (6, GRID, GRID))
    maps = noise + np.array([0, 0.5, 6, 0, 1, 0])[:, None, None] * spot
    maps[3] += 2 * (1 - spot)
    low, high = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))
    grey = 255 * (maps - low[:, None, None]) / (high - low)[:, None, None]
    return Maps(
        heads=HEADS,
        grid=(GRID, GRID),
        sheet=_coded(np.round(grey).astype(np.uint8).reshape(-1, GRID), "PNG"),
        low=low.tolist(),
        high=high.tolist(),
        agreement=[0.03, 0.12, 0.44, 0.31, 0.2, math.nan],
        best=2,
    )


def _coded(pixels: np.ndarray, form: str, **options: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()
