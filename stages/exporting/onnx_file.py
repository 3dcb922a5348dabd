"""Write a network as an ONNX file.

The file has operator set 18 (December 2022), which onnxruntime 1.14 and newer reads. Inputs and outputs have names, and
the first axis of each is the batch, of any size. The description is JSON in the model's metadata, under the key
`diamant_pipeline`; the classes are also there by themselves, separated by line feeds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Never

from numpy.typing import NDArray

from stages.errors import PipelineError, UsageError
from stages.exporting.checking import check
from stages.exporting.description import WARNING, describe
from stages.exporting.formats import Exported
from stages.exporting.graphs import quiet, record, refused
from stages.exporting.loading import Loaded, load
from stages.exporting.marks import DESCRIPTION, PRODUCER
from stages.exporting.reports import exported
from stages.runtime.installation import version_of_program
from stages.runtime.progress import Progress
from stages.settings import ExportSettings
from store.disk.publish import replace_file

__all__ = ["OPSET", "write"]

OPSET = 18
LARGEST = 2**31 - 1
"""Bytes of the largest file: a message of protocol buffers."""


def write(settings: ExportSettings, out: Path, progress: Progress) -> Exported:
    """Write the file, after its check with onnxruntime.

    Raises:
        UsageError: onnx, onnxscript or onnxruntime is not installed.
        CheckpointError, WeightsError: the run or the transformer cannot be loaded.
        PipelineError: the file does not compute what PyTorch computes, or is too large.
    """
    _require_packages()
    loaded = load(settings)
    progress.say("recording the network")
    content = _to_onnx(loaded)
    result = check(loaded, _runner(content, loaded), progress)
    replace_file(out, content)
    return exported(loaded, out, len(content), result, {"opset": OPSET})


def _to_onnx(loaded: Loaded) -> bytes:
    """Return the bytes of the file.

    Raises:
        PipelineError: torch cannot export the network, or it is too large for one file.
    """
    import torch

    program = record(loaded)
    with quiet(), torch.no_grad(), refused(loaded):
        converted = torch.onnx.export(
            program,
            (),
            input_names=loaded.inputs,
            output_names=loaded.outputs,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        model: Any = converted.model_proto if converted is not None else None
    _remove_private(model)
    _name_batch(model)
    model.producer_name = PRODUCER
    model.producer_version = version_of_program()
    model.doc_string = WARNING
    described = {Path(DESCRIPTION).stem: json.dumps(describe(loaded)), "classes": "\n".join(loaded.card.classes)}
    for key, value in described.items():
        model.metadata_props.add(key=key, value=value)
    size = model.ByteSize()
    if size > LARGEST:
        raise PipelineError(
            f"{loaded.settings.run}: the network has {size / 2**30:.1f} GiB, and an ONNX file has at most 2.\n"
            "  Use --format torch, or --part segmenter."
        )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _remove_private(model: Any) -> None:
    """Remove notes of torch's exporter, among them paths of source files on this machine."""
    del model.metadata_props[:]
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        graph.doc_string = ""
        del graph.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        for value in graph.value_info:
            value.doc_string = ""
            del value.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        value.doc_string = ""
        del value.metadata_props[:]


def _name_batch(model: Any) -> None:
    """Call the first axis of every input and output `batch`."""
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def _runner(content: bytes, loaded: Loaded) -> Any:
    """Return a function that runs the file with onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with refused(loaded):
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(inputs: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        outputs: Sequence[NDArray[Any]] = session.run(loaded.outputs, dict(zip(loaded.inputs, inputs, strict=True)))
        return outputs

    return run


def _require_packages() -> None:
    """Make sure that the packages of the extra are there.

    Raises:
        UsageError: one is not; the message says how to install it.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter imports it later
    except ImportError as error:
        _require_extra(str(error.name))
    del onnx, onnxruntime


def _require_extra(package: str) -> Never:
    raise UsageError(
        f"--format onnx needs the package {package.partition('.')[0]}, which is not installed.\n"
        "  Install it: pip install 'diamant-pipeline[export]'"
    )
