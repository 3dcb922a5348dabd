"""Errors of the stages, as one tree. `store.errors` defines its root and the errors of a store.

PipelineError                              any error that this project raises on purpose; its message says what to do
├── UsageError                             the request cannot be carried out: change an option, a path or a setting
│   └── UnknownModelError (also KeyError)  there is no model or architecture of that name
├── InputProblemsError                     images, masks or a table cannot be used; lists every problem by file
├── WeightsError                           weights cannot be found, read safely, or fitted to the model
├── UnsupportedModelError                  the attention of this transformer class cannot be read
├── CheckpointError                        a run cannot be loaded, or does not fit the store
└── StoreError                             see `store.errors`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from store.errors import PipelineError, UsageError

__all__ = [
    "CheckpointError",
    "InputProblemsError",
    "PipelineError",
    "Problem",
    "UnknownModelError",
    "UnsupportedModelError",
    "UsageError",
    "WeightsError",
]


@dataclass(frozen=True)
class Problem:
    """Describe one problem with one input, and its remedy."""

    where: str
    """The file, the folder, or the table with the line."""
    what: str
    """The problem, and what to do about it."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class InputProblemsError(PipelineError):
    """Report inputs that cannot be used: all problems together, not only the first."""

    def __init__(self, problems: Sequence[Problem], remedy: str = "") -> None:
        """Build the message from the problems.

        Args:
            problems: All problems found; at least one.
            remedy: A last line that says what to do about all of them.
        """
        self.problems = tuple(dict.fromkeys(problems))  # all tiles of a damaged file have the same problem
        count = len(self.problems)
        heading = f"{count} problem{'s' if count != 1 else ''} with the input:"
        lines = [heading, *(f"  {problem}" for problem in self.problems)]
        if remedy:
            lines.append(remedy)
        super().__init__("\n".join(lines))


class UnknownModelError(UsageError, KeyError):
    """Report a name that is not that of a model in the table, nor of an architecture that can be used."""

    def __str__(self) -> str:  # KeyError would print the message in quotes
        return str(self.args[0])


class WeightsError(PipelineError):
    """Report weights that cannot be found, read safely, or fitted to the model."""


class UnsupportedModelError(PipelineError):
    """Report a transformer of a class whose queries and keys this project cannot read."""


class CheckpointError(PipelineError):
    """Report a run that cannot be loaded, or that does not fit the store."""
