"""List the kinds of features that do not belong together or cannot be placed: `KINDS`."""

from __future__ import annotations

import json
from pathlib import Path

import h5py

from tests.faults.kinds import IDS, Kind
from tests.stages.features.made_features import write_slide2vec, write_slide2vec_dense, write_trident


def _grid_of_another_size(room: Path) -> None:
    meta = write_slide2vec_dense(room / "features", IDS) / "dense_image_embeddings" / f"{IDS[2]}.meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "target_size": [224, 224]}))


def _no_sizes(room: Path) -> None:
    meta = write_slide2vec_dense(room / "features", IDS) / "dense_image_embeddings" / f"{IDS[1]}.meta.json"
    meta.write_text('{"artifact_type": "dense_image_embeddings"}')


def _two_kinds(room: Path) -> None:
    write_slide2vec(room / "features", IDS)
    write_slide2vec_dense(room / "features", IDS)


def _two_encoders(room: Path) -> None:
    """The first file has no name, so the mixture begins after it."""
    folder = write_trident(room / "features", IDS)
    for identifier, name in zip(sorted(IDS)[:3], ("", "uni_v1", "virchow"), strict=True):
        with h5py.File(folder / f"{identifier}.h5", "a") as file:
            file["features"].attrs["encoder"] = name


def _dense(room: Path) -> None:
    write_slide2vec_dense(room / "features", IDS)


M = "maps --store s.zarr --features features --out new.zarr --components 3"
KINDS = [
    Kind("features-dense-other-grid", "a grid that is not that of its description", _grid_of_another_size, M, 1, (f"{IDS[2]}.pt", f"{IDS[2]}.meta.json", "grid of")),
    Kind("features-dense-no-sizes", "a description without sizes", _no_sizes, M, 1, (f"{IDS[1]}.pt", "target_size")),
    Kind("features-two-kinds", "features of two kinds in one folder", _two_kinds, M, 2, ("features", "slide2vec, slide2vec-dense", "--features-format")),
    Kind("features-two-encoders", "two encoders after a file without a name", _two_encoders, M, 1, ("uni_v1", "virchow", "one encoder")),
    Kind("features-long-licence", "a licence that is too long", _dense, f"{M} --licence {'x' * 1001}", 2, ("--licence", "1,001")),
]  # fmt: skip
"""Every kind of bad request, as rows of the table."""
