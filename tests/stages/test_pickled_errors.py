"""Every error of the stages arrives from a worker process as it was raised there."""

from __future__ import annotations

import errno
import pickle

import pytest

from pipeline.streams import OutputError
from stages import errors
from stages.errors import InputProblemsError, PipelineError, Problem, UnknownModelError
from stages.runtime.collectives import ProcessLostError

PROBLEMS = [Problem("a.png", "cannot be decoded"), Problem("b.png", "has no mask")]
MADE: list[PipelineError] = [
    InputProblemsError(PROBLEMS, "Correct the files."),
    UnknownModelError("there is no model `x`"),
    OutputError(OSError(errno.EPIPE, "Broken pipe")),
    ProcessLostError(),
    *(
        getattr(errors, name)("run: is damaged.\n  Train again.")
        for name in errors.__all__
        if name not in ("InputProblemsError", "Problem")
    ),
]


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_an_error_keeps_type_message_and_attributes(error: PipelineError):
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - made in this line
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_every_error_of_the_stages_is_tried():
    kinds, found = [PipelineError], set()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        found.add(kind)
    ours = {kind for kind in found if kind.__module__.startswith("stages.")}
    assert ours <= {type(error) for error in MADE}
