"""What can go wrong with images, weights and checkpoints, in the tree that `store.errors` starts.

PipelineError
├── UsageError
│   └── UnknownModelError (KeyError)   a model name that is not in the table
├── InputProblemsError                 images, masks or a table: every problem, by file
├── WeightsError                       weights that cannot be had or do not fit
├── UnsupportedModelError              a transformer whose queries and keys we cannot read
└── CheckpointError                    a run that cannot be loaded or does not fit the store
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
    """One thing wrong with one input, told so that it can be mended."""

    where: str
    """The file, the folder, or the table and its line."""
    what: str
    """What is wrong with it and what to do."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class InputProblemsError(PipelineError):
    """Inputs that cannot be used; holds every problem found, not the first alone."""

    def __init__(self, problems: Sequence[Problem], remedy: str = "") -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = f"{count} problem{'s' if count != 1 else ''} with the input:"
        lines = [heading, *(f"  {problem}" for problem in self.problems)]
        if remedy:
            lines.append(remedy)
        super().__init__("\n".join(lines))


class UnknownModelError(UsageError, KeyError):
    """A model name that the table does not have."""

    def __str__(self) -> str:  # KeyError would print the message in quotes
        return str(self.args[0])


class WeightsError(PipelineError):
    """Weights that cannot be found, read safely, or fitted to the model."""


class UnsupportedModelError(PipelineError):
    """A transformer whose attention class is not one whose queries and keys we know how to read."""


class CheckpointError(PipelineError):
    """A run's checkpoint cannot be loaded, or does not fit the store."""
