"""Answer the viewer's requests: a fixed table of paths, each with a function of the query's values.

| path | query | answer |
|---|---|---|
| `` | | the page |
| `viewer.js`, `viewer.css`, … | | its script and style |
| `api/store` | | what the store holds |
| `api/sample` | `at`: position | one sample with its picture and maps |
| `api/find` | `id`: text | the sample with this id, and at most 20 that begin with the text or contain it |
| `api/unlabelled` | `after`: position | position of the next sample without a mask, or null |

Nothing of a path or a query ever becomes the name of a file. Every answer is small, whatever the size of the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.viewing.catalogue import Catalogue
from stages.viewing.static_files import STATIC_FILES
from store.errors import PipelineError, StoreError

if TYPE_CHECKING:
    from stages.viewing.prediction import RunPredictor

LONGEST_TEXT = 1000
"""Characters of an id that is searched for."""
LONGEST_NUMBER = 15

OK, BAD_REQUEST, NOT_FOUND, FAILED = 200, 400, 404, 500


@dataclass(frozen=True)
class Answer:
    """Hold the answer to a request."""

    status: int
    """HTTP status."""
    kind: str
    """Content type."""
    body: bytes


class RequestError(Exception):
    """Report a request that the page never makes: an unknown path, or a value that is missing or wrong."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class SampleError(Exception):
    """Report a sample that cannot be read, with its position and id."""

    def __init__(self, message: str, sample: dict[str, Any]) -> None:
        super().__init__(message)
        self.sample = sample


class Api:
    """Answer requests about one store.

    Args:
        catalogue: of the store.
        predictor: predicts every sample that is shown; None for no predictions.
    """

    def __init__(self, catalogue: Catalogue, predictor: RunPredictor | None = None) -> None:
        self.catalogue = catalogue
        self._predictor = predictor
        self._routes: dict[str, Callable[[Mapping[str, str]], Any]] = {
            "api/store": lambda _: self._store(),
            "api/sample": self._sample,
            "api/find": self._find,
            "api/unlabelled": lambda query: {"at": catalogue.unlabelled_after(_position(query, "after", least=-1))},
        }

    def answer(self, path: str, query: Mapping[str, str]) -> Answer:
        """Answer one request. An error of the store or of the request is an answer too.

        Args:
            path: behind the token, without a slash at its beginning.
            query: the query's values by name.
        """
        if path in STATIC_FILES:
            file = STATIC_FILES[path]
            return Answer(OK, file.kind, file.content())
        if path not in self._routes:
            return failure(NOT_FOUND, "there is nothing at this address")
        try:
            return _json(OK, self._routes[path](query))
        except RequestError as error:
            return failure(error.status, str(error))
        except SampleError as error:
            return _json(FAILED, {**error.sample, "error": str(error)})
        except PipelineError as error:
            return failure(FAILED, str(error))

    def _store(self) -> dict[str, Any]:
        """Describe the store. The answer has the same size for any number of samples."""
        store = self.catalogue.store
        model = str(store.recipe.get("model", ""))
        runs = [] if self._predictor is None else [self._predictor.name]
        return {
            "name": store.path.resolve().name if isinstance(store.path, Path) else store.path.name,
            "samples": len(store),
            "model": model,
            "runs": runs,
        }

    def _sample(self, query: Mapping[str, str]) -> dict[str, Any]:
        position = _position(query, "at")
        try:
            sample = self.catalogue.sample(position)
        except IndexError as error:
            raise RequestError(NOT_FOUND, str(error)) from None
        except StoreError as error:
            raise SampleError(str(error), {"at": position, "id": self._id_of(position)}) from None
        from stages.viewing.sample_json import sample_json  # imports scipy and scikit-image, a second

        return sample_json(self.catalogue.store, position, sample, self._predictor)

    def _id_of(self, position: int) -> str | None:
        """Return the id of a sample; None if it cannot be read either."""
        try:
            return self.catalogue.id_of(position)
        except StoreError:
            return None

    def _find(self, query: Mapping[str, str]) -> dict[str, Any]:
        text = query.get("id", "")
        if not 0 < len(text) <= LONGEST_TEXT:
            raise RequestError(BAD_REQUEST, f"give 1 to {LONGEST_TEXT} characters of an id")
        found = self.catalogue.find(text)
        return {
            "exact": found.exact,
            "suggestions": [{"at": position, "id": one} for position, one in found.suggestions],
            "more": found.more,
        }


def failure(status: int, message: str) -> Answer:
    """Return an answer that says what went wrong."""
    return _json(status, {"error": message})


def _json(status: int, value: Any) -> Answer:
    body = json.dumps(value, ensure_ascii=True, allow_nan=False).encode("ascii")
    return Answer(status, "application/json", body)


def _position(query: Mapping[str, str], name: str, *, least: int = 0) -> int:
    """Return a whole number of the query.

    Raises:
        RequestError: it is missing, no number, or below `least`.
    """
    text = query.get(name, "")
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= LONGEST_NUMBER) or int(text) < least:
        raise RequestError(BAD_REQUEST, f"`{name}` must be a whole number of at least {least}")
    return int(text)
