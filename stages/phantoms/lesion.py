"""Draw the lesion of a phantom: its outline, its soft border, and the pigment inside it.

The outline is a level line of a field that decreases from the centre of the lesion. The field starts as an ellipse
bent by harmonics of the angle; lobes are added, notches are cut out, and noise roughens it. The level is chosen so that
the lesion covers a given fraction of the frame. The border is then blurred, on some sides more than on others. The mask
is where the blurred lesion exceeds one half, which is where a reader would trace a soft edge.

The inside shows structures of dermoscopy: network, globules, streaks, blotches, blue-white veil, regression and more.
Each is present in some lesions at random, independently of any diagnosis, so no class can be learnt from phantoms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from stages.phantoms.canvas import DEEP_MELANIN, HAEMOGLOBIN, MELANIN, Canvas, Colour, Plane, Point, blur, step

_ANGLES = 720  # entries in the table of radius against angle
_HARMONICS = 36


@dataclass(frozen=True)
class Lesion:
    """Describe the place and shape of a lesion.

    Attributes:
        mask: (height, width) bool, True where the opacity exceeds one half.
        opacity: (height, width) float32 in [0, 1], soft at the border.
        depth: (height, width) float32 in [0, 1], 0 on the outline and outside, 1 at the innermost point.
        centre: (row, column) in short sides, inside the frame.
        radius: Radius of the disc with the same area, in short sides.
    """

    mask: NDArray[np.bool_]
    opacity: Plane
    depth: Plane
    centre: Point
    radius: float


def no_lesion(canvas: Canvas) -> Lesion:
    """Return an empty lesion in the middle of the frame, for an image of skin only. Its nominal radius is 0.2."""
    nothing = np.zeros((canvas.height, canvas.width), np.float32)
    return Lesion(nothing > 0, nothing, nothing, (canvas.height / canvas.side / 2, canvas.width / canvas.side / 2), 0.2)


def lesion_outline(canvas: Canvas) -> Lesion:
    """Choose the place, the outline and the border of a lesion at random. Nothing is drawn on the canvas.

    The lesion covers 1 to 70 % of the frame, with a median near 20 %, as in ISIC 2018.
    """
    share = canvas.between(0.105, 0.835) ** 2
    radius = math.sqrt(share * canvas.area / math.pi)
    centre = canvas.place(0.02) if canvas.chance(0.12) else canvas.place(0.3)
    field = _shape_field(canvas, centre, radius)
    field -= np.float32(np.quantile(field, 1 - share))
    body = _keep_main_parts(field > 0)
    opacity = _soft_border(canvas, body, radius)
    depth = np.clip(field / field.max(), 0, 1)
    return Lesion(opacity > 0.5, opacity, depth, centre, radius)  # noqa: PLR2004 -- half, by definition


def _shape_field(canvas: Canvas, centre: Point, radius: float) -> Plane:
    """Return a field that is highest inside the lesion and decreases by 1 per radius of distance."""
    angle = canvas.between(0, math.pi)
    elongation = math.exp(canvas.between(0, 0.75))
    across, along = canvas.rotated_coordinates(centre, angle)
    across, along = across * np.float32(elongation**0.5 / radius), along * np.float32(elongation**-0.5 / radius)
    field = _radius_by_angle(canvas, np.arctan2(across, along)) - np.hypot(across, along)
    for _ in range(int(canvas.generator.choice([0, 1, 2, 3], p=[0.5, 0.25, 0.15, 0.1]))):
        lobe = _random_point_at(canvas, centre, canvas.between(0.5, 1.1) * radius)
        field = np.maximum(field, canvas.between(0.35, 0.7) - canvas.distance(lobe) / np.float32(radius))
    for _ in range(int(canvas.generator.choice([0, 1, 2], p=[0.65, 0.25, 0.1]))):
        notch = _random_point_at(canvas, centre, canvas.between(0.8, 1.2) * radius)
        field = np.minimum(field, canvas.distance(notch) / np.float32(radius) - canvas.between(0.2, 0.5))
    field += np.float32(0.02 + 0.2 * canvas.between(0, 1) ** 1.5) * canvas.noise(0.7 * radius, octaves=3)
    field += np.float32(canvas.between(0.0, 0.07)) * canvas.noise(0.018)
    return field


def _radius_by_angle(canvas: Canvas, angle: Plane) -> Plane:
    """Return the relative radius of the outline at each angle: 1 plus harmonics that weaken with their order."""
    order = np.arange(2, _HARMONICS)
    strength = (0.04 + 0.32 * canvas.between(0, 1) ** 1.5) * order ** -canvas.between(0.9, 1.6)
    turn = np.linspace(-math.pi, math.pi, _ANGLES, endpoint=False)
    phase = canvas.generator.uniform(0, 2 * math.pi, order.size)
    table = 1 + strength @ np.cos(order[:, None] * turn + phase[:, None])
    index = ((angle + math.pi) * (_ANGLES / (2 * math.pi))).astype(np.intp) % _ANGLES
    return np.asarray(table[index], np.float32)


def _random_point_at(canvas: Canvas, centre: Point, distance: float) -> Point:
    """Return a point at this distance from the centre, in a random direction."""
    angle = canvas.between(0, 2 * math.pi)
    return centre[0] + distance * math.sin(angle), centre[1] + distance * math.cos(angle)


def _keep_main_parts(body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Remove specks (parts smaller than a tenth of the largest) and fill holes."""
    labels, count = ndimage.label(body)
    if count > 1:
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        body = (sizes >= 0.1 * sizes.max())[labels] & body
    return np.asarray(ndimage.binary_fill_holes(body), np.bool_)


