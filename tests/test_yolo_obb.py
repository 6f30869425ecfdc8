"""YOLO OBB lines become quads in pixels and come back the same; what YOLO cannot hold is counted."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datasets.label_formats.annotations import AS_RECTANGLE, AnnotatedSet, Ledger, Picture, Row, as_labels
from datasets.label_formats.data_yaml import read_data_yaml
from datasets.label_formats.yolo_obb import (
    CUT,
    DIFFICULT,
    DROPPED,
    HORIZONTAL,
    IGNORED,
    OUTSIDE,
    SCORED,
    UNLABELLED,
    UNLISTED,
    keep_holdable,
    read_yolo_folder,
    read_yolo_obb,
    write_yolo_obb,
)
from DOTA_devkit.boxes import polygon_area
from DOTA_devkit.clipping import clip_quads
from DOTA_devkit.labels import LabelError, geometry_faults
from tests.label_documents import HEIGHT, PNG, QUAD, UPRIGHT, WIDTH, YOLO_LINE, turned_jpeg, write, yolo_folder

FRACTIONS = YOLO_LINE[2:].strip()


def picture(*rows: Row, split: str = "train", hw: tuple[int, int] = (HEIGHT, WIDTH)) -> Picture:
    return Picture("图 1", as_labels(rows), hw=hw, split=split)


def clipped_area(quad: np.ndarray) -> float:
    """What the picture shows of a quad, in square pixels."""
    return float(clip_quads(quad[None], 0, 0, WIDTH, HEIGHT)[1][0] * polygon_area(quad[None])[0])


def test_corners_are_fractions_of_the_pictures_width_and_height(tmp_path: Path) -> None:
    text = f"{YOLO_LINE}\r\n 0\t{FRACTIONS} \n1.0 {FRACTIONS}"
    yolo_folder(tmp_path / "数据", {"train/图 1": f"\ufeff{text}", "train/b": "", "val/c": None})
    labels = read_yolo_obb(tmp_path / "数据" / "labels" / "train" / "图 1.txt")
    assert labels.quads.tolist() == [QUAD] * 3
    assert labels.names == ["船 船", "car", "船 船"]
    assert labels.lines.tolist() == [1, 3, 4]
    assert read_yolo_obb(tmp_path / "数据" / "labels" / "train" / "b.txt").quads.shape == (0, 4, 2)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (f"2 {FRACTIONS}", r"class 2 has no name; data\.yaml names 0 to 1"),
        (f"-1 {FRACTIONS}", "class -1 has no name"),
        (f"0.5 {FRACTIONS}", r"class 0\.5 has no name"),
        (f"nan {FRACTIONS}", "class nan has no name"),
        (f"car {FRACTIONS}", "a word is not a number"),
        (f"0 {FRACTIONS} 0.9", r"10 numbers \(a box with its score.*\), where .* has 9; .*tools\.convert_labels"),
        (f"0 {FRACTIONS} 0.9 1 2", "12 numbers, where an oriented box has 9"),
        ("0 0.5 0.5 0.1 0.1", r"5 numbers \(a horizontal box of YOLO detection\), where"),
        (f"0 {FRACTIONS} 0.5 0.5", r"11 numbers \(an outline of YOLO segmentation\), where an oriented box has 9"),
        ("0 75 50 155 110 125 150 45 90", "a corner is no fraction"),
        ("0 nan 0 1 0 1 1 0 1", "a corner is no fraction"),
        ("0 1e400 0 1 0 1 1 0 1", "a corner is no fraction"),
        ("0 0 0 1 1 1 0 0 1", "crosses itself"),
        ("0 0 0 1 1 1 1 0 0", "has no area"),
    ],
)
def test_a_bad_line_is_named_or_left_out(tmp_path: Path, line: str, sentence: str) -> None:
    yolo_folder(tmp_path, {"train/图 1": f"{YOLO_LINE}{line}\n"})
    path = tmp_path / "labels" / "train" / "图 1.txt"
    with pytest.raises(LabelError, match=rf"图 1\.txt:2: .*{sentence}"):
        read_yolo_obb(path)
    reported: list[LabelError] = []
    assert read_yolo_obb(path, reported.append).names == ["船 船"]
    assert [error.line for error in reported] == [2]


def test_labels_without_a_picture_or_names_are_refused(tmp_path: Path) -> None:
    stray = write(yolo_folder(tmp_path, {"train/a": YOLO_LINE}) / "labels" / "train" / "stray.txt", YOLO_LINE)
    with pytest.raises(LabelError, match=r"stray\.txt:1: has no picture of this name"):
        read_yolo_obb(stray, lambda error: None)
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(LabelError, match="nothing names the classes"):
        read_yolo_obb(tmp_path / "labels" / "train" / "a.txt", lambda error: None)
    (tmp_path / "images" / "train" / "a.png").write_bytes(PNG[:20])
    with pytest.raises(LabelError, match="the size of its picture is not to be had"):
        read_yolo_obb(tmp_path / "labels" / "train" / "a.txt")
    with pytest.raises(LabelError, match="cannot be read"):
        read_yolo_obb(tmp_path / "labels" / "train" / "none.txt")


def test_a_picture_that_viewers_turn_is_refused(tmp_path: Path) -> None:
    """Ultralytics turns it before it looks; the fractions would be those of another picture."""
    yolo_folder(tmp_path, {"train/a": YOLO_LINE})
    (tmp_path / "images" / "train" / "a.png").unlink()
    (tmp_path / "images" / "train" / "a.jpg").write_bytes(turned_jpeg(6))
    with pytest.raises(LabelError, match=r"a\.jpg is turned by EXIF \(orientation 6\)"):
        read_yolo_obb(tmp_path / "labels" / "train" / "a.txt")


def test_a_folder_is_read_with_its_split_and_its_faults(tmp_path: Path) -> None:
    yolo_folder(tmp_path, {"train/a": YOLO_LINE, "train/b": None, "val/c": f"{YOLO_LINE}bad\n", "val/d": YOLO_LINE})
    (tmp_path / "images" / "val" / "d.png").write_bytes(b"")
    write(tmp_path / "labels" / "val" / "stray.txt", YOLO_LINE)
    reported: list[LabelError] = []
    annotated = read_yolo_folder(tmp_path, reported.append)
    assert annotated.class_names == ("car", "船 船")
    assert [(item.name, item.split, len(item.labels.names)) for item in annotated.pictures] == [
        ("a", "train", 1),
        ("b", "train", 0),
        ("c", "val", 1),
    ], "d, whose labels are lost, does not become a picture without objects"
    assert sorted(error.path.stem for error in reported) == ["c", "d", "stray"]


def test_what_yolo_cannot_hold_is_counted(tmp_path: Path) -> None:
    quad = np.array(QUAD)
    rows = [Row(quad, "car", flag, 1) for flag in (0, 1, 2)]
    rows += [Row(quad, "DontCare", 0, 1), Row(quad + WIDTH, "car", 0, 1)]
    ledger = Ledger()
    (kept,) = keep_holdable(AnnotatedSet([picture(*rows)], ("car",)), ledger).pictures
    assert kept.labels.names == ["car", "car"]
    assert (ledger.left_out, ledger.changed) == ({IGNORED: 2, OUTSIDE: 1}, {DIFFICULT: 1})
    asked = Ledger()
    keep_holdable(AnnotatedSet([picture(*rows[:4])], ("car",)), asked, drop_ignored=True)
    assert (asked.left_out, asked.changed) == ({}, {DIFFICULT: 1, DROPPED: 2})


def test_what_would_cost_ultralytics_the_whole_picture_is_cut_at_the_border(tmp_path: Path) -> None:
    """It passes over a picture for one outer box with its middle outside, or larger than the picture."""
    inside = [[-50, 10], [60, 10], [60, 30], [-50, 30]]
    middle_outside = [[-70, 10], [60, 10], [60, 30], [-70, 30]]
    too_wide = [[-5, 10], [WIDTH + 5, 10], [WIDTH + 5, 30], [-5, 30]]
    line = np.array([-1, -1]), np.array([WIDTH + 1, HEIGHT + 1]), np.array([-24, 30])  # along the diagonal
    band = [line[0] - line[2], line[1] - line[2], line[1] + line[2], line[0] + line[2]]
    rows = [Row(np.array(quad, float), "car", 0, 1) for quad in (inside, middle_outside, too_wide, band)]
    ledger = Ledger()
    (kept,) = keep_holdable(AnnotatedSet([picture(*rows)], ("car",)), ledger).pictures
    assert kept.labels.quads[0].tolist() == inside
    for quad, (left, right) in zip(kept.labels.quads[1:3], ((0, 60), (0, WIDTH)), strict=True):
        assert (quad.min(axis=0).tolist(), quad.max(axis=0).tolist()) == ([left, 10], [right, 30])
    shown, left = (clipped_area(part) for part in (np.array(band, float), kept.labels.quads[3]))
    assert left > 0.7 * shown, "shortened, at its own angle"
    assert (ledger.left_out, ledger.changed) == ({}, {CUT: 3})


def test_other_labels_of_ultralytics_become_boxes_in_a_conversion_and_are_counted(tmp_path: Path) -> None:
    """As those of COCO, labelme and VOC; detection, segmentation and predictions were faults."""
    outline = "0.1 0.1 0.5 0.1 0.5 0.3 0.3 0.3 0.1 0.3"
    boxes = (f"0 {FRACTIONS}", "1 0.5 0.5 0.2 0.1", f"0 {outline}")
    lines = (*boxes, f"{boxes[0]} 0.75", f"{boxes[1]} 0.25", "0 0.5 0.5")
    data_dir = yolo_folder(tmp_path / "数据", {"train/图 1": "\n".join(lines)})
    path = data_dir / "labels" / "train" / "图 1.txt"
    faults, changed = [], Counter()
    labels = read_yolo_obb(path, faults.append, None, changed)
    upright = [[80.0, 72], [120, 72], [120, 88], [80, 88]]
    np.testing.assert_allclose(labels.quads[[0, 3]], [QUAD, QUAD], atol=1e-9)
    np.testing.assert_allclose(labels.quads[[1, 4]], [upright] * 2, atol=1e-9)
    assert sorted(map(tuple, labels.quads[2].round(6).tolist())) == [(20, 16), (20, 48), (100, 16), (100, 48)]
    assert changed == {HORIZONTAL: 2, AS_RECTANGLE: 1, SCORED: 2}
    assert [fault.line for fault in faults] == [6]
    assert len(read_yolo_obb(path, lambda fault: None).names) == 1, "training stays strict"


@given(values=st.lists(st.floats(-3000, 3000), min_size=8, max_size=8))
@example(values=[0.0, 0.0, 0.485, 1.0, 292.0, 1.0, -296.0, 405.0])  # as large as the picture but for the last bit
@settings(deadline=None, max_examples=300)
def test_ultralytics_takes_whatever_is_kept(values: list[float]) -> None:
    """The rule of `verify_image_label` in its data/utils."""
    quad = np.array(values).reshape(4, 2)
    if geometry_faults(quad[None]):
        return
    ledger = Ledger()
    (kept,) = keep_holdable(AnnotatedSet([picture(Row(quad, "car", 0, 1))], ("car",)), ledger).pictures
    assert len(kept.labels.names) + ledger.left_out.total() == 1
    for low, high in zip(kept.labels.quads.min(axis=1), kept.labels.quads.max(axis=1), strict=True):
        xywh = np.concatenate([(low + high) / 2, high - low]) / (WIDTH, HEIGHT, WIDTH, HEIGHT)
        assert (xywh >= 0).all()
        assert (xywh <= 1).all()


@pytest.mark.parametrize(
    ("splits", "folders", "train", "val"),
    [
        (("train", "val"), {"train", "val"}, "train", "val"),
        (("", ""), {"train"}, "train", "train"),
        (("train", "test"), {"train", "test"}, "train", "test"),
        (("val", ""), {"val", "rest"}, "val", "val"),
    ],
)
def test_splits_become_folders_and_train_and_val_are_always_named(
    tmp_path: Path, splits: tuple[str, ...], folders: set[str], train: str, val: str
) -> None:
    pictures = [picture(split=split)._replace(name=name) for name, split in zip("ab", splits, strict=True)]
    ledger = Ledger()
    write_yolo_obb(tmp_path, AnnotatedSet(pictures, ("car", "DontCare")), ledger)
    assert {path.name for path in (tmp_path / "labels").iterdir()} == folders
    yaml = read_data_yaml(tmp_path / "data.yaml")
    assert (yaml.entries["train"], yaml.entries["val"]) == ((f"images/{train}",), (f"images/{val}",))
    assert yaml.class_names == ("car",)
    assert (UNLISTED in ledger.changed) == ("rest" in folders)


def write_and_read(folder: Path, *rows: Row, hw: tuple[int, int]) -> tuple[str, np.ndarray]:
    """The text that is written and the quads that it gives."""
    write_yolo_obb(folder, AnnotatedSet([picture(*rows, hw=hw)], ("car",)), Ledger())
    path = folder / "images" / "train" / "图 1.bmp"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bitmap_header(hw))
    label_path = folder / "labels" / "train" / "图 1.txt"
    return label_path.read_text(encoding="utf-8"), read_yolo_obb(label_path).quads


def test_pictures_without_a_label_file_are_counted_and_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    """Of labels in the wrong folder every picture became one without objects."""
    changed: Counter[str] = Counter()
    folder = yolo_folder(tmp_path / "some", {"train/a": YOLO_LINE, "val/b": None})
    assert len(read_yolo_folder(folder, changed=changed).pictures) == 2
    assert changed == {UNLABELLED: 1}
    folder = yolo_folder(tmp_path / "none", {"train/a": None, "val/b": None})
    with pytest.raises(ValueError, match=r"none of the 2 pictures has a label file, such as .*a\.txt"):
        read_yolo_folder(folder)


def bitmap_header(hw: tuple[int, int]) -> bytes:
    """The header of a BMP file of this size; the labels ask for no more."""
    sizes = [part.to_bytes(4, "little") for part in (40, hw[1], hw[0])]
    return b"BM" + bytes(12) + b"".join(sizes) + bytes(28)


@pytest.mark.slow
@given(
    values=st.lists(st.floats(-2, 3), min_size=8, max_size=8),
    hw=st.tuples(st.integers(1, 9999), st.integers(1, 9999)),
    digits=st.integers(3, 17),
)
@settings(deadline=None, max_examples=100)
def test_what_came_from_a_yolo_file_is_written_so_that_it_gives_the_same_pixels_for_ever(
    values: list[float], hw: tuple[int, int], digits: int
) -> None:
    fractions = np.array([float(f"{value:.{digits}g}") for value in values]).reshape(4, 2)
    quad = fractions * (hw[1], hw[0])
    with tempfile.TemporaryDirectory() as folder:
        try:
            text, quads = write_and_read(Path(folder), Row(quad, "car", 0, 1), hw=hw)
        except LabelError:
            return  # it crosses itself
        assert np.array_equal(quads, [quad])
        assert write_and_read(Path(folder), Row(quads[0], "car", 0, 1), hw=hw)[0] == text


@pytest.mark.slow
@given(
    values=st.lists(st.floats(-999, 19999), min_size=8, max_size=8),
    hw=st.tuples(st.integers(1000, 9999), st.integers(1000, 9999)),
)
@settings(deadline=None, max_examples=100)
def test_pixels_come_back_to_a_billionth_and_the_second_writing_is_the_first(
    values: list[float], hw: tuple[int, int]
) -> None:
    quad = np.array(values).reshape(4, 2)
    with tempfile.TemporaryDirectory() as folder:
        try:
            text, quads = write_and_read(Path(folder), Row(quad, "car", 0, 1), hw=hw)
        except LabelError:
            return
        assert np.abs(quads[0] - quad).max() < 1e-9
        again, same = write_and_read(Path(folder), Row(quads[0], "car", 0, 1), hw=hw)
        assert np.array_equal(same, quads)
        assert again == text


def test_the_text_is_the_one_that_was_read(tmp_path: Path) -> None:
    text, _ = write_and_read(tmp_path, Row(np.array(UPRIGHT), "car", 0, 1), hw=(160, 200))
    assert text == "0 0.05 0.125 0.2 0.125 0.2 0.375 0.05 0.375\n"


def test_the_published_tiles_are_written_as_they_were(tmp_path: Path, real_folder: Callable[[str], Path]) -> None:
    source = real_folder("dota8")
    annotated = read_yolo_folder(source)
    assert sum(len(item.labels.names) for item in annotated.pictures) == 133
    sized = [item._replace(hw=(1024, 1024)) for item in annotated.pictures]
    write_yolo_obb(tmp_path, annotated._replace(pictures=sized), Ledger())
    for path in sorted((source / "labels").rglob("*.txt")):
        assert (tmp_path / path.relative_to(source)).read_text() == path.read_text().rstrip("\n") + "\n"
