"""Write the outlines of predicted objects as GeoJSON, as QuPath reads it.

A file holds one FeatureCollection. Every object is one feature with the properties that QuPath knows: `objectType`,
`classification` with name and colour, and `measurements`. Coordinates are pixels of the original image, with the origin
in its upper left corner. See RFC 7946 for the geometry; rings are closed and follow its right-hand rule.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.pixel_sizes import pixel_area
from stages.pictures.outlines import colour_of
from stages.prediction.contours import trace_objects
from stages.prediction.mask_files import SOFTWARE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stages.prediction.contours import Polygon
    from stages.segmentation.metrics import PixelSize

__all__ = ["Feature", "as_geojson", "class_features", "feature_of"]

Feature = dict[str, Any]


def as_geojson(features: Sequence[Feature]) -> bytes:
    """Return the bytes of a GeoJSON file, marked as written by this program."""
    collection = {"type": "FeatureCollection", "generator": SOFTWARE, "features": features}
    return json.dumps(collection, ensure_ascii=False, separators=(",", ":")).encode()


def class_features(name: str, number: int, objects: NDArray[np.int32], pixel_mm: PixelSize | None) -> list[Feature]:
    """Return the objects of one class as features.

    Args:
        name: Name of the class.
        number: Number of the foreground class, counted from 0; it decides the colour.
        objects: (height, width) int32 number of the object at every pixel, 0 for none.
        pixel_mm: Size of a pixel in millimetres; None if it is not known.
    """
    areas = np.bincount(objects.ravel())
    return [
        feature_of(name, number, polygons, area=int(areas[one]), pixel_mm=pixel_mm)
        for one, polygons in trace_objects(objects).items()
    ]


def feature_of(name: str, number: int, polygons: list[Polygon], *, area: int, pixel_mm: PixelSize | None) -> Feature:
    """Return one object as a feature. An object of several pieces is a MultiPolygon."""
    single = len(polygons) == 1
    measurements: dict[str, float] = {"area_px": area}
    if pixel_mm is not None:
        measurements["area_mm2"] = area * pixel_area(pixel_mm)
    return {
        "type": "Feature",
        "geometry": {
            "type": "Polygon" if single else "MultiPolygon",
            "coordinates": polygons[0] if single else polygons,
        },
        "properties": {
            "objectType": "annotation",
            "classification": {"name": name, "color": list(colour_of(number))},
            "measurements": measurements,
        },
    }
