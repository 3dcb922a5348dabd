"""Name, protect and write the files of every predicted image.

| option            | file                     | content                                                               |
|-------------------|--------------------------|-----------------------------------------------------------------------|
|                   | `<id>.png`               | mask in the values of the training data; see `mask_files`             |
| a multi-label run | `<id>_<label>.png`       | one such file for every label, in place of `<id>.png`                 |
| `--probabilities` | `<id>.npy`               | (class, row, column) float16                                          |
| `--overlay`       | `<id>_overlay.png`       | image with outlines, at most 2,048 pixels long                        |
| `--contours`      | `<id>.geojson`           | outlines as polygons; see `geojson`                                   |
| `--instances`     | `<id>_instances.png`     | number of the object at every pixel, 16-bit grey; 0 for none          |
|                   | `<id>_instances.tif`     | the same in 32 bits, if there are more than 65,535 objects            |
| `--uncertainty`   | `<id>_uncertainty.png`   | entropy of the probabilities, 8-bit grey                              |
| `--table`         | `table.csv`              | one row per image and class; see `table`                              |

A scan or a stack has one file of all its planes in place of `<id>.png` and `<id>_instances.png`, in the format of the
image; see `stages.prediction.parents`.

All pictures except the overlay have the size of the original image. In a multi-label run the instances are in one file
per label, `<id>_<label>_instances.png`, because labels overlap. Otherwise objects are numbered through all classes.

Every file is written by an atomic replace, the table after the last image.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.errors import Problem, UsageError
from stages.imaging.decoding import read_resized
from stages.imaging.image_rules import ImageRules
from stages.imaging.intensities import IntensityRule
from stages.imaging.pixel_sizes import pixel_area, size_in_file
from stages.imaging.samples import SourceSample
from stages.imaging.whole_size import is_turned
from stages.pictures.outlines import display_size, draw_outlines, stretch_objects
from stages.prediction.full_size import Prediction
from stages.prediction.geojson import Feature, as_geojson, class_features
from stages.prediction.licence_file import LICENCE_FILE, is_our_notice, notice, with_earlier
from stages.prediction.mask_files import MaskPainter, as_png, as_tiff
from stages.prediction.not_upright import not_upright
from stages.prediction.ours import is_our_array, is_our_file
from stages.prediction.parent_files import ParentFiles
from stages.prediction.parents import parent_id
from stages.prediction.table import TABLE_FILE, Row, as_csv, is_our_table
from stages.segmentation.checkpoint import MODEL_FILE, ModelCard
from stages.segmentation.instances import split_instances
from stages.segmentation.metrics import PixelSize
from stages.settings import PredictSettings, Size
from store.disk.publish import replace_file

__all__ = ["WHITE", "OutputWriter", "label_names"]

MOST_16_BIT = 65535
WHITE = np.uint8(255)
NOT_IN_A_NAME = re.compile(r"[^\w.-]+")


class OutputWriter:
    """Write the files of each image in turn, and the table at the end."""

    def __init__(self, settings: PredictSettings, card: ModelCard) -> None:
        """Take the options, and the classes with their values from the model's card."""
        self._settings = settings
        self._out = settings.out
        self._classes = card.classes
        self._multilabel = card.network.multilabel
        self._images = ImageRules.from_dict(card.images)
        self._painter = MaskPainter.of(card.classes, (card.masks or {}).get("values"))
        self._rows: list[Row] = []
        self._notice = notice(card.recipe, card.weights_licence, branches=card.network.branches)
        self._parents = ParentFiles(
            card.classes,
            self._painter,
            label_names=self._label_names if self._multilabel else None,
            objects=settings.instances != "none",
        )
        self._turned: list[str] = []
        self._kinds: dict[str, None] = {}
        self._replaceable: set[str] = set()
        """Names of files that existed at the start and that an earlier `predict` wrote."""

    def require_free(self, sources: Sequence[SourceSample]) -> None:
        """Make sure that no file overwrites an image, a mask drawn by hand, a store, a run, or another output.

        Raises:
            UsageError: a file would be overwritten; the message names it.
        """
        self._require_own_folder(sources)
        owners: dict[str, tuple[SourceSample, str]] = {}
        for source in sources:
            shared = self._parents.names(source)
            names = [*shared, *self._names(source)]
            usual = (name for name in names if f"{name.removesuffix('.tif')}.png" not in names)  # without 32 bits
            self._kinds |= dict.fromkeys(_kind(name, source) for name in usual)
            for name in names:
                # All planes of a scan have the same file; other files are of one sample each.
                owner = parent_id(source) if name in shared else source.id
                first, its_owner = owners.setdefault(name, (source, owner))
                if (first.image, its_owner) != (source.image, owner):
                    raise UsageError(
                        f"{source.image}: its prediction and that of {first.image} would both be written to {name}.\n"
                        "  Rename one of the images."
                    )
            self._require_ours(source, names)
        table = self._out / TABLE_FILE
        if self._settings.table and table.exists() and not is_our_table(table):
            raise self._not_ours(TABLE_FILE)
        if self._notice and (path := self._out / LICENCE_FILE).exists() and not is_our_notice(path):
            raise self._not_ours(LICENCE_FILE)

    def write(self, source: SourceSample, prediction: Prediction) -> None:
        """Write all files of one image.

        Raises:
            InputProblemsError: the image is needed for the overlay and can no longer be read.
            PipelineError: the disk is full.
        """
        self._write_masks(source, prediction)
        settings = self._settings
        if settings.probabilities:
            self._write(f"{source.id}.npy", _as_npy(prediction))
        if settings.uncertainty:
            self._write(f"{source.id}_uncertainty.png", as_png(prediction.uncertainty()))
        if settings.overlay or settings.contours or settings.table or settings.instances != "none":
            self._write_objects(source, prediction)
        self._note_orientation(source)

    def kinds(self) -> list[str]:
        """Return the kinds of files that are written, for the output."""
        return [*self._kinds, TABLE_FILE] if self._settings.table else list(self._kinds)

    def close(self) -> list[Problem]:
        """Return the scans that were not written, because planes of them could not be predicted."""
        return self._parents.close()

    def notes(self) -> list[str]:
        """Return notes on the files that were written."""
        return [f"note: {one}" for one in not_upright(self._turned)]

    def add_rows(self, source: SourceSample, rows: Sequence[Row]) -> None:
        """Add rows of the table for an image whose files were written elsewhere."""
        self._rows += rows
        self._note_orientation(source)

    def write_table(self) -> None:
        """Write the table of all images, if it is asked for."""
        if self._settings.table:
            self._write(TABLE_FILE, as_csv(self._rows))

    def write_licence(self) -> None:
        """Write the licence of the transformer's weights, if it has conditions of its own or is unknown.

        Those of other runs with predictions in the folder stay in the file.
        """
        if self._notice:
            self._write(LICENCE_FILE, with_earlier(self._out, self._notice))

    def _note_orientation(self, source: SourceSample) -> None:
        """Remember an image whose outlines do not lie on its file as it is stored."""
        if self._settings.contours and is_turned(source.image):
            self._turned.append(source.id)

    def _write_masks(self, source: SourceSample, prediction: Prediction) -> None:
        if self._parents.takes_masks(source):
            for name, content in self._parents.add(source, prediction.mask):
                self._write(name, content)
            return
        if not self._multilabel:
            self._write(f"{source.id}.png", as_png(self._painter.paint(prediction.mask)))
            return
        for index, name in enumerate(self._label_names(source.id), start=1):
            self._write(f"{name}.png", as_png(prediction.region(index) * WHITE))

    def _write_objects(self, source: SourceSample, prediction: Prediction) -> None:
        """Split every class into objects; write overlay, contours and instances, and keep the rows of the table."""
        settings = self._settings
        pixel_mm = self._pixel_size(source)
        features: list[Feature] = []
        drawn: list[tuple[str, NDArray[np.int32]]] = []
        instances = np.zeros(prediction.size, np.int32)
        count = 0
        for index, name in enumerate(self._classes[1:], start=1):
            region, probability = prediction.region(index), prediction.probability(index)
            method = "components" if settings.instances == "none" else settings.instances
            objects = split_instances(region, method)
            found = int(objects.max())
            self._rows.append(_row(source.id, name, region, probability, objects=found, pixel_mm=pixel_mm))
            if settings.overlay:
                drawn.append((name, stretch_objects(objects, display_size(*prediction.size))))
            if settings.contours:
                features += class_features(name, index - 1, objects, pixel_mm)
            if settings.instances != "none" and self._multilabel:
                self._write_instances(source, objects, label=index)
            instances[region] = objects[region] + count
            count += found
        if settings.overlay:
            self._write(
                f"{source.id}_overlay.png", _draw(source, drawn, display_size(*prediction.size), self._images.window)
            )
        if settings.contours:
            self._write(f"{source.id}.geojson", as_geojson(features))
        if settings.instances != "none" and not self._multilabel:
            self._write_instances(source, instances)

    def _pixel_size(self, source: SourceSample) -> PixelSize | None:
        """Return the size of a pixel: from the table, else from the option, else from the header of a scan."""
        given = source.pixel_mm if source.pixel_mm is not None else self._settings.pixel_mm
        return size_in_file(source.image, source.part.axis) if given is None else given

    def _write_instances(self, source: SourceSample, objects: NDArray[np.int32], label: int | None = None) -> None:
        if self._parents.takes_objects(source):
            for name, content in self._parents.add_objects(source, objects, label):
                self._write(name, content)
            return
        name = source.id if label is None else self._label_names(source.id)[label - 1]
        if objects.max() > MOST_16_BIT:
            self._write(f"{name}_instances.tif", as_tiff(objects))
        else:
            self._write(f"{name}_instances.png", as_png(objects.astype(np.uint16)))

    def _write(self, name: str, content: bytes) -> None:
        """Write a file, unless one of the user has come to its place since the start."""
        path = self._out / name
        own = {TABLE_FILE: is_our_table, LICENCE_FILE: is_our_notice}.get(name, is_our_file)
        ours = name in self._replaceable or own(path)
        if path.exists() and not ours:
            raise self._not_ours(name)
        replace_file(path, content)

    def _not_ours(self, name: str) -> UsageError:
        return UsageError(
            f"--out {self._out}: {name} there was not written by `predict` and would be overwritten.\n"
            "  Give another folder, or move the file away."
        )

    def _label_names(self, identifier: str) -> list[str]:
        return label_names(identifier, self._classes)

    def _names(self, source: SourceSample) -> Iterator[str]:
        """Yield the names of all files that may be written for one sample, without those of its scan."""
        settings, identifier = self._settings, source.id
        parts = self._label_names(identifier) if self._multilabel else [identifier]
        if not self._parents.takes_masks(source):
            yield from (f"{part}.png" for part in parts)
        if settings.probabilities:
            yield f"{identifier}.npy"
        if settings.overlay:
            yield f"{identifier}_overlay.png"
        if settings.contours:
            yield f"{identifier}.geojson"
        if settings.instances != "none" and not self._parents.takes_objects(source):
            yield from (f"{part}_instances.{ending}" for part in parts for ending in ("png", "tif"))
        if settings.uncertainty:
            yield f"{identifier}_uncertainty.png"

    def _require_own_folder(self, sources: Sequence[SourceSample]) -> None:
        """Make sure that the output folder is neither the images' folder nor a store nor a run."""
        out = self._out.resolve()
        if self._settings.csv is None and (images := self._settings.images.resolve()).is_dir():
            taken = out == images or images in out.parents
        else:
            taken = self._settings.csv is not None and out in {source.image.resolve().parent for source in sources}
        if taken:
            raise UsageError(
                f"--out {self._out}: is in the folder of the images, and masks would overwrite or join them.\n"
                "  Give another folder."
            )
        if any((folder / "zarr.json").exists() for folder in (out, *out.parents)) or (out / MODEL_FILE).exists():
            raise UsageError(f"--out {self._out}: is a store or a run.\n  Give another folder.")

    def _require_ours(self, source: SourceSample, names: Sequence[str]) -> None:
        """Make sure that `predict` wrote all files that are to be replaced for one image.

        A NumPy file cannot hold a mark. It counts as written by `predict` if the first mask of the image does, and if
        it holds probabilities of the size of that mask.
        """
        for name in names:
            path = self._out / name
            if name in self._replaceable or not path.exists():
                continue
            ours = is_our_array(path, self._out / names[0]) if path.suffix == ".npy" else is_our_file(path)
            self._replaceable.add(name)
            if not ours:
                raise UsageError(
                    f"--out {self._out}: the prediction of {source.image} would overwrite {name}, which was not "
                    "written by `predict`.\n  Give another folder."
                )


