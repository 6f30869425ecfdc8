"""CTRBOX, the whole network: a base network, a neck and four heads on the stride-4 map.

Yi et al., "Oriented Object Detection in Aerial Images with Box Boundary-Aware Vectors", WACV 2021, section 3.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor, nn

from DOTA_devkit.boxes import DOWN_RATIO
from models.backbones import Backbone, build_backbone
from models.cell_norm import CellNorm
from models.combination import CombinationModule, channel_table
from models.fpn import FPN
from models.freezing import Freezable, batch_norms
from models.positives import Cells
from models.sparse_heads import heads_at, hidden_cells

NECKS = ("combination", "fpn")
# Of `hm`, which is always computed on the whole map, and of the others, which training computes in chosen cells. In use
# a batch norm becomes part of its convolution.
HEAD_NORMS: dict[str, tuple[type[nn.Module] | None, type[nn.Module] | None]] = {
    "none": (None, None),
    "batch": (nn.BatchNorm2d, nn.BatchNorm2d),
    "layer": (nn.BatchNorm2d, CellNorm),
}
_CENTRE_BIAS = -2.19  # sigmoid(-2.19) = 0.1, the prior of CornerNet and CenterNet for "there is a centre here"


class Maps(NamedTuple):
    """What the network says, a cell per 4x4 input pixels; lengths in cells."""

    hm: Tensor  # (B, C, h, w) logits: an object's centre lies in this cell
    wh: Tensor  # (B, 10, h, w) the vectors t, r, b, l (x, y each), then the horizontal box's width and height
    reg: Tensor  # (B, 2, h, w) centre minus the cell's integer position, x and y
    cls_theta: Tensor  # (B, 1, h, w) logit: the box is rotated

    def at(self, cells: Cells) -> MapsAtCells:
        """Read all but `hm` in P cells."""
        image, y, x = cells
        return MapsAtCells(self.hm, *(values[image, :, y, x] for values in self[1:]))


class MapsAtCells(NamedTuple):
    """What the loss reads of the network's maps: `hm` whole, the others in P cells."""

    hm: Tensor  # (B, C, h, w)
    wh: Tensor  # (P, 10)
    reg: Tensor  # (P, 2)
    cls_theta: Tensor  # (P, 1)


