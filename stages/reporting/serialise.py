"""Write cases as JSON for the page's script.

The report embeds this JSON, `pipeline view` sends the same over HTTP, and `assets/case.js` draws it. One case is

    {
      "id": "ISIC_0000001", "group": "patient 7",       text as it is; the script shows control characters as escapes
      "height": 767, "width": 1022,                     size of the original image in pixels
      "size": 0.31,                                     foreground share, 0 to 1, or null
      "flags": ["label in doubt"],
      "scores": {"dual": {"dice": 0.91, "hd95": null}}, by run and score; six significant digits, or null
      "picture": {                                      or null for a case that is only listed
        "width": 512, "height": 384,                    size of the coordinates of all paths
        "image": "data:image/webp;base64,…",
        "truth": [{"name": "lesion", "path": "M1,1L9,1L9,9Z"}],
        "ignored": "",                                  path, or ""
        "predictions": {"dual": [{"name": "lesion", "path": "M2,1L9,1L9,9Z"}]},
        "probability": {"dual": "data:image/png;base64,…"},
        "maps": {                                       or null
          "heads": ["L11H0", "L11H1"], "grid": [28, 28],
          "sheet": "data:image/png;base64,…",           grey, the maps below each other
          "low": [0.1, 0.2], "high": [9.5, 8.0],        uniform attention is 1.0
          "agreement": [0.31, null],                    |AUROC - 0.5|, 0 to 0.5, or null
          "best": 0                                     position, or null
        }
      }
    }

Not a number and infinity become null, because JSON has neither.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

from stages.reporting.content import Case, CasePicture, Maps, Shape

__all__ = ["case_json", "script_text"]


def case_json(case: Case) -> dict[str, Any]:
    """Return `case` as plain values for `json.dumps`, in the form that the module's docstring lists."""
    return {
        "id": case.id,
        "group": case.group,
        "height": case.height,
        "width": case.width,
        "size": _number(case.size),
        "flags": list(case.flags),
        "scores": {arm: {key: _number(value) for key, value in row.items()} for arm, row in case.scores.items()},
        "picture": None if case.picture is None else _picture(case.picture),
    }


def script_text(value: Any) -> str:
    """Return `value` as JSON that can stand inside a `<script type="application/json">` element.

    `<`, `>` and `&` are escaped, so that no text ends the element or begins a comment. All that is not ASCII is
    escaped too: U+2028, U+2029, and the halves of surrogate pairs that file names may hold.

    Raises:
        ValueError: `value` holds a number that JSON does not know.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _picture(picture: CasePicture) -> dict[str, Any]:
    return {
        "width": picture.width,
        "height": picture.height,
        "image": _data(picture.image, picture.image_type),
        "truth": [_shape(shape) for shape in picture.truth],
        "ignored": picture.ignored,
        "predictions": {arm: [_shape(shape) for shape in shapes] for arm, shapes in picture.predictions.items()},
        "probability": _images(picture.probability),
        "maps": None if picture.maps is None else _maps(picture.maps),
    }


def _shape(shape: Shape) -> dict[str, str]:
    return {"name": shape.name, "path": shape.path}


def _maps(maps: Maps) -> dict[str, Any]:
    return {
        "heads": list(maps.heads),
        "grid": list(maps.grid),
        "sheet": _data(maps.sheet, "image/png"),
        "low": [_number(value) for value in maps.low],
        "high": [_number(value) for value in maps.high],
        "agreement": [_number(value) for value in maps.agreement],
        "best": maps.best,
    }


def _images(images: Mapping[str, bytes]) -> dict[str, str]:
    return {arm: _data(data, "image/png") for arm, data in images.items()}


def _data(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _number(value: float) -> float | None:
    """Return `value` with six significant digits, or None where it is not finite."""
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None
