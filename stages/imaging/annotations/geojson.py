"""Read GeoJSON as QuPath writes it: one file per image, coordinates in pixels.

The file is a `FeatureCollection`, a list of features or one feature. Geometries are `Polygon` (the first ring is the
outline, the others are holes) and `MultiPolygon`; one feature is one object. The class is
`properties.classification.name`, or `names` joined by `: ` for derived classes. Features without a class count as
`foreground`. QuPath's own class `Ignore*` is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stages.imaging.annotations.drawn import NO_CLASS, Drawn, Picture, naming, polygon
from stages.imaging.annotations.shapes import Outline

__all__ = ["parse", "recognise"]


def recognise(content: Any) -> bool:
    """Return True if parsed JSON looks like GeoJSON features."""
    features = _features(content)
    return features is not None and all(
        isinstance(feature, dict) and feature.get("type") == "Feature" for feature in features
    )


def parse(content: Any) -> Sequence[Picture]:
    """Return the one picture of a GeoJSON file. It says neither the picture's name nor its size."""
    drawn = []
    for number, feature in enumerate(_features(content) or [], start=1):
        with naming(f"feature {number}"):
            drawn.append(Drawn(_label(feature), _parts(feature)))
    return [Picture("", None, drawn)]


def _features(content: Any) -> list[Any] | None:
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        features = content.get("features")
        return features if isinstance(features, list) else None
    if isinstance(content, dict) and content.get("type") == "Feature":
        return [content]
    return content if isinstance(content, list) and content else None


def _label(feature: Any) -> str:
    properties = feature.get("properties")
    classification = properties.get("classification") if isinstance(properties, dict) else None
    if not isinstance(classification, dict):
        return NO_CLASS
    names = classification.get("names")
    joined = ": ".join(map(str, names)) if isinstance(names, list) else ""
    label = str(classification.get("name") or joined or NO_CLASS)
    return "ignore" if label.lower() in {"ignore", "ignore*"} else label


def _parts(feature: Any) -> list[Outline]:
    geometry = feature.get("geometry")
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"is a {kind}, which has no area" if kind else "has no geometry")
    coordinates = geometry.get("coordinates")
    parts = [coordinates] if kind == "Polygon" else coordinates
    return [[ring for points in part for ring in polygon(_points(points))] for part in parts]


def _points(points: Any) -> list[tuple[float, float]]:
    if not all(isinstance(point, list) and len(point) > 1 for point in points):
        raise ValueError("has a point that is no pair of numbers")
    return [(float(x), float(y)) for x, y, *_ in points]