class CTRBOX(Freezable):
    """The detector, from images to raw maps.

    Args:
        num_classes: number of object classes C, at least 1.
        backbone: a registered name (built with random weights) or a `Backbone`.
        head_norm: what follows the first convolution of each head: nothing, as published, a batch norm, as its authors
            advise, or in all but `hm` a layer norm (`CellNorm`), by which boxes come out tighter.
        neck: what merges the backbone's maps into one: the combination modules as published, whose channels are the
            backbone's own, or `fpn`, which is lighter.
        neck_width: channels of the fpn; the combination modules have no width of their own.
        head_width: channels between the two convolutions of each head; 256 is published.

    Raises:
        ValueError: no class, an unknown neck or norm, or a width below 1.
    """

    down_ratio = DOWN_RATIO  # input pixels per cell; the targets, the decoder and every backbone's C1 agree on it
    size_multiple = 32  # height and width of the input are multiples of this

    def __init__(
        self,
        num_classes: int,
        backbone: str | Backbone,
        head_norm: str = "none",
        neck: str = "combination",
        neck_width: int = 64,
        head_width: int = 256,
    ) -> None:
        super().__init__()
        for name, number in (("num_classes", num_classes), ("head_width", head_width)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, not {number}")
        for what, name, known in (("neck", neck, NECKS), ("norm of the heads", head_norm, HEAD_NORMS)):
            if name not in known:
                raise ValueError(f"unknown {what} '{name}'; known: {', '.join(known)}")
        self.base_network = build_backbone(backbone) if isinstance(backbone, str) else backbone
        out_channels = self.base_network.out_channels
        self.neck = FPN(out_channels, neck_width) if neck == "fpn" else None
        if self.neck is None:  # not in a module of its own: the published weights have the three on the first level
            for name, (c_low, c_up) in channel_table(out_channels).items():
                self.add_module(name, CombinationModule(c_low, c_up))
        shape = (neck_width if neck == "fpn" else out_channels[0], head_width)
        norm_of_hm, norm = HEAD_NORMS[head_norm]
        self.hm = _head(*shape, num_classes, 1, norm_of_hm, bias=_CENTRE_BIAS)
        self.wh = _head(*shape, 10, 3, norm)
        self.reg = _head(*shape, 2, 1, norm)
        self.cls_theta = _head(*shape, 1, 1, norm)

    def forward(self, images: Tensor, cells: Cells | None = None) -> Maps | MapsAtCells:
        """Map normalised images (B, 3 or as many channels, H, W) to the four maps at h = H/4, w = W/4.

        With `cells` all heads but `hm` are computed in these alone, which is what training needs.

        Raises:
            ValueError: H or W is not a multiple of 32.
        """
        _check_size(*images.shape[-2:])
        if cells is None:
            x = self.features(images)
            return Maps(hm=self.hm(x), wh=self.wh(x), reg=self.reg(x), cls_theta=self.cls_theta(x))
        sparse = {"wh": self.wh, "reg": self.reg, "cls_theta": self.cls_theta}
        # Before the backbone: their number is read here, and a GPU would be waited for until it has done all of that.
        hidden = hidden_cells(sparse, (len(images), *(side // self.down_ratio for side in images.shape[2:])), cells)
        x = self.features(images)
        return MapsAtCells(self.hm(x), **heads_at(sparse, x, cells, hidden))

    def features(self, images: Tensor) -> Tensor:
        """Map images (B, 3 or as many channels, H, W) to what the heads read, (B, c1 or neck_width, H/4, W/4)."""
        c1, c2, c3, c4 = self.base_network(images)
        if self.neck is not None:
            return self.neck((c1, c2, c3, c4))
        x = self.dec_c4(c4, c3)
        x = self.dec_c3(x, c2)
        return self.dec_c2(x, c1)

    def freeze(self, num_stages: int = 0, norms: Literal["none", "backbone", "all"] = "none") -> None:
        """Leave the first stages of the backbone as they are in training (1: the stem, 5: all), and batch norms.

        Raises:
            ValueError: more stages than there are.
        """
        if not 0 <= num_stages <= 5:
            raise ValueError(f"cannot freeze {num_stages} stages; a backbone has 5, the stem and four more")
        if num_stages:
            self.freeze_parts(self.base_network.stage_modules()[:num_stages])
        if norms != "none":
            self.freeze_parts(batch_norms(self if norms == "all" else self.base_network))


def _head(
    c_in: int, width: int, c_out: int, kernel: int, norm: type[nn.Module] | None, bias: float = 0.0
) -> nn.Sequential:
    """Build 3x3 conv, [norm,] ReLU, last conv, and initialise it.

    The first convolution is initialised for its ReLU (He et al., ICCV 2015). The last one starts small (0.01, as in
    RetinaNet), so that at first the maps are their biases: a tenth for a centre, zero for everything else.
    """
    first = nn.Conv2d(c_in, width, 3, padding=1)
    last = nn.Conv2d(width, c_out, kernel, padding=kernel // 2)
    nn.init.kaiming_normal_(first.weight, nonlinearity="relu")
    nn.init.zeros_(first.bias)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.constant_(last.bias, bias)
    return nn.Sequential(first, *([norm(width)] if norm else []), nn.ReLU(inplace=True), last)


def _check_size(height: int, width: int) -> None:
    multiple = CTRBOX.size_multiple
    if height % multiple or width % multiple:
        fitting = (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
        raise ValueError(
            f"input of {height} x {width} (height x width): both must be multiples of {multiple}; "
            f"the next size that fits is {fitting[0]} x {fitting[1]}"
        )
