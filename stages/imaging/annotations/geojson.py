"""Read GeoJSON as QuPath writes it: one file per image, coordinates in pixels.

The file is a `FeatureCollection`, a list of features or one feature. Geometries are `Polygon` (the first ring is the
outline, the others are holes) and `MultiPolygon`; one feature is one object. The class is
`properties.classification.name`. Features without a class count as `foreground`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stages.imaging.annotations.drawn import NO_CLASS, Drawn, Picture
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
    return [Picture("", None, [_drawn(number, one) for number, one in enumerate(_features(content) or [], start=1)])]


def _features(content: Any) -> list[Any] | None:
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        features = content.get("features")
        return features if isinstance(features, list) else None
    if isinstance(content, dict) and content.get("type") == "Feature":
        return [content]
    return content if isinstance(content, list) and content else None


def _drawn(number: int, feature: Any) -> Drawn:
    geometry = feature["geometry"]
    if geometry["type"] == "Polygon":
        parts = [geometry["coordinates"]]
    elif geometry["type"] == "MultiPolygon":
        parts = geometry["coordinates"]
    else:
        raise ValueError(f"feature {number} is a {geometry['type']}, which has no area")
    properties = feature.get("properties") or {}
    label = str((properties.get("classification") or {}).get("name") or NO_CLASS)
    if label.lower().startswith("ignore"):  # QuPath's own class is `Ignore*`
        label = "ignore"
    return Drawn(label, [_outline(part) for part in parts])


def _outline(rings: Any) -> Outline:
    return [[(float(x), float(y)) for x, y, *_ in ring] for ring in rings]
