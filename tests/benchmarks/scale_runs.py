"""Measure verbs that know the splits of a run of millions of samples; rows of `tests.benchmarks.scale`.

The run has untrained weights: only its table of splits is large. Few of its samples are in the test split.
"""

from __future__ import annotations

import time
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


def evaluation_start(path: Path, run: Path) -> dict[str, float]:
    """Read the splits of a run, choose the test samples, and check for leakage, as `evaluate` does before it scores."""
    import stages.evaluate  # noqa: F401 - its imports are not measured
    from stages.reporting.evaluation_inputs import Request, load_inputs

    return peak(lambda: load_inputs(Request(run=run, store=path)))


def inspecting(path: Path, run: Path | None = None) -> dict[str, float]:
    """Describe the store; with a run also how many of its samples are in each split."""
    import stages.segmentation.group_sizes
    import stages.segmentation.run_splits  # noqa: F401 - imports are not measured
    from pipeline.inspection import describe_store

    return peak(lambda: describe_store(path, stats=False, run=run))


def peak(work: Callable[[], object]) -> dict[str, float]:
    """Return the processor's seconds of some work, and the MB by which it raises the most memory of this process."""
    before, began = _most(), time.process_time()
    work()
    return {"cpu s": time.process_time() - began, "MB at most": (_most() - before) / 1e3}


def _most() -> int:
    """Return the most memory that this process had so far, in kB; not that of the process that started it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
