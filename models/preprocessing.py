"""What is done to pixels before the network sees them; stored in the checkpoint, the same in every phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from DOTA_devkit.value_ranges import are_ranges


@dataclass(frozen=True)
class Preprocessing:
    """Range of values, colour order and normalisation: (pixel * scale - mean) / std per channel.

    Attributes:
        color: order of the channels that the network reads; `mean` and `std` are in the same order. `grey` is one
            channel; where there are more than three, the others come after the colours.
        scale: factor on pixels of 0..255.
        mean: of the scaled pixels, a value for each channel.
        std: of the scaled pixels, above 0.
        value_range: in pictures of more than 8 bits, the values that become the pixels 0 and 255, or such a pair for
            each channel, red before blue; None: each picture's own, by percentiles
            (`datasets.picture_files.layouts.spread_values`).
        bands: of TIFF files, the numbers of the bands that are read, from 1 on, as many as there are channels, in the
            order red, green, blue and others; None: those that the file calls so, else the first.
    """

    color: Literal["rgb", "bgr", "grey"]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, ...] | None = None
    bands: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.color not in ("rgb", "bgr", "grey"):
            raise ValueError(f"preprocessing: color must be 'rgb', 'bgr' or 'grey', not {self.color!r}")
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"preprocessing: mean and std have a value each for every channel, not {self.mean} and {self.std}"
            )
        if not self.mean or (self.color == "grey") != (len(self.mean) == 1) or len(self.mean) == 2:
            raise ValueError(f"preprocessing: color is '{self.color}', which {len(self.mean)} channels cannot be")
        if not self.scale > 0 or not min(self.std) > 0:
            raise ValueError(f"preprocessing: scale and std must be above 0, not {self.scale} and {self.std}")
        if self.value_range is not None and not are_ranges(self.value_range, len(self.mean)):
            what = f"not a value and a larger one, or as many such pairs as there are channels, {len(self.mean)}"
            raise ValueError(f"preprocessing: value_range is {self.value_range}, {what}")
        if self.bands is not None and not (
            len(self.bands) == len(self.mean) and all(type(band) is int and band > 0 for band in self.bands)
        ):
            raise ValueError(f"preprocessing: bands are {self.bands}, not {len(self.mean)} numbers from 1 on")

    @property
    def order(self) -> tuple[int, ...]:
        """The channels of a picture as it is read (blue, green, red, others) in the order of the network."""
        channels = tuple(range(len(self.mean)))
        return (2, 1, 0, *channels[3:]) if self.color == "rgb" else channels

    @property
    def fill_bgr(self) -> tuple[float, ...]:
        """The mean colour in 0..255, blue first: the network sees it as 0, and the letterbox pads with it."""
        return tuple(self.mean[channel] / self.scale for channel in self.order)  # the order is its own inverse

    @property
    def channel_bands(self) -> tuple[int, ...] | None:
        """The bands of TIFF files, channel by channel as the network reads them; None where none were chosen."""
        if self.bands is None or self.color != "bgr":
            return self.bands
        red, green, blue, *others = self.bands
        return (blue, green, red, *others)

    @property
    def _range_of_all(self) -> tuple[float, ...] | None:
        """The range where it is one pair for all channels: ranges of each say nothing of other channels."""
        return self.value_range if len(self.value_range or ()) == 2 else None

    def for_bands(self, bands: tuple[int, ...]) -> Preprocessing:
        """The same for other bands of the same pictures: those that stay keep their mean and std, the others get the
        average. Raises ValueError where none were chosen before, or there are two."""
        if self.bands is None:
            raise ValueError("preprocessing: it is not known which bands were read before")
        means, stds = (dict(zip(self.channel_bands, values, strict=True)) for values in (self.mean, self.std))
        usual = sum(self.mean) / len(self.mean), sum(self.std) / len(self.std)
        color = "grey" if len(bands) == 1 else "rgb"
        mean = tuple(means.get(band, usual[0]) for band in bands)
        std = tuple(stds.get(band, usual[1]) for band in bands)
        return replace(self, color=color, mean=mean, std=std, bands=bands, value_range=self._range_of_all)

    def for_channels(self, num_channels: int) -> Preprocessing:
        """The same for pictures of another number of channels, of no chosen bands and ranges of each: one has the
        average of mean and std, more repeat them, as `models.input_channels` does with the weights that read them."""
        if num_channels == len(self.mean):
            return self
        others = {"bands": None, "value_range": self._range_of_all}
        if num_channels == 1:
            mean, std = ((sum(values) / len(values),) for values in (self.mean, self.std))
            return replace(self, color="grey", mean=mean, std=std, **others)
        mean, std = ((values * num_channels)[:num_channels] for values in (self.mean, self.std))
        return replace(self, color="rgb" if self.color == "grey" else self.color, mean=mean, std=std, **others)

    def to_dict(self) -> dict[str, Any]:
        """Return plain strings, numbers and lists, for a checkpoint or a JSON file; range and bands only where they
        were chosen, as files have it that are older than these."""
        said = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: value for name, value in said.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Build from what `to_dict` returned.

        Raises:
            ValueError: a missing or unknown entry, or one out of range.
        """
        optional = {"value_range", "bands"}
        names = {field.name for field in fields(cls)} - optional
        if names != set(values) - optional:
            raise ValueError(f"preprocessing: expected the entries {sorted(names)}, found {sorted(values)}")
        value_range, bands = (values.get(name) for name in ("value_range", "bands"))
        return cls(
            color=values["color"],
            scale=float(values["scale"]),
            mean=tuple(values["mean"]),
            std=tuple(values["std"]),
            value_range=value_range and tuple(map(float, value_range)),
            bands=bands and tuple(bands),
        )


