"""The network inside an exported file: taken out to be changed, put back in. Knows how the exporter names operators."""

from __future__ import annotations

import re

import onnx

NETWORK = "/network/"  # how the exporter's names of the network's operators begin; with views it is in there once more
HEAT_MAP = re.compile(r"/network/(?:network/)?hm/hm\.(\d+)(?:_\d+)?/")  # and then each view has a number, but the first
QUANTIZABLE = ("Conv", "Relu", "Clip", "MaxPool", "Add", "Concat", "Resize")  # what runtimes have in int8
FLOAT = onnx.TensorProto.FLOAT


class NetworkPart:
    """What of a file leads from the picture to the heat map; the other heads come after it, at the peaks alone or, of
    several views, whole.

    model: that part as a model of its own, from the same input. quantizable: the names of its operators that compute
    in float and that runtimes have in int8, without the last convolution (of each view). convolutions: those that are
    convolutions.
    """

    def __init__(self, content: onnx.ModelProto) -> None:
        self._content = onnx.shape_inference.infer_shapes(content)
        graph = self._content.graph
        _name_weights(graph)
        types = {value.name: value for value in graph.value_info}
        layer_of = {node.name: int(found[1]) for node in graph.node if (found := HEAT_MAP.match(node.name))}
        heat_map = [node for node in graph.node if node.name in layer_of]
        needed = _needed(graph, [output for node in heat_map for output in node.output])
        front = [node for node in graph.node if needed & set(node.output)]
        self._rest = [node for node in graph.node if not needed & set(node.output)]
        made = {name for node in front for name in node.output}
        handed_on = made & {name for node in self._rest for name in _reads(node)}
        self.model = onnx.ModelProto()
        self.model.CopyFrom(self._content)
        del self.model.graph.node[:], self.model.graph.output[:], self.model.graph.initializer[:]
        self.model.graph.node.extend(front)
        self.model.graph.initializer.extend(weight for weight in graph.initializer if weight.name in needed)
        self.model.graph.output.extend(types[name] for name in sorted(handed_on))
        chosen = [
            node
            for node in front
            if node.name.startswith(NETWORK)
            and layer_of.get(node.name, -1) < max(layer_of.values())
            and node.op_type in QUANTIZABLE
            and types[node.output[0]].type.tensor_type.elem_type == FLOAT
        ]
        self.quantizable = [node.name for node in chosen]
        self.convolutions = [node.name for node in chosen if node.op_type == "Conv"]

    def put_back(self, changed: onnx.ModelProto) -> onnx.ModelProto:
        """The whole file with the changed part, without its metadata. Raises onnx.checker.ValidationError."""
        whole = onnx.ModelProto()
        whole.CopyFrom(changed)
        graph, original = whole.graph, self._content.graph
        del whole.metadata_props[:], graph.output[:], graph.value_info[:], graph.initializer[:]
        graph.node.extend(self._rest)
        graph.output.extend(original.output)
        used = {name for node in graph.node for name in _reads(node)}
        used -= {name for node in graph.node for name in node.output}  # a weight's place taken by what unpacks it
        weights = {weight.name: weight for part in (original, changed.graph) for weight in part.initializer}
        graph.initializer.extend(weight for name, weight in weights.items() if name in used)
        _share_equal_weights(graph)
        domains = {node.domain for node in graph.node}
        imports = [entry for entry in whole.opset_import if entry.domain in domains]
        del whole.opset_import[:]
        whole.opset_import.extend(imports)
        onnx.checker.check_model(whole, full_check=True)
        return whole


def _share_equal_weights(graph: onnx.GraphProto) -> None:
    """Keep one of weights that are equal: where a network looks several times (`--tta_views`), each look has got some
    of its own from the tools that quantise, and the file its size as many times."""
    first: dict[bytes, str] = {}
    other_name = {}
    for weight in graph.initializer:
        values = onnx.TensorProto()
        values.CopyFrom(weight)
        values.ClearField("name")
        other_name[weight.name] = first.setdefault(values.SerializeToString(deterministic=True), weight.name)
    read_inside: set[str] = set()
    for node in graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):
            read_inside |= _reads(node)
        else:
            node.input[:] = [other_name.get(name, name) for name in node.input]
    needed = read_inside.union(first.values())
    kept = [weight for weight in graph.initializer if weight.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _reads(node: onnx.NodeProto) -> set[str]:
    """What an operator reads, the operators inside it included; what these hand to each other is among it."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names |= _reads(inner)
    return names


def _needed(graph: onnx.GraphProto, wanted: list[str]) -> set[str]:
    """The names of all that the wanted values are computed from, and theirs."""
    makers = {name: node for node in graph.node for name in node.output}
    needed: set[str] = set()
    pending = list(wanted)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += _reads(makers[name]) if name in makers else []
    return needed


def _name_weights(graph: onnx.GraphProto) -> None:
    """Give each user of a weight that the exporter shares out by `Identity` a weight of its own: the tools that
    quantise look for weights, not for operators that hand them on."""
    weights = {weight.name: weight for weight in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Identity" and node.input[0] in weights]:
        own = graph.initializer.add()
        own.CopyFrom(weights[node.input[0]])
        own.name = node.output[0]
        graph.node.remove(node)
