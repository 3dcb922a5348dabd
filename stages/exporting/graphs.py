"""Record a network as a graph for batches of any size, with `torch.export`."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import torch
from torch.export import Dim, ExportedProgram

from stages.errors import PipelineError
from stages.exporting.loading import Loaded

__all__ = ["quiet", "record", "refused"]

LOGGERS = ("torch", "torch.export", "torch.onnx", "onnxscript", "onnx_ir")
PRIVATE = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node", "custom")
"""Notes of a node with paths of source files on this machine, which must not leave it."""


def record(loaded: Loaded) -> ExportedProgram:
    """Return the graph of a network. Its first axis is the batch, of any size.

    Raises:
        PipelineError: this version of torch cannot record it.
    """
    example = loaded.example(2)  # a batch of one would be taken for a fixed size
    batch = Dim("batch", min=1)
    with quiet(), torch.no_grad(), refused(loaded):
        program = torch.export.export(
            loaded.network, example, dynamic_shapes=tuple({0: batch} for _ in example), strict=False
        )
    for node in program.graph.nodes:
        for key in PRIVATE:
            node.meta.pop(key, None)
    return program


@contextlib.contextmanager
def refused(loaded: Loaded) -> Iterator[None]:
    """Turn an error of torch's exporters into one with a remedy."""
    try:
        yield
    except Exception as error:  # the exporters raise many kinds of errors for what they cannot do
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise PipelineError(
            f"{loaded.settings.run}: torch {torch.__version__} cannot export this network as {loaded.settings.format} "
            f"({type(error).__name__}: {first}). Nothing was written.\n  Try another version of torch, or another "
            "--format."
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters' warnings and log lines: they are about their own code, and the result is checked."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    try:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
