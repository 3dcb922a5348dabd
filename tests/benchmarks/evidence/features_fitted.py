"""Keep what was fitted to images, so that the same components can be computed for other images.

A network that was trained on components can only be scored on other images if these have the same components. With
`--fitted FILE` the fit is written to the file if there is none, and read from it if there is one. So the derived store
of a second data set uses the fit of the first.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.errors import UsageError
from store.disk.publish import replace_file

__all__ = ["Fitted", "fitted"]

Arrays = dict[str, NDArray[np.float64]]

FACTS = "facts"
FIT = "fit"


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Hold fitted arrays and the images of the fit."""

    arrays: Arrays
    fit: Mapping[str, Any]
    """Number and digest of the images of the fit."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the recipe of a derived store says about the fit. Equal digests are equal components."""
        digest = hashlib.sha256(b"".join(self.arrays[name].tobytes() for name in sorted(self.arrays)))
        return {**self.fit, "fitted_sha256": digest.hexdigest()}


def fitted(
    path: Path | None, facts: Mapping[str, Any], fit_facts: Mapping[str, Any], fit: Callable[[], Arrays]
) -> Fitted:
    """Return what an earlier call wrote to `path`, or else fit it and write it there.

    Args:
        path: a file `.npz`; None to fit and keep nothing.
        facts: what is fitted, in JSON's types; must be equal in the file.
        fit_facts: the images of the fit.
        fit: does the fit.

    Raises:
        UsageError: the file cannot be read, or holds the fit of something else.
    """
    if path is not None and path.exists():
        return _read(path, facts)
    made = Fitted(arrays=fit(), fit=fit_facts)
    if path is not None:
        content = io.BytesIO()
        texts = {FACTS: np.array(json.dumps(dict(facts))), FIT: np.array(json.dumps(dict(fit_facts)))}
        held: dict[str, Any] = {**made.arrays, **texts}
        np.savez(content, **held)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content.getvalue())
    return made


def _read(path: Path, facts: Mapping[str, Any]) -> Fitted:
    try:
        with (
            path.open("rb") as opened,
            np.load(opened, allow_pickle=False) as file,
        ):  # np.load does not close it on errors
            arrays = {name: file[name] for name in file.files}
        found, fit = (json.loads(str(arrays.pop(name))) for name in (FACTS, FIT))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: cannot be read ({error}). Delete it, or give another file with --fitted.") from None
    if found != json.loads(json.dumps(dict(facts))):
        raise UsageError(f"{path}: holds a fit of {found}, not of {dict(facts)}. Give another file with --fitted.")
    return Fitted(arrays=arrays, fit=fit)
