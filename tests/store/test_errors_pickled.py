"""Every error of this project arrives from another process as it was raised there."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
from collections.abc import Iterator

import pytest

import store
from store.errors import PipelineError, StoreCorruptError, StoreNotFoundError


class OtherConstructorError(PipelineError):
    """Take something else than the message, as some errors do."""

    def __init__(self, count: int, *, unit: str) -> None:
        super().__init__(f"{count} {unit} are too many")
        self.count = count


def kinds(root: type[PipelineError]) -> Iterator[type[PipelineError]]:
    """Yield an error and all its subclasses that are imported."""
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


for _module in pkgutil.walk_packages(store.__path__, "store."):
    importlib.import_module(_module.name)


@pytest.mark.parametrize("kind", [kind for kind in kinds(PipelineError) if kind.__module__.startswith("store")])
def test_errors_of_the_store_keep_type_and_message(kind: type[PipelineError]):
    error = pickle.loads(pickle.dumps(kind("s.zarr: it is damaged.\n  Fetch it again.")))  # noqa: S301 - made here
    assert type(error) is kind
    assert str(error) == "s.zarr: it is damaged.\n  Fetch it again."


def test_the_list_of_errors_is_not_empty():
    assert {StoreCorruptError, StoreNotFoundError} <= set(kinds(PipelineError))


def test_an_error_with_another_constructor_keeps_message_and_attributes():
    error = OtherConstructorError(3, unit="heads")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - made here
        assert (type(again), str(again), again.count) == (OtherConstructorError, "3 heads are too many", 3)
