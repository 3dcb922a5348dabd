"""Give a store as a lazy `xarray.Dataset`: dimensions and samples have names, columns are variables.

| variable | dimensions | |
|---|---|---|
| arrays of samples | as the store names them | dask arrays, read through the store; see `store.lazy_arrays` |
| columns | sample | read when they are used; texts are Python strings |
| coordinate `sample` | sample | ids, so `data.sel(sample="patient-7")` works; they are read at once |
| coordinate `head` | head | names such as `L11H0` |

Columns that have the name of a dimension of other arrays get `parent_` before it: of stores with tiles, `row` is the
place in the larger image and becomes `parent_row`. Checksums are left out: reading compares them.

Attributes follow the CF conventions: `flag_values` and `flag_meanings` of the mask are the classes, `flag_masks` the
bits of labels that may overlap, and `scale_factor` turns attention as stored into probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from store.column_chunks import is_decodable
from store.errors import UsageError
from store.lazy_arrays import dask_arrays, lazily, selected

if TYPE_CHECKING:
    import xarray

    from store.reader import AttentionStore

__all__ = ["xarray_dataset"]

COORDINATES = ("sample", "head")
NOT_SHOWN = ("checksum",)


class ColumnOfSamples:
    """Read a column when its values are used.

    Args:
        store: the store.
        name: of the column.
    """

    def __init__(self, store: AttentionStore, name: str) -> None:
        metadata = store.arrays[name]
        self._store = store
        self._name = name
        self.shape = metadata.shape
        self.dtype = np.dtype(object) if metadata.known_dtype is None else metadata.known_dtype
        self.ndim = len(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return the values that the index selects; texts as Python strings. Only their chunks are read.

        Args:
            key: as in `store.lazy_arrays.ArrayOfSamples`.

        Raises:
            StoreIncompleteError, StoreCorruptError: bytes are missing or damaged.
        """
        first, *others = key if isinstance(key, tuple) else (key,)
        rows = selected(self.shape[0], first)
        extent = self._store.arrays[self._name].chunk_shape[0]
        start, stop = (rows.min() // extent * extent, rows.max() + 1) if rows.size else (0, 0)
        read = self._store.columns.read(self._name, int(start), int(stop))
        return np.asarray(read[(rows - start, *others)], self.dtype)

    def __dask_tokenize__(self) -> tuple[str, str, str]:
        """Return what names the values."""
        return (type(self).__name__, self._store.description.contents_sha256, self._name)


def xarray_dataset(store: AttentionStore, *, probabilities: bool) -> xarray.Dataset:
    """Return a store as a lazy data set; arguments and errors as in `AttentionStore.to_xarray`."""
    try:
        import xarray
    except ImportError:
        raise UsageError(
            f"{store.path}: `to_xarray` needs xarray, which is not installed.\n  Install it: pip install xarray"
        ) from None
    arrays = dask_arrays(store)
    variables: dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]] = {}
    for name, values in arrays.items():
        variables[name] = (store.arrays[name].dimension_names, values, _attributes(store, name))
    if probabilities:
        dimensions, stored, attributes = variables["attention"]
        factor = np.float32(attributes.pop("scale_factor"))
        variables["attention"] = (dimensions, stored.astype(np.float32) * factor, attributes)
    taken = {dimension for dimensions, *_ in variables.values() for dimension in dimensions}
    for name in store.description.columns_sha256:
        if name not in (*COORDINATES, *NOT_SHOWN) and is_decodable(store.arrays[name]):
            shown = f"parent_{name}" if name in taken else name
            column = lazily(ColumnOfSamples(store, name), chunks=store.arrays[name].chunk_shape)
            variables[shown] = (store.arrays[name].dimension_names, column, {})
    return xarray.Dataset(
        variables,
        coords={name: np.asarray(store.column(name), object) for name in COORDINATES},
        attrs={
            "classes": store.classes,
            "recipe_sha256": store.description.recipe_sha256,
            "contents_sha256": store.description.contents_sha256,
        },
    )


def _attributes(store: AttentionStore, name: str) -> dict[str, Any]:
    """Return the attributes of an array of samples."""
    if name == "attention":
        return {"long_name": "attention of the CLS token to each patch", "scale_factor": store.scale_factor}
    if name != "mask":
        return {}
    labels = store.classes[1:] if store.multilabel else store.classes
    flags = {"flag_masks": [1 << bit for bit in range(len(labels))]} if store.multilabel else {}
    return {
        "long_name": "mask; 255 is ignored",
        **(flags or {"flag_values": list(range(len(labels)))}),
        "flag_meanings": " ".join(label.replace(" ", "_") for label in labels),
    }