def _soft_border(canvas: Canvas, body: NDArray[np.bool_], radius: float) -> Plane:
    """Return the opacity of the lesion: a sharp border on some sides, a soft one on others."""
    softest = math.exp(canvas.between(math.log(0.03), math.log(0.17)))
    sharp = blur(body.astype(np.float32), max(0.03 * radius * canvas.side, 0.5))
    soft = blur(sharp, softest * radius * canvas.side)
    return soft + step(canvas.noise(1.2 * radius), -0.2, 1.4) * (sharp - soft)


def pigment_lesion(canvas: Canvas, lesion: Lesion) -> None:
    """Draw the pigment and the structures inside the lesion."""
    strength = canvas.between(0.1, 0.24) if canvas.chance(0.2) else canvas.between(0.32, 1.05)
    skin = canvas.mean_light()
    if canvas.chance(0.1):
        _draw_pink_body(canvas, lesion, strength)
    else:
        _draw_brown_body(canvas, lesion, strength)
        for share, structure in (
            (0.45, _draw_network),
            (0.35, _draw_globules),
            (0.35, _draw_blotches),
            (0.25, _draw_streaks),
            (0.12, _draw_pale_dots),
        ):
            if canvas.chance(share):
                structure(canvas, lesion, strength)
    if canvas.chance(0.22):
        _draw_redness(canvas, lesion, strength)
    if canvas.chance(0.15):
        _draw_veil(canvas, lesion, skin)
    if canvas.chance(0.3):
        _draw_regression(canvas, lesion, skin)


def _draw_brown_body(canvas: Canvas, lesion: Lesion, strength: float) -> None:
    """Draw melanin that varies from centre to border, from side to side, and in patches."""
    amount = lesion.opacity * np.float32(strength)
    amount *= 1 + np.float32(canvas.between(-0.45, 0.9)) * (lesion.depth - np.float32(0.4))
    across, _ = canvas.rotated_coordinates(lesion.centre, canvas.between(0, 2 * math.pi))
    amount *= np.clip(1 + np.float32(canvas.between(0, 0.55) / lesion.radius) * across, 0.25, 1.75)
    stretch = canvas.between(1, 2.5)
    patches = canvas.noise(canvas.between(0.2, 0.6) * lesion.radius, octaves=5, stretch=stretch)
    amount *= np.exp(np.float32(canvas.between(0.12, 0.45)) * patches)
    deep = canvas.between(0, 0.7) * strength
    canvas.absorb(amount, _mix(MELANIN, DEEP_MELANIN, min(deep, 1)))


def _draw_pink_body(canvas: Canvas, lesion: Lesion, strength: float) -> None:
    """Draw a lesion with little melanin: red with a little brown."""
    patches = np.exp(np.float32(0.3) * canvas.noise(0.4 * lesion.radius, octaves=4))
    canvas.absorb(lesion.opacity * patches * np.float32(0.12 + 0.35 * strength), HAEMOGLOBIN)
    canvas.absorb(lesion.opacity * np.float32(canvas.between(0, 0.3) * strength), MELANIN)


def _draw_network(canvas: Canvas, lesion: Lesion, strength: float) -> None:
    """Draw a pigment network: a brown mesh in parts of the lesion that thins towards the border."""
    where = step(canvas.noise(0.7 * lesion.radius), -0.8, 0.5) * lesion.opacity
    lines = canvas.mesh(canvas.between(0.015, 0.03)) - np.float32(0.5)
    canvas.absorb(where * lines * np.float32(canvas.between(0.3, 0.9) * strength), MELANIN)


