"""`pipeline verify`: check a store and print the verdict on standard output.

Exit status:

    0  sound: everything that was read matches its checksums
    1  damaged: bytes do not match, even if other parts are missing as well
    2  misuse: a wrong option, or a store that needs another version of this program; a server that cannot be reached;
       or the verdict cannot be written
    3  absent: there is no store at the path, or parts of it are missing and the rest is sound

So a script can fetch the store again on status 3, and restore it from another copy on status 1.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from pipeline import console
from pipeline.streams import OutputError
from store.check import Choose, Progress, Verification, all_samples, check_store
from store.errors import StoreUnreachableError, UsageError
from store.remote.address import Place

EXIT_STATUS = {"sound": 0, "damaged": 1, "unknown": 2, "missing": 3}
"""The exit status for every verdict."""

EXIT_UNWRITTEN = 2
"""The exit status if a store is sound but the verdict cannot be written: 1 would mean damage."""

SEEDS = 2**32
"""A random seed is drawn below this value, so that it is short enough to type."""

SAMPLE = re.compile(r"(?P<count>[0-9]{1,12})|(?P<share>[0-9]{1,3}(\.[0-9]{1,6})?)%")


def run_verification(
    path: Place,
    *,
    sample: str | None,
    seed: int | None,
    as_json: bool,
    progress: Progress,
    workers: int | None = 1,
) -> int:
    """Check a store, print the verdict and return the exit status.

    Args:
        path: of the store, or its address.
        sample: `N` or `P%` of the samples; None for all.
        seed: of the choice of samples; None for a random one, which is printed.
        as_json: print one JSON value.
        progress: wraps the loop over shards.
        workers: number of processes that read the store; None for one per processor if there is much to read.

    Raises:
        UsageError: `sample` is malformed, there is a seed without it, or the address cannot be used or reached.
    """
    if sample is None and seed is not None:
        raise UsageError(f"--seed {seed}: without --sample every sample is read. Give both, or neither.")
    if sample is not None and seed is None:
        seed = int(np.random.default_rng().integers(SEEDS))
    choose = all_samples if sample is None or seed is None else random_samples(sample, seed)
    try:
        found = check_store(path, progress, choose=choose, processes=workers)
    except StoreUnreachableError as error:  # status 1 would mean damage
        raise UsageError(str(error)) from None
    status = EXIT_STATUS[found.verdict]
    try:
        _show(path, found, seed, as_json=as_json)
    except OutputError as error:  # the status is the verdict, whether or not somebody reads more
        if not error.reader_has_ended:
            console.say(f"error: {error}")
            status = status or EXIT_UNWRITTEN
    return status


def random_samples(sample: str, seed: int) -> Choose:
    """Return a function that chooses samples at random, without repeats.

    Args:
        sample: `N` for a number of samples, `P%` for a share of them, rounded up.
        seed: the same seed chooses the same samples.

    Raises:
        UsageError: it is neither, it is zero, or more than 100 %.
    """
    found = SAMPLE.fullmatch(sample.strip())
    count, share = (found["count"], found["share"]) if found else (None, None)
    if not (count and int(count) > 0) and not (share and 0 < float(share) <= 100):  # noqa: PLR2004 - per cent
        raise UsageError(f"--sample {sample}: give a number of samples such as 20, or a share such as 5%.")

    def choose(samples: int) -> NDArray[np.int64]:
        chosen = int(count) if count else math.ceil(float(share or 0) * samples / 100)
        return np.sort(np.random.default_rng(seed).permutation(samples)[:chosen])

    return choose


def _show(path: Place, found: Verification, seed: int | None, *, as_json: bool) -> None:
    if as_json:
        console.show_json(
            {
                "store": str(path),
                "sound": found.verdict == "sound",
                "verdict": found.verdict,
                "faults": [fault.text for fault in found.faults],
                "samples": found.samples,
                "checked": found.checked,
                "seed": seed,
            }
        )
        return
    extent = "every byte"
    if seed is not None:
        extent = f"all metadata and columns, and {found.checked} of {found.samples} samples (seed {seed})"
    lines = [f"fault: {fault.text}" for fault in found.faults] or [f"{path}: sound; checked {extent}"]
    if found.faults and seed is not None and found.samples:
        lines.append(f"{path}: checked {extent}")
    console.show_text("\n".join(lines))
