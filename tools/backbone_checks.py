"""The contract of a backbone as checks that a person can read: for `tools.check_backbone` and for the tests."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping

import onnx
import torch
from torch import Tensor

from models import CTRBOX, Backbone, BackboneError, check_maps

CLOSE = 1e-3  # of the largest value; what another runtime's order of additions may change
_TRAINED_HW = (64, 64)
_RUN_HW = (96, 160)


def check_sizes(backbone: Backbone, name: str, hw: tuple[int, int]) -> str:
    """The maps of one image of hw pixels have the channels and strides that are declared. Raises BackboneError."""
    check_maps(backbone, name, hw)
    return ""


def check_gradients(backbone: Backbone, name: str) -> str:
    """Every parameter gets a finite gradient from the four maps, in training. Raises BackboneError."""
    backbone.train()
    backbone.zero_grad()
    maps = backbone(_images(2, *_TRAINED_HW))
    torch.stack([found.float().square().mean() for found in maps]).sum().backward()
    named = dict(backbone.named_parameters())
    unreached = [key for key, value in named.items() if value.requires_grad and value.grad is None]
    if unreached:
        raise BackboneError(
            f"{len(unreached)} of {len(named)} parameters have no part in the four maps, such as {unreached[0]}; leave "
            "them out of the network"
        )
    bad = [key for key, value in named.items() if value.grad is not None and not value.grad.isfinite().all()]
    backbone.zero_grad()
    if bad:
        raise BackboneError(f"the gradient of {bad[0]} is not finite")
    return f"{len(named)} parameters"


def check_repeats(backbone: Backbone, name: str) -> str:
    """In evaluation the same image gives the same maps, alone and beside another one. Raises BackboneError."""
    backbone.eval()
    images = _images(2, *_RUN_HW)
    with torch.no_grad():
        first, second, alone = backbone(images), backbone(images), backbone(images[:1])
    for number, (one, other, single) in enumerate(zip(first, second, alone, strict=True)):
        if not torch.equal(one, other):
            raise BackboneError(
                f"C{number + 1} differs from run to run in evaluation; is there dropout without .eval()?"
            )
        if not _is_close(one[:1], single):
            raise BackboneError(f"C{number + 1} of an image depends on the other images of its batch")
    return ""


def check_stages(backbone: Backbone, name: str) -> str:
    """Five stages hold every parameter once, so that --freeze N means something. Raises BackboneError."""
    stages = backbone.stage_modules()
    if len(stages) != 5:
        raise BackboneError(
            f"stage_modules() lists {len(stages)} parts; it lists 5, the stem and what leads to the maps"
        )
    held = [id(value) for stage in stages for value in stage.parameters()]
    named = {id(value): key for key, value in backbone.named_parameters()}
    missing = [key for value, key in named.items() if value not in held]
    twice = [key for value, key in named.items() if held.count(value) > 1]
    if missing or twice:
        what = f"{missing[0]} is in no stage" if missing else f"{twice[0]} is in two stages"
        raise BackboneError(f"{what}, so that --freeze would miss it or take it twice")
    return ", ".join(f"{sum(value.numel() for value in stage.parameters()) / 1e6:.2f}" for stage in stages) + " M"


def check_onnx(backbone: Backbone, name: str) -> str:
    """The whole detector on it is written as ONNX, and onnxruntime, where installed, computes the same maps.

    Raises BackboneError.
    """
    network, images = CTRBOX(2, backbone).eval(), _images(1, *_RUN_HW)
    with torch.no_grad():
        expected = network(images)
    content = export_maps(network, images)
    onnx.checker.check_model(onnx.load_from_string(content))
    try:
        import onnxruntime
    except ImportError:
        return f"{len(content) / 1e6:.1f} MB; not run: pip install onnxruntime"
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": images.numpy()})
    for part, one, other in zip(expected._fields, expected, found, strict=True):
        if not _is_close(one, torch.from_numpy(other)):
            raise BackboneError(f"onnxruntime computes another {part} than torch")
    return f"{len(content) / 1e6:.1f} MB, onnxruntime agrees"


def check_compile(backbone: Backbone, name: str) -> str:
    """torch.compile compiles it without a break, and it computes the same maps. Raises BackboneError."""
    backbone.eval()
    images = _images(1, *_TRAINED_HW)
    with torch.no_grad():
        expected = backbone(images)
        found = torch.compile(backbone, fullgraph=True)(images)
    torch.compiler.reset()
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        if not _is_close(one, other):
            raise BackboneError(f"the compiled network computes another C{number + 1}")
    return ""


def export_maps(network: CTRBOX, images: Tensor) -> bytes:
    """The network's maps of images of this size as an ONNX file's content: input `images`, outputs named as `Maps`."""
    file, names = io.BytesIO(), ["hm", "wh", "reg", "cls_theta"]
    with warnings.catch_warnings(action="ignore"), torch.no_grad():  # of tracing and of the exporter's age
        torch.onnx.export(
            network.eval(), (images,), file, input_names=["images"], output_names=names, opset_version=17, dynamo=False
        )
    return file.getvalue()


Check = Callable[[Backbone, str], str]
# What each line of tools.check_backbone says, and the check that it is the outcome of.
CHECKS: Mapping[str, Check] = {
    "channels and strides at 96 x 160": lambda backbone, name: check_sizes(backbone, name, (96, 160)),
    "channels and strides at 608 x 608": lambda backbone, name: check_sizes(backbone, name, (608, 608)),
    "gradients reach every parameter": check_gradients,
    "evaluation repeats itself": check_repeats,
    "five stages for --freeze": check_stages,
    "ONNX export of the detector": check_onnx,
    "torch.compile": check_compile,
}


def _images(batch: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def _is_close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= CLOSE * one.abs().max().clamp(min=1e-6))