def _draw_globules(canvas: Canvas, lesion: Lesion, strength: float) -> None:
    """Draw dots and globules: round dark grains of about one size, in parts of the lesion."""
    size = canvas.between(0.005, 0.016)
    reach = 2 * lesion.radius
    count = int(min(canvas.between(0.05, 0.35) * reach**2 / size**2 / 4, 400))
    offsets = canvas.generator.uniform(-reach, reach, (count, 2)).tolist()
    sizes = (size * canvas.generator.uniform(0.5, 1.5, count)).tolist()
    places = [(lesion.centre[0] + row, lesion.centre[1] + column) for row, column in offsets]
    grains = blur(canvas.dots(zip(places, sizes, strict=True)), 0.3 * size * canvas.side)
    where = step(canvas.noise(0.6 * lesion.radius), -0.6, 0.5) * lesion.opacity
    pigment = _mix(MELANIN, DEEP_MELANIN, canvas.between(0.1, 0.6))
    canvas.absorb(grains * where * np.float32(canvas.between(0.6, 1.3) * strength), pigment)


def _draw_blotches(canvas: Canvas, lesion: Lesion, strength: float) -> None:
    """Draw blotches: dark areas without structure."""
    where = step(canvas.noise(0.7 * lesion.radius, octaves=3), 0.5, 1.5) * step(lesion.depth, 0, 0.4)
    pigment = _mix(MELANIN, DEEP_MELANIN, 0.7)
    canvas.absorb(where * np.float32(canvas.between(0.5, 1.6) * strength), pigment)


def _draw_streaks(canvas: Canvas, lesion: Lesion, strength: float) -> None:
    """Draw streaks: dark fingers that point outwards near the border."""
    across, along = canvas.rotated_coordinates(lesion.centre, 0)
    angle = np.arctan2(across, along) + np.float32(0.08) * canvas.noise(0.3 * lesion.radius)
    fingers = np.cos(angle * int(canvas.between(18, 50))) + np.float32(0.5) * canvas.noise(0.06)
    rim = step(lesion.depth, 0, 0.1) * (1 - step(lesion.depth, 0.15, 0.5))
    where = step(canvas.noise(1.2 * lesion.radius), -0.5, 0.5)
    canvas.absorb(step(fingers, 0, 1) * rim * where * np.float32(canvas.between(0.5, 1.1) * strength), MELANIN)


def _draw_veil(canvas: Canvas, lesion: Lesion, skin: Colour) -> None:
    """Draw a blue-white veil: a milky grey-blue over part of the lesion."""
    where = step(canvas.noise(0.8 * lesion.radius, octaves=2), -0.2, 1.6) * step(lesion.depth, 0.0, 0.5)
    brightness = sum(skin) / 3 * canvas.between(0.5, 0.85)
    colour = (0.92 * brightness, 0.97 * brightness, 1.1 * brightness)
    canvas.cover(where * np.float32(canvas.between(0.4, 0.8)), colour)


def _draw_regression(canvas: Canvas, lesion: Lesion, skin: Colour) -> None:
    """Draw regression: scar-like areas as pale as the skin or paler, some peppered with grey. They stay in the mask."""
    where = step(canvas.noise(0.8 * lesion.radius, octaves=3), 0.0, 1.4) * step(lesion.opacity, 0.3, 1.0)
    pale = canvas.between(0.95, 1.12)
    canvas.cover(where * np.float32(canvas.between(0.5, 0.9)), (skin[0] * pale, skin[1] * pale, skin[2] * pale))
    if canvas.chance(0.4):
        pepper = step(canvas.noise(0.01), 0.6, 1.8) * where
        canvas.absorb(pepper * np.float32(canvas.between(0.05, 0.3)), DEEP_MELANIN)


def _draw_pale_dots(canvas: Canvas, lesion: Lesion, strength: float) -> None:
    """Draw milia-like cysts: small pale dots."""
    dots = step(canvas.noise(canvas.between(0.02, 0.04)), 1.4, 1.9) * lesion.opacity
    canvas.absorb(dots * np.float32(-0.5 * strength), MELANIN)


def _draw_redness(canvas: Canvas, lesion: Lesion, strength: float) -> None:
    """Draw red areas and dotted vessels inside the lesion."""
    where = step(canvas.noise(0.6 * lesion.radius), 0, 1.2) * lesion.opacity
    vessels = step(canvas.noise(0.012), 0.8, 1.4)
    canvas.absorb(where * (np.float32(0.08 + 0.15 * strength) + np.float32(0.3) * vessels), HAEMOGLOBIN)


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return a mixture of two pigments; `share` of it is the second."""
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(first, second, strict=True))
    return red, green, blue
