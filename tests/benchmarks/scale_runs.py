"""Measure verbs that know the splits of a run of millions of samples; rows of `tests.benchmarks.scale`.

The run has untrained weights: only its table of splits is large. Few of its samples are in the test split.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

from store import AttentionStore

TEST_SAMPLES = 2_000
"""About as many samples are in the test split."""


def write_run(store: AttentionStore, folder: Path) -> None:
    """Write a run whose splits are those of `train`, with untrained weights."""
    from stages.segmentation.checkpoint import MODEL_FILE, SPLITS_FILE, ModelCard, described_by, save_model
    from stages.segmentation.network import NetworkConfig, Segmenter
    from stages.segmentation.split_tables import store_splits_sha256, write_splits
    from stages.segmentation.splits import split_by_rule
    from stages.settings import TrainSettings

    settings = TrainSettings(store=Path("unused"), out=folder)
    splits = split_by_rule(store, rule="hash", seed=0, val=0.15, test=TEST_SAMPLES / len(store))
    folder.mkdir()
    write_splits(folder / SPLITS_FILE, store, splits)
    config = NetworkConfig.of(settings, store)
    card = ModelCard(
        network=config,
        **described_by(store),
        attention_norm=settings.attention_norm,
        epoch=1,
        val_dice=0.5,
        splits_sha256=store_splits_sha256(store, splits),
    )
    save_model(folder / MODEL_FILE, Segmenter(config).state_dict(), card)


def peak(work: Callable[[], object]) -> dict[str, float]:
    """Return the processor's seconds of some work, and the MB by which it raises the most memory of this process."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), _processor()
    work()
    return {"cpu s": _processor() - began, "MB at most": (_most() - before.ru_maxrss) / 1e3}


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _most() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
