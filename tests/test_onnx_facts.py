"""What a file says of itself reads back, and anything else is refused with a sentence."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from datasets.letterbox import letterbox_image
from DOTA_devkit.names import as_class_names
from tools.exported.onnx_facts import RESIZE_RULE, FileFacts, ModelFileError, read_properties

FACTS = FileFacts(
    class_names=("car", "船 \"x\""), input_hw=(64, 96), input_kind="uint8", letterbox=True, nms=True, dynamic=True,
    num_peaks=500, conf_thresh=0.01, nms_thresh=0.3, num_views=2, chosen=True, network_color="rgb", scale=1 / 255,
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), fill_bgr=(103.53, 116.28, 123.675),
    precision="fp32", backbone="resnet18", checkpoint="best.pth", sha256="ab",
    picture_hw=(512, 640),
)  # fmt: skip
NUMBERS = st.tuples(*[st.floats(-1e6, 1e6)] * 3)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.text(max_size=9), min_size=1, max_size=5),
    st.integers(1, 100),
    st.sampled_from(["uint8", "float32"]),
    st.tuples(*[st.booleans()] * 3),
    NUMBERS,
    st.floats(0, 1),
)
def test_facts_read_back_to_the_last_bit(names, side, kind, switches, numbers, thresh) -> None:
    letterbox, nms, dynamic = switches
    facts = replace(
        FACTS, class_names=as_class_names(names), input_hw=(32 * side, 64), input_kind=kind, letterbox=letterbox,
        nms=nms, dynamic=dynamic, mean=numbers, fill_bgr=numbers, conf_thresh=thresh, nms_thresh=1 - thresh,
    )  # fmt: skip
    assert FileFacts.from_properties(facts.to_properties(), "x") == facts


def test_the_range_of_values_reads_back_and_earlier_files_have_none() -> None:
    facts = replace(FACTS, value_range=(7315.0, 8315.5))
    assert FileFacts.from_properties(facts.to_properties(), "x") == facts
    assert "percentiles" in FACTS.to_properties()["value_range"]
    earlier = {key: value for key, value in FACTS.to_properties().items() if key != "value_range"}
    assert FileFacts.from_properties(earlier, "x") == FACTS
    with pytest.raises(ModelFileError, match=r"damaged \(value_range is \[2, 1\]"):
        FileFacts.from_properties(FACTS.to_properties() | {"value_range": "[2, 1]"}, "x")


def test_each_property_is_a_plain_value_under_a_key_of_its_own() -> None:
    properties = FACTS.to_properties()
    assert all(type(value) is str for value in properties.values())
    assert json.loads(properties["classes"]) == list(FACTS.class_names)
    assert (properties["input_height"], properties["input_width"]) == ("64", "96")
    assert properties["letterbox"] == properties["nms"] == "inside"
    for key in ("version", "resize", "color", "angle", "output_boxes", "output_count", "checkpoint_sha256"):
        assert properties[key]
    assert "output_count" not in replace(FACTS, nms=False).to_properties()
    assert len(properties) > len(fields(FACTS))


@pytest.mark.parametrize("hw", [(768, 1366), (103, 90), (1080, 1920), (562, 1000), (64, 96), (31, 47)])
def test_the_rule_for_resizing_gives_what_the_network_was_trained_on(hw: tuple[int, int]) -> None:
    """Its words, done by hand: floor(H * k), as it said, loses a row of 103, and cv2's size has one too many."""
    assert "floor(H * k + 1e-6)" in RESIZE_RULE
    assert "a row or column more than that is cut off" in RESIZE_RULE
    image = np.random.default_rng(0).integers(0, 256, (*hw, 3), np.uint8)
    k = min(512 / hw[0], 640 / hw[1])
    rows, columns = (max(1, math.floor(side * k + 1e-6)) for side in hw)
    resized = cv2.resize(image.astype(np.float32), None, fx=k, fy=k)
    expected = np.full((512, 640, 3), 7, np.float32)
    expected[:rows, :columns] = resized[:rows, :columns]
    assert np.array_equal(letterbox_image(image, (512, 640), (7, 7, 7)), expected)


def test_a_file_without_the_letterbox_tells_which_sizes_it_takes() -> None:
    free = replace(FACTS, letterbox=False, dynamic=True)
    assert free.to_properties()["dynamic"].startswith("batch, height, width; multiples of 32, and height / 4 * width")
    for facts in (free, replace(free, letterbox=True), replace(free, dynamic=False)):
        assert FileFacts.from_properties(facts.to_properties(), "x") == facts


def test_a_checkpoint_is_told_from_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "best.pth").write_bytes(b"PK")
    with pytest.raises(ModelFileError, match=r"best\.pth: a checkpoint; export it first, python -m tools\.export_onnx"):
        read_properties(tmp_path / "best.pth")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"project": "yolo"}, "an ONNX file of something else"),
        ({"version": "2.0"}, "is of version '2.0', read is 1.0"),
        ({"mean": "[1, 2]"}, "not as many numbers as a picture has channels: mean"),
        ({"nms": "maybe"}, "'maybe' is none of inside, outside"),
        ({"classes": "["}, "its metadata are damaged"),
        ({"num_peaks": None}, "num_peaks is missing"),
    ],
)
def test_other_metadata_are_refused_by_a_sentence(changes, message) -> None:
    properties = {key: value for key, value in (FACTS.to_properties() | changes).items() if value is not None}
    with pytest.raises(ModelFileError, match=message):
        FileFacts.from_properties(properties, "m.onnx")


def test_what_is_no_onnx_file_is_refused_by_a_sentence(tmp_path) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "noise.onnx").write_bytes(bytes(range(256)) * 9)
    for name in ("text.onnx", "empty.onnx", "noise.onnx"):
        with pytest.raises(ModelFileError, match="is damaged, or no ONNX file"):
            read_properties(tmp_path / name)
    with pytest.raises(ModelFileError, match="no such file"):
        read_properties(tmp_path / "nowhere.onnx")
    with pytest.raises(ModelFileError, match="is a folder"):
        read_properties(tmp_path)


def test_an_onnx_file_of_something_else_has_no_facts(tmp_path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [other])
    onnx.save(helper.make_model(graph), tmp_path / "other.onnx")
    with pytest.raises(
        ModelFileError, match=r"other.onnx: an ONNX file of something else.*python -m tools.export_onnx"
    ):
        FileFacts.from_properties(read_properties(tmp_path / "other.onnx"), tmp_path / "other.onnx")


def test_a_file_from_before_there_were_views_has_one() -> None:
    properties = FACTS.to_properties()
    del properties["num_views"], properties["other_classes"], properties["picture_height"], properties["picture_width"]
    found = FileFacts.from_properties(properties, "x")
    assert found == replace(FACTS, num_views=1, chosen=False, picture_hw=None)
    assert found.usual_hw == found.input_hw
