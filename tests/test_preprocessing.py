"""Preprocessing: the same numbers as torchvision and as the published code, and a record that survives storage."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from models import IMAGENET, PUBLISHED, Preprocessing, normalize


def random_pictures() -> torch.Tensor:
    return torch.randint(0, 256, (2, 5, 7, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_imagenet_is_torchvisions_normalisation_of_the_rgb_picture() -> None:
    bgr = random_pictures()
    rgb = bgr[..., [2, 1, 0]].permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close(normalize(bgr, IMAGENET), (rgb - mean) / std)


def test_published_is_bgr_between_minus_and_plus_a_half() -> None:
    bgr = random_pictures()
    torch.testing.assert_close(normalize(bgr, PUBLISHED), bgr.permute(0, 3, 1, 2) / 255 - 0.5)


@pytest.mark.parametrize("preprocessing", [IMAGENET, PUBLISHED])
def test_float_and_bytes_give_the_same_and_stay_as_they_are(preprocessing: Preprocessing) -> None:
    pictures = random_pictures()
    as_float = pictures.float()
    out = normalize(as_float, preprocessing)
    torch.testing.assert_close(out, normalize(pictures, preprocessing), rtol=0, atol=0)
    assert torch.equal(as_float, pictures.float())
    assert out.dtype == torch.float32
    assert out.shape == (2, 3, 5, 7)
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("preprocessing", [IMAGENET, PUBLISHED])
def test_the_fill_colour_is_zero_to_the_network(preprocessing: Preprocessing) -> None:
    picture = torch.tensor(preprocessing.fill_bgr).expand(1, 2, 2, 3)
    torch.testing.assert_close(normalize(picture, preprocessing), torch.zeros(1, 3, 2, 2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("preprocessing", [IMAGENET, PUBLISHED])
def test_one_channel_has_the_average_and_a_fourth_comes_after_the_colours(preprocessing: Preprocessing) -> None:
    grey, four = preprocessing.for_channels(1), preprocessing.for_channels(4)
    assert (grey.color, four.color, preprocessing.for_channels(3)) == ("grey", preprocessing.color, preprocessing)
    assert grey.mean == (pytest.approx(sum(preprocessing.mean) / 3),)
    assert four.mean == (*preprocessing.mean, preprocessing.mean[0])
    pictures = torch.cat((random_pictures(), random_pictures()[..., :1]), dim=-1)
    out = normalize(pictures, four)
    assert torch.equal(out[:, :3], normalize(pictures[..., :3], preprocessing))
    expected = (pictures[..., 3].float() / 255 - four.mean[3]) / four.std[3]
    torch.testing.assert_close(out[:, 3], expected)
    torch.testing.assert_close(
        normalize(pictures[..., :1], grey)[:, 0] * grey.std[0] + grey.mean[0], pictures[..., 0] / 255
    )
    for record in (grey, four):
        assert Preprocessing.from_dict(json.loads(json.dumps(record.to_dict()))) == record
        fill = torch.tensor(record.fill_bgr).expand(1, 2, 2, len(record.mean))
        torch.testing.assert_close(normalize(fill, record), torch.zeros(1, len(record.mean), 2, 2), rtol=0, atol=1e-6)
    assert grey.for_channels(3).mean == pytest.approx((grey.mean[0],) * 3)


def test_no_pictures_are_no_input() -> None:
    assert normalize(torch.zeros(0, 4, 6, 3, dtype=torch.uint8), IMAGENET).shape == (0, 3, 4, 6)


@pytest.mark.parametrize("shape", [(4, 6, 3), (1, 3, 4, 6), (1, 4, 6, 1)])
def test_another_layout_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected pictures of shape \(B, H, W, 3\), not"):
        normalize(torch.zeros(shape), IMAGENET)


@pytest.mark.parametrize(
    "preprocessing",
    [
        IMAGENET,
        PUBLISHED,
        replace(IMAGENET, value_range=(-20.5, 1e4)),
        replace(IMAGENET, value_range=(0, 1, 0, 2, 0, 3)),
    ],
)
def test_a_record_survives_json(preprocessing: Preprocessing) -> None:
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


def test_a_record_without_a_range_is_that_of_earlier_versions() -> None:
    assert set(IMAGENET.to_dict()) == {"color", "scale", "mean", "std"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"color": "cmyk"}, "color must be 'rgb', 'bgr' or 'grey', not 'cmyk'"),
        ({"color": "grey"}, "color is 'grey', which 3 channels cannot be"),
        ({"mean": [0.5], "std": [0.5]}, "color is 'rgb', which 1 channels cannot be"),
        ({"mean": [], "std": []}, "which 0 channels cannot be"),
        ({"std": [1.0, 0.0, 1.0]}, "must be above 0"),
        ({"scale": float("nan")}, "must be above 0"),
        ({"value_range": [3.0, 3.0]}, "not a value and a larger one"),
        ({"value_range": [1.0, 2.0, 3.0]}, "not a value and a larger one"),
        ({"value_range": [1.0, 2.0, 3.0, 4.0]}, "as many such pairs as there are channels, 3"),
        ({"mean": [0.5]}, "a value each for every channel"),
        ({"gamma": 2.2}, r"expected the entries \['color', 'mean', 'scale', 'std'\], found .*gamma"),
    ],
)
def test_a_broken_record_is_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Preprocessing.from_dict(IMAGENET.to_dict() | change)
