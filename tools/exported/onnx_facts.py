"""What an exported file says of itself, in its `metadata_props`: single keys with plain values, lists as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from DOTA_devkit.names import as_class_names
from DOTA_devkit.value_ranges import are_ranges
from tools.detection.network_input import NetworkInput

PROJECT = "bbavectors"
VERSION = "1.0"  # of this project's exported files; the first number changes when readers of old ones must
RESIZE_RULE = (
    "one scale for both sides, k = min(input_height / H, input_width / W); the picture fills max(1, floor(H * k + "
    "1e-6)) rows, and columns likewise, of which pixel i is read at (i + 0.5) / k - 0.5 of the picture: bilinear, no "
    "anti-aliasing, in float, as cv2.resize does with fx = fy = k and without a size (a row or column more than that "
    "is cut off); the rest, at the right and the bottom, is fill_bgr"
)
COLUMNS = {
    "boxes": "x1 y1 x2 y2 x3 y3 x4 y4: corners in pixels of the given image, clockwise on the screen; rows best first",
    "scores": "0 to 1; 0 in rows without a box",
    "labels": "number of the class in `classes`, from 0",
    "count": "rows that hold boxes; only with nms inside",
}
OUTSIDE_BOXES = "; that is the letterboxed one: divide them by k of `resize`"  # where the caller does it
FREE, NOTHING = "batch, height, width", "nothing"  # of the input
FREE_OUTSIDE = f"{FREE}; multiples of 32, and height / 4 * width / 4 * classes no less than num_peaks"
EACH_ITS_OWN = "percentiles 0.5 and 99.5 of each picture"  # the range of values, where none is given
FILES_TELL = "those that each file calls its colours, else the first"  # the bands of TIFF files, where none are chosen
ANGLE = "no angle is stored; that of the side w, corner 1 to corner 2, is atan2(y2-y1, x2-x1): clockwise on the screen"


class ModelFileError(ValueError):
    """A model file that is missing, damaged, of something else or of another version; the message names the file."""


@dataclass(frozen=True)
class FileFacts(NetworkInput):
    """All that one must know to use the file.

    input_hw: the network's height and width. input_kind: uint8 or float32, (N, H, W, channels) 0..255. letterbox, nms:
    inside the file or left to the caller. dynamic: batch, height and width are free (with `letterbox` outside height
    and width are multiples of 32). num_peaks: K. conf_thresh, nms_thresh: with NMS inside what it was made with,
    otherwise what to use. num_views: of a picture and its mirror images, whose mean is taken. chosen: whether the
    classes are some of those of the data, and objects of others background. precision: of the network. checkpoint,
    sha256: where the weights are from. picture_hw: height and width that training pictures usually had, if it is known.
    value_range: in pictures of more than 8 bits, the values that become 0 and 255, or such a pair for each channel, red
    before blue; None: each picture's own. bands: of
    TIFF files, the numbers of the bands that are read, from 1 on, red first; None: as each file tells.
    """

    class_names: tuple[str, ...]
    input_hw: tuple[int, int]
    input_kind: str
    letterbox: bool
    nms: bool
    dynamic: bool
    num_peaks: int
    conf_thresh: float
    nms_thresh: float
    num_views: int
    chosen: bool
    network_color: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fill_bgr: tuple[float, ...]
    precision: str
    backbone: str
    checkpoint: str
    sha256: str
    picture_hw: tuple[int, int] | None = None
    value_range: tuple[float, ...] | None = None
    bands: tuple[int, ...] | None = None

    @property
    def in_channels(self) -> int:
        """As many as the preprocessing has means."""
        return len(self.mean)

    def to_properties(self) -> dict[str, str]:
        """The entries of `metadata_props`."""
        values = {
            "project": PROJECT,
            "version": VERSION,
            "classes": list(self.class_names),
            "input": f"{self.input_kind} (N, H, W, {self.in_channels}), 0..255",
            "input_kind": self.input_kind,
            "color": {1: "grey", 3: "bgr"}.get(self.in_channels, "bgr, then the others"),
            "input_height": self.input_hw[0],
            "input_width": self.input_hw[1],
            "letterbox": _place(self.letterbox),
            "resize": RESIZE_RULE,
            "fill_bgr": list(self.fill_bgr),
            "normalization": "inside",
            "network_color": self.network_color,
            "scale": self.scale,
            "mean": list(self.mean),
            "std": list(self.std),
            "num_peaks": self.num_peaks,
            "nms": _place(self.nms),
            "conf_thresh": self.conf_thresh,
            "nms_thresh": self.nms_thresh,
            "num_views": self.num_views,
            "other_classes": "background" if self.chosen else "none",
            "dynamic": (FREE if self.letterbox else FREE_OUTSIDE) if self.dynamic else NOTHING,
            "angle": ANGLE,
            "precision": self.precision,
            "backbone": self.backbone,
            "checkpoint": self.checkpoint,
            "checkpoint_sha256": self.sha256,
            "picture_height": self.usual_hw[0],
            "picture_width": self.usual_hw[1],
            "value_range": list(self.value_range) if self.value_range else EACH_ITS_OWN,
            "bands": list(self.bands) if self.bands else FILES_TELL,
        } | {f"output_{name}": text for name, text in COLUMNS.items() if self.nms or name != "count"}
        if not self.letterbox:
            values["output_boxes"] += OUTSIDE_BOXES
        return {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                for key, value in values.items()}  # fmt: skip

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], path: Path) -> FileFacts:
        """What `to_properties` wrote. Raises ModelFileError for a file of something else or of another version."""
        if properties.get("project") != PROJECT:
            raise ModelFileError(
                f"{path}: an ONNX file of something else, it does not say what this project's files say of themselves; "
                "make one with python -m tools.export_onnx"
            )
        version = properties.get("version", "")
        if version.split(".")[0] != VERSION.split(".")[0]:
            raise ModelFileError(f"{path}: is of version {version!r}, read is {VERSION}; export the checkpoint again")
        try:
            return cls(
                class_names=as_class_names(json.loads(properties["classes"])),
                input_hw=(int(properties["input_height"]), int(properties["input_width"])),
                input_kind=_one_of(properties["input_kind"], "uint8", "float32"),
                letterbox=_one_of(properties["letterbox"], "inside", "outside") == "inside",
                nms=_one_of(properties["nms"], "inside", "outside") == "inside",
                dynamic=properties["dynamic"] != NOTHING,
                num_peaks=int(properties["num_peaks"]),
                conf_thresh=float(properties["conf_thresh"]),
                nms_thresh=float(properties["nms_thresh"]),
                num_views=int(properties.get("num_views", 1)),  # files before there were views and chosen classes
                chosen=properties.get("other_classes") == "background",
                network_color=properties["network_color"],
                scale=float(properties["scale"]),
                **_channels(properties),
                precision=properties["precision"],
                backbone=properties["backbone"],
                checkpoint=properties["checkpoint"],
                sha256=properties["checkpoint_sha256"],
                picture_hw=_picture_hw(properties),
                value_range=_value_range(properties),
                bands=_bands(properties),
            )
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
            raise ModelFileError(f"{path}: its metadata are damaged ({reason}); export the checkpoint again") from error


def read_properties(path: Path) -> dict[str, str]:
    """The `metadata_props` of an ONNX file. Raises ModelFileError for a file that is missing, damaged or no ONNX."""
    import onnx

    if not path.is_file():
        what = "is a folder; name the file in it" if path.is_dir() else "no such file"
        raise ModelFileError(f"{path}: {what}")
    if path.suffix.lower() in (".pth", ".pt"):
        raise ModelFileError(f"{path}: a checkpoint; export it first, python -m tools.export_onnx --resume {path} ...")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError:
        raise
    except Exception as error:  # protobuf's own kinds of error, by its version
        raise ModelFileError(f"{path}: is damaged, or no ONNX file; export the checkpoint again") from error
    if not model.graph.node:
        raise ModelFileError(f"{path}: is damaged, or no ONNX file; export the checkpoint again")
    return {entry.key: entry.value for entry in model.metadata_props}


def _place(inside: bool) -> str:
    return "inside" if inside else "outside"


def _one_of(value: str, *known: str) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return value


def _picture_hw(properties: Mapping[str, str]) -> tuple[int, int] | None:
    """None of files before this was told."""
    sides = tuple(int(properties.get(f"picture_{side}", 0)) for side in ("height", "width"))
    return sides if min(sides) > 0 else None


def _value_range(properties: Mapping[str, str]) -> tuple[float, ...] | None:
    """None of files before this was told."""
    said = properties.get("value_range", EACH_ITS_OWN)
    if said == EACH_ITS_OWN:
        return None
    values = tuple(map(float, json.loads(said)))
    if not are_ranges(values, len(json.loads(properties["mean"]))):
        raise ValueError(f"value_range is {said}, not a value and a larger one, or such a pair for each channel")
    return values


def _bands(properties: Mapping[str, str]) -> tuple[int, ...] | None:
    """None of files before this was told."""
    said = properties.get("bands", FILES_TELL)
    if said == FILES_TELL:
        return None
    bands = tuple(map(int, json.loads(said)))
    if len(bands) != len(json.loads(properties["mean"])) or min(bands) < 1:
        raise ValueError(f"bands is {said}, not a number from 1 on for each channel")
    return bands


def _channels(properties: Mapping[str, str]) -> dict[str, tuple[float, ...]]:
    """What the file says of each channel of a picture, 1, 3 or more of them."""
    found = {name: tuple(map(float, json.loads(properties[name]))) for name in ("mean", "std", "fill_bgr")}
    if len({len(values) for values in found.values()}) != 1 or len(found["mean"]) in (0, 2):
        said = ", ".join(f"{name} {list(values)}" for name, values in found.items())
        raise ValueError(f"not as many numbers as a picture has channels: {said}")
    return found
