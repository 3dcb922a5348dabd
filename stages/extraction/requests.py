"""Check what an extraction is asked for before anything is read: places, devices, options that exclude each other."""

from __future__ import annotations

from pathlib import Path

from stages.errors import UsageError
from stages.extraction.cluster import require_cluster
from stages.outputs.places import require_outside, require_own_folder
from stages.runtime.devices import resolve_devices
from stages.settings import ExtractSettings
from store.root import STORE

__all__ = ["require_devices", "require_place", "require_workers"]


def require_workers(settings: ExtractSettings) -> None:
    """Make sure that the devices or the cluster that the settings name can be used.

    Raises:
        UsageError: there is no such device or no such cluster, or several settings say where to compute.
    """
    require_devices(settings.devices, settings.device, settings.cluster)
    if settings.cluster is not None:
        require_cluster(settings.cluster, insecure=settings.cluster_insecure)


def require_devices(devices: str | None, device: str, cluster: str | None = None) -> None:
    """Make sure that `--devices` can be used, if it is given.

    Args:
        devices: the names.
        device: the setting `device`; "auto" if it is not given.
        cluster: the setting `cluster`.

    Raises:
        UsageError: there is no such device, or several settings say where to compute.
    """
    if devices is None:
        return
    for option, given in (("--device", device != "auto"), ("--cluster", cluster is not None)):
        if given:
            raise UsageError(f"--devices {devices}: cannot be combined with {option}. Give one of them.")
    resolve_devices(devices)


def require_place(settings: ExtractSettings) -> None:
    """Make sure that store and memo can be written where they are wanted.

    Raises:
        UsageError: something else would be replaced or lost, a part would be added to a store, or an option of
            `append` is given alone.
    """
    if settings.rehash and not settings.append:
        raise UsageError("--rehash: all files are read without --append. Give both, or neither.")
    if settings.append and settings.shard is not None:
        raise UsageError(f"--shard {settings.shard}: a part cannot be added to a store. Leave out --append or --shard.")
    model = Path(settings.model)
    inputs = {
        "--images": settings.images if settings.csv is None else None,
        "--masks": settings.masks,
        "--csv": settings.csv,
        "--weights": settings.weights,
        "--model": model if model.is_file() else None,
        "--classes": settings.classes if isinstance(settings.classes, Path) else None,
    }
    require_own_folder(settings.store, STORE, option="--store", others={**inputs, "--memo": settings.memo})
    require_outside(settings.memo, option="--memo", itself=True)