def label_names(identifier: str, classes: Sequence[str]) -> list[str]:
    """Return the beginnings of the file names of a multi-label run, one for every label."""
    return [f"{identifier}_{NOT_IN_A_NAME.sub('_', label)}" for label in classes[1:]]


def _kind(name: str, source: SourceSample) -> str:
    """Return the name of a file with `<id>` in place of the id of its sample or of its scan."""
    identifier = source.id if name.startswith(source.id) else parent_id(source)
    return f"<id>{name.removeprefix(identifier)}"


def _draw(
    source: SourceSample, classes: Sequence[tuple[str, NDArray[np.int32]]], size: Size, window: IntensityRule
) -> bytes:
    """Return the bytes of the overlay. The image is read again, because a sample holds it at the store's size."""
    image = read_resized(source.image, (size,), source.part, window).images[0]
    return as_png(np.asarray(draw_outlines(image, classes, title=source.id)))


def _row(
    identifier: str,
    name: str,
    region: NDArray[np.bool_],
    probability: NDArray[np.float32],
    *,
    objects: int,
    pixel_mm: PixelSize | None,
) -> Row:
    area = int(np.count_nonzero(region))
    return Row(
        id=identifier,
        class_name=name,
        area_px=area,
        area_mm2=None if pixel_mm is None else area * pixel_area(pixel_mm),
        share=area / region.size,
        objects=objects,
        mean_confidence=float(probability[region].mean(dtype=np.float64)) if area else None,
    )


def _as_npy(prediction: Prediction) -> bytes:
    """Return the bytes of a NumPy file, (class, row, column) float16, made one class at a time."""
    content = io.BytesIO()
    shape = (prediction.classes, *prediction.size)
    header = {"descr": "<f2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, header)
    for index in range(prediction.classes):
        content.write(prediction.probability(index).astype("<f2").tobytes())
    return content.getvalue()
