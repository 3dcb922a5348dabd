"""Addresses on the network are refused, and local paths of every form are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.disk.paths import require_local
from store.errors import UsageError


@pytest.mark.parametrize("address", ["s3://bucket/x.zarr", "HTTPS://host/x", "git+ssh://host/x"])
def test_an_address_is_refused_and_shown_as_it_was_given(address: str):
    with pytest.raises(UsageError) as caught:
        require_local(Path(address))
    assert str(caught.value).startswith(f"{address}: is an address on the network")


@pytest.mark.parametrize("path", ["c:/data", "a/s3:/b", "s3:", "store.zarr", "/data/s3:/x"])
def test_a_local_path_is_accepted(path: str):
    require_local(Path(path))


def test_a_folder_that_looks_like_an_address_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "s3:" / "bucket").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    require_local(Path("s3:/bucket"))