# torchvision's ImageNet statistics: what its backbones were trained with, and our own default.
IMAGENET = Preprocessing("rgb", 1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
# What the published BBAVectors weights were trained with: BGR, pixel / 255 - 0.5.
PUBLISHED = Preprocessing("bgr", 1 / 255, mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0))


def normalize(images: Tensor, preprocessing: Preprocessing, scaling: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Turn pictures as OpenCV gives them into the network's input.

    Args:
        images: (B, H, W, 3), BGR, or with as many channels as the record has; 0..255, uint8 or float32; not changed.
        preprocessing: colour order, scale, mean and deviation.
        scaling: what `gain_and_shift` gave for it on the pictures' device, where it is at hand.

    Returns:
        (B, 3 or as many, H, W) float32 in channels_last memory format, which is the order the pictures already have.

    Raises:
        ValueError: another shape.
    """
    order = preprocessing.order
    if images.ndim != 4 or images.shape[-1] != len(order):
        raise ValueError(f"expected pictures of shape (B, H, W, {len(order)}), not {tuple(images.shape)}")
    if preprocessing.color == "rgb":
        images = images.flip(-1) if len(order) == 3 else images[..., list(order)]
    gain, shift = scaling or gain_and_shift(preprocessing, images.device)
    return torch.addcmul(shift, images.float(), gain).permute(0, 3, 1, 2)


def normalize_planes(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """The same of (B, 3 or as many, H, W) float32, 0..255, for a trace: channels are put in order plane by plane."""
    if preprocessing.color == "rgb":
        images = images[:, list(preprocessing.order)]
    gain, shift = (values[:, None, None] for values in gain_and_shift(preprocessing, images.device))
    return torch.addcmul(shift, images, gain)


def gain_and_shift(preprocessing: Preprocessing, device: torch.device) -> tuple[Tensor, Tensor]:
    """Factor and addend on pixels of 0..255, a value for each channel, in the order of the network."""
    std = torch.tensor(preprocessing.std, device=device)
    return preprocessing.scale / std, -torch.tensor(preprocessing.mean, device=device) / std
