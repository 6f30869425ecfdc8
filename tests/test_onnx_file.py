"""An exported file is made of standard operators that TensorRT knows, in the opset asked for, for every backbone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from models import known_backbones
from tests.conftest import save_finding_network
from tools.exported.onnx_export import ExportSettings, export_checkpoint
from tools.exported.onnx_file import NEWEST_OPSET, OLDEST_OPSET, check_opset
from tools.running.command_line import SettingsError

# The operators that TensorRT 10 takes: those marked Y in docs/operators.md of github.com/onnx/onnx-tensorrt, which is
# published with each release; written down here from that table, which no test can fetch. Constants and the outputs of
# `Shape` are int64, which TensorRT has from version 10 on; uint8 it has at inputs that go straight into `Cast`.
TENSORRT_OPERATORS = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast CastLike Ceil Celu
    Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout
    Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid
    HardSwish Hardmax Identity If ImageScaler InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu
    Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min
    Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad ParametricSoftplus Pow QuantizeLinear RNN
    RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    ReverseSequence RoiAlign Round STFT ScaledTanh Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin
    Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK
    Transpose Trilu Unsqueeze Upsample Where Xor
    """.split()
)


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those within loops as well."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes_of(attribute.g)


def check_operators(path: Path) -> set[str]:
    """Hold the file's operators to the two lists; returns them."""
    model = onnx.load(path)
    assert [entry.domain for entry in model.opset_import] == [""]
    assert not model.functions
    assert not {node.op_type for node in nodes_of(model.graph) if node.domain}
    found = {node.op_type for node in nodes_of(model.graph)}
    assert found <= TENSORRT_OPERATORS
    return found


@pytest.mark.parametrize("settings", [{"nms": True}, {"letterbox": False}])
def test_all_operators_are_of_the_standard_domain_and_on_tensorrts_list(exported, settings) -> None:
    """Defect 26."""
    found = check_operators(exported(**settings))
    assert {"Conv", "Resize", "TopK", "MaxPool"} <= found
    assert ("Loop" in found) == ("nms" in settings)
    assert "NonMaxSuppression" not in found


def test_uint8_goes_straight_into_cast_and_topk_has_a_constant_k(exported) -> None:
    model = onnx.load(exported(nms=True))
    assert {node.op_type for node in model.graph.node if "image" in node.input} == {"Cast"}
    constants = {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    constants |= {entry.name for entry in model.graph.initializer}
    topk = [node for node in model.graph.node if node.op_type == "TopK"]
    assert len(topk) == 2
    assert all(node.input[1] in constants for node in topk)


def test_inputs_and_outputs_are_named_and_sized(exported) -> None:
    graph = onnx.load(exported(nms=True)).graph
    sizes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert sizes == {
        "image": ["batch", "height", "width", 3], "boxes": ["batch", 500, 4, 2], "scores": ["batch", 500],
        "labels": ["batch", 500], "count": ["batch"],
    }  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("opset", [14, 20])
def test_the_oldest_and_the_newest_opset_work(exported, opset: int) -> None:
    path = exported(nms=True, opset=opset)
    assert onnx.load(path).opset_import[0].version == opset
    check_operators(path)


@pytest.mark.parametrize(("opset", "what"), [(9, "too old"), (OLDEST_OPSET - 1, "too old"), (99, "not known here")])
def test_another_opset_is_refused_by_a_sentence(opset: int, what: str) -> None:
    with pytest.raises(SettingsError, match=rf"--opset {opset} is {what}.*{OLDEST_OPSET} to {NEWEST_OPSET}"):
        check_opset(opset)


@pytest.mark.slow
def test_mobilenet_exports(tmp_path) -> None:
    """Defect 25: the fork's exporter crashed on its own MobileNet."""
    _export(tmp_path, "mobilenetv2")


@pytest.mark.long
@pytest.mark.parametrize("backbone", [name for name in known_backbones() if name not in ("resnet18", "mobilenetv2")])
def test_every_backbone_of_the_registry_exports(tmp_path, backbone: str) -> None:
    _export(tmp_path, backbone)


def _export(folder: Path, backbone: str) -> None:
    save_finding_network(folder / "best.pth", backbone)
    export_checkpoint(folder / "best.pth", folder / "model.onnx", ExportSettings(nms=True))
    check_operators(folder / "model.onnx")
