"""Name the data sets of the protocol, with their sizes of splits and their numbers of labels."""

from __future__ import annotations

from dataclasses import dataclass

from stages.errors import UsageError

__all__ = ["DATASETS", "SPLITS", "DataSet", "dataset_of"]

SPLITS = (0, 1, 2)
"""Numbers of the splits."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Hold what the protocol fixes for one data set."""

    name: str
    held_out: int
    """Per mille of the images that no transformer is pretrained on; only they can be test images."""
    test: int
    """Number of test images of every split."""
    labels: tuple[str, ...]
    """Numbers of labelled images; `all` is the whole training split."""
    everything: int
    """Number of training images, which `all` stands for; 0 if `all` is not used."""
    search_labels: int
    """Number of labelled images in the search for settings."""
    image: str
    """What an image shows, for the headings of tables."""
    stores: str = ""
    """Name of the data set whose stores it uses; its own if empty."""
    sources: tuple[tuple[int, int], ...] = ()
    """First and last number of the images of every source that is only tested; each gives the same number of test
    images. Without sources, test images are drawn from the held-out images."""
    splits: tuple[int, ...] = SPLITS
    """Numbers of its splits."""


DATASETS = {
    one.name: one
    for one in (
        DataSet(
            name="isic", held_out=300, test=372, labels=("13", "65", "327", "all"), everything=1384, search_labels=65,
            image="dermoscopy (ISIC 2018)",
        ),
        DataSet(
            name="nuclei", held_out=350, test=80, labels=("16", "64", "all"), everything=194, search_labels=64,
            image="microscopy (nuclei)",
        ),
        DataSet(
            name="isic-sources", held_out=300, test=900, labels=("65",), everything=0, search_labels=65,
            image="dermoscopy (ISIC 2018), tested on other sources", stores="isic",
            sources=((0, 999), (9500, 11499), (14500, 15899)), splits=(0,),
        ),
    )
}  # fmt: skip


def dataset_of(name: str) -> DataSet:
    """Return a data set by its name.

    Raises:
        UsageError: there is no such data set.
    """
    if name not in DATASETS:
        raise UsageError(f"the protocol has no data set {name!r}. Use one of {', '.join(DATASETS)}.")
    return DATASETS[name]
