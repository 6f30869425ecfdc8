"""The network is taken out of an exported file and put back: the file does what it did."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from datasets.demo import draw_scene
from tools.exported.onnx_network import NetworkPart


@pytest.mark.slow
@pytest.mark.parametrize("nms", [False, True])
def test_taken_out_and_put_back_the_file_gives_the_same_to_the_last_bit(nms, exported) -> None:
    whole = onnx.load(exported(nms=nms))
    part = NetworkPart(whole)
    picture = draw_scene(np.random.default_rng(4))[0][None, :180]
    again = part.put_back(part.model)
    for expected, found in zip(*(_run(model, picture) for model in (whole, again)), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not again.metadata_props


@pytest.mark.slow
def test_the_part_ends_at_the_heat_map_and_leaves_its_last_convolution_alone(exported) -> None:
    part = NetworkPart(onnx.load(exported(nms=True)))
    kinds = {node.name: node.op_type for node in part.model.graph.node}
    assert "TopK" not in kinds.values()
    assert "Loop" not in kinds.values()
    assert len(part.convolutions) == 27
    assert sum(kind == "Conv" for kind in kinds.values()) == 28
    assert {kinds[name] for name in part.quantizable} == {"Conv", "Relu", "MaxPool", "Add", "Concat", "Resize"}
    onnx.checker.check_model(part.model, full_check=True)


def test_shared_weights_become_weights_of_their_own(exported) -> None:
    part = NetworkPart(onnx.load(exported(nms=True)))
    weights = {weight.name for weight in part.model.graph.initializer}
    convolutions = [node for node in part.model.graph.node if node.op_type == "Conv"]
    assert all(set(node.input[1:]) <= weights for node in convolutions)
    assert weights <= {name for node in part.model.graph.node for name in node.input}  # and none that nobody reads


def _run(model: onnx.ModelProto, picture: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": picture})
