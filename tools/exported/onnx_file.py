"""A detector written as an ONNX file: traced, checked, given its metadata."""

from __future__ import annotations

import io
import warnings

import onnx
import torch

from models.exported_detector import ExportedDetector
from tools.exported.onnx_facts import FileFacts
from tools.running.command_line import SettingsError
from tools.running.messages import quiet_logging

OLDEST_OPSET, NEWEST_OPSET = 14, 20
INPUT, OUTPUTS, COUNT = "image", ("boxes", "scores", "labels"), "count"


def check_opset(opset: int) -> None:
    """Raises SettingsError for an opset in which the graph cannot be written."""
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        known = f"{OLDEST_OPSET} to {NEWEST_OPSET}"
        what = "too old: the graph needs operators that came later" if opset < OLDEST_OPSET else "not known here"
        raise SettingsError(f"--opset {opset} is {what}; give one from {known} (17 suits all current runtimes)")


def build_file(detector: ExportedDetector, facts: FileFacts, shape: tuple[int, int, int], opset: int = 17) -> bytes:
    """The ONNX file of a detector in evaluation mode, with its metadata. shape: N, H and W of the example, which are
    those of the file where nothing is dynamic.

    Raises onnx.checker.ValidationError or onnx.shape_inference.InferenceError for a graph that is not sound.
    """
    outputs = (*OUTPUTS, COUNT) if facts.nms else OUTPUTS
    free = {0: "batch", 1: "height", 2: "width"}
    axes = {INPUT: free} | {name: {0: "batch"} for name in outputs} if facts.dynamic else {}
    example = torch.zeros(*shape, facts.in_channels, dtype=getattr(torch, facts.input_kind))
    buffer = io.BytesIO()
    with (
        warnings.catch_warnings(action="ignore"),
        quiet_logging(),
        torch.inference_mode(),
    ):  # the exporter advises to take its successor
        # The exporter by tracing: the newer one needs another package, writes opset 18 at least, and unrolls loops.
        torch.onnx.export(
            detector,
            (example,),
            buffer,
            dynamo=False,
            opset_version=opset,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_axes=axes,
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    _name_output_axes(model, facts, shape[0])
    for key, value in facts.to_properties().items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)  # with shape inference, strict and with types
    return model.SerializeToString()


def _name_output_axes(model: onnx.ModelProto, facts: FileFacts, batch: int) -> None:
    """Say the sizes of the outputs that the tracer could not tell; `batch` where it is fixed."""
    for output in model.graph.output:
        known = {"boxes": (facts.num_peaks, 4, 2), "scores": (facts.num_peaks,), "labels": (facts.num_peaks,)}
        for axis, size in zip(output.type.tensor_type.shape.dim[1:], known.get(output.name, ()), strict=True):
            axis.dim_value = size
        if not facts.dynamic:
            output.type.tensor_type.shape.dim[0].dim_value = batch
