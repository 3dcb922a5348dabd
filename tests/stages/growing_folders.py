"""Folders of images and masks that grow, and a store of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages import extract
from stages.extraction import known_files
from stages.settings import ExtractSettings


class Folders:
    """Hold a folder of images, one of masks, and a store beside them."""

    def __init__(self, root: Path) -> None:
        self.images, self.masks, self.store = root / "images", root / "masks", root / "s.zarr"
        self._changes: dict[str, Any] = {"append": True}
        self._root = root
        for folder in (self.images, self.masks):
            folder.mkdir()

    def settings(self) -> ExtractSettings:
        """Return the settings of an extraction with `append`."""
        return ExtractSettings(
            **{
                "images": self.images,
                "masks": self.masks,
                "store": self.store,
                "memo": self._root / "memo",
                "model": "dino_phantom_tiny8",
                "image_size": (16, 16),
                "attention_size": (16, 16),
                "layers": (-2, -1),
                "device": "cpu",
                **self._changes,
            }
        )

    def change(self, **changes: Any) -> None:
        """Change settings."""
        self._changes |= changes

    def add(self, *names: str) -> None:
        """Add images with masks."""
        for name in names:
            self.draw(name, seed=ord(name))
            self.draw_mask(name, seed=ord(name))

    def draw(self, name: str, *, seed: int) -> None:
        """Write an image."""
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(self.images / f"{name}.png")

    def add_deep(self, *names: str) -> None:
        """Add grey images of 16 bits with masks. One pixel of each is much brighter than all others."""
        for name in names:
            pixels = np.random.default_rng(ord(name)).integers(0, 3000, (20, 24), np.uint16)
            pixels[0, 0] = 60000
            Image.fromarray(pixels).save(self.images / f"{name}.png")
            self.draw_mask(name, seed=ord(name))

    def draw_mask(self, name: str, *, seed: int) -> None:
        """Write a mask."""
        mask = np.zeros((20, 24), np.uint8)
        mask[seed % 5 : seed % 5 + 9, 3 : 8 + seed % 7] = 255
        Image.fromarray(mask).save(self.masks / f"{name}.png")

    def remove(self, name: str) -> None:
        """Remove an image and its mask."""
        for folder in (self.images, self.masks):
            (folder / f"{name}.png").unlink()

    def extract_without_record(self) -> None:
        """Replace the store by one that `append` did not write."""
        shutil.rmtree(self.store)
        self.change(append=False)
        extract.run(self.settings())
        self.change(append=True)

    def files(self) -> dict[str, tuple[int, int]]:
        """Return the inode and the time of change of every file of the store."""
        found = ((str(file.relative_to(self.store)), file.stat()) for file in self.store.rglob("*") if file.is_file())
        return {name: (status.st_ino, status.st_mtime_ns) for name, status in found}


def let_new_files_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the record of known files hold files that were written just now, on any file system."""
    monkeypatch.setattr(known_files, "MARGIN", -(10**15))
    monkeypatch.setattr(known_files, "file_system_of", lambda _: "ext4")
