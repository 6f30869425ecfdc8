"""What an exported file holds: from pictures as OpenCV gives them to boxes in their pixels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.ctrbox import CTRBOX
from models.decoder import decode
from models.graph_letterbox import pad, shrink
from models.graph_nms import suppress
from models.preprocessing import Preprocessing, normalize_planes


@dataclass(frozen=True)
class ExportOptions:
    """What of the road from pictures to boxes is inside. num_peaks: K, boxes of a picture over all classes. nms: greedy
    polygon NMS per class, above `conf_thresh` (score) and `nms_thresh` (IoU). letterbox: pictures of any size come in;
    otherwise the network's input, letterboxed by the caller."""

    num_peaks: int = 500
    nms: bool = False
    conf_thresh: float = 0.01
    nms_thresh: float = 0.3
    letterbox: bool = True


class ExportedDetector(nn.Module):
    """Pictures (N, H, W, 3) BGR, or of as many channels as the preprocessing has, uint8 or float32 0..255 -> boxes
    (N, K, 4, 2) in their pixels, scores (N, K), labels (N, K) int64, best first, and with NMS count (N,) int64. Rows
    without a box are zero.

    K is fewer than asked for where the maps of `input_hw` have fewer cells.
    """

    def __init__(
        self, network: CTRBOX, preprocessing: Preprocessing, input_hw: tuple[int, int], options: ExportOptions
    ) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing
        self.input_hw = input_hw
        self.options = options

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        options = self.options
        # Cast first: TensorRT knows uint8 at the input only.
        images, pixel = images.float().permute(0, 3, 1, 2), None
        if options.letterbox:
            images, pixel = shrink(images, self.input_hw)
        inputs = normalize_planes(images, self.preprocessing)
        if options.letterbox:
            # The reshape changes nothing; it tells the runtimes a size that they can plan by.
            inputs = pad(inputs, self.input_hw).reshape(-1, len(self.preprocessing.mean), *self.input_hw)
        found = decode(self.network(inputs.to(next(self.network.parameters()).dtype)), options.num_peaks)
        outputs = suppress(found, options.conf_thresh, options.nms_thresh) if options.nms else found
        return (outputs.quads if pixel is None else outputs.quads * pixel, *outputs[1:])
