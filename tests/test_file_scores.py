"""Labels and results are brought together by their names; what makes a score low without being wrong is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from DOTA_devkit.boxes import outer_quads
from tests.result_files import BESIDE, FAR, SQUARE, Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_without_a_list_the_classes_are_those_of_labels_and_results(files: Files) -> None:
    files.label("a", f"{SQUARE} ship 0", f"{BESIDE} kayak 0", f"{FAR} DontCare 0")
    files.result("plane", f"a 0.9 {SQUARE}")
    files.result("ship", f"a 0.9 {SQUARE}")
    metrics = files.metrics()
    assert list(metrics["classes"]) == ["plane", "ship", "kayak"]
    assert [item["AP50"] for item in metrics["classes"].values()] == [None, 1.0, 0.0]
    assert metrics["mAP50"] == 0.5


@pytest.mark.parametrize(("version", "count"), [("1.0", 15), ("1.5", 16), ("2.0", 18)])
def test_a_version_names_the_classes(files: Files, version: str, count: int) -> None:
    files.label("a", f"{SQUARE} ship 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    assert len(files.metrics("--version", version)["classes"]) == count


def test_a_class_file_may_have_bom_crlf_tabs_and_blank_lines(files: Files) -> None:
    files.label("a", f"{SQUARE} fishing  boat 0")
    files.result("fishing boat", f"a 0.9 {SQUARE}")
    path = files.folder / "classes.txt"
    path.write_bytes("\ufefffishing\t boat \r\n\r\n小船\r\n".encode())
    assert list(files.metrics("--classes", str(path))["classes"]) == ["fishing boat", "小船"]


def test_a_label_of_no_known_class_names_file_line_and_nearest(files: Files, capsys: pytest.CaptureFixture) -> None:
    path = files.label("a", f"{SQUARE} ship 0", f"{BESIDE} shop 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    assert files.run("--version", "1.0") == 1
    assert capsys.readouterr().err == (
        f"error: {path}:2: class 'shop' is not among the classes; did you mean 'ship'? correct the line, or choose "
        "other classes with --version or --classes\n"
    )


def test_results_of_no_known_class_name_the_file(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.label("a", f"{SQUARE} ship 0")
    path = files.result("shop", f"a 0.9 {SQUARE}")
    assert files.run("--version", "1.0") == 1
    assert f"error: {path}:1: class 'shop' is not among the classes" in capsys.readouterr().err


def test_bad_lines_can_be_left_out_and_are_counted(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.label("a", f"{SQUARE} ship 0", f"{BESIDE} shop 0", "1 2 3 ship 0")
    files.result("ship", f"a 0.9 {SQUARE}", f"a nan {SQUARE}")
    assert files.metrics("--classes", files.list("ship"), "--on_bad_line", "skip")["mAP50"] == 1.0
    said = capsys.readouterr().err
    assert said.count("warning: ") == 4
    assert "warning: 3 bad lines left out" in said


def test_a_result_file_of_a_class_that_no_label_has_is_told(files: Files, capsys: pytest.CaptureFixture) -> None:
    """A copy of a file, and one whose name is spelt otherwise, were classes of their own."""
    files.label("a", f"{SQUARE} small-vehicle 0")
    files.result("small_vehicle", f"a 0.9 {SQUARE}")
    files.result("small-vehicle", f"a 0.9 {SQUARE}")
    files.result("plane")  # of DOTA's, which need not be in every set
    files.metrics()
    said = capsys.readouterr().err
    assert "warning: 1 result files are of classes that no label has, such as 'small_vehicle'; did you mean " in said
    (files.results / "Task1_small_vehicle.txt").unlink()
    files.metrics()
    assert "no label has" not in capsys.readouterr().err


def test_a_picture_of_which_no_label_can_be_used_does_not_count(files: Files, capsys: pytest.CaptureFixture) -> None:
    """It counted as one without objects, on which every detection is a false alarm; phase eval leaves it out."""
    files.label("a", f"{SQUARE} ship 0")
    files.label("b", "1 2 3 ship 0")
    files.result("ship", f"a 0.8 {SQUARE}", f"b 0.9 {SQUARE}")
    metrics = files.metrics("--on_bad_line", "skip")
    assert (metrics["mAP50"], metrics["num_images"]) == (1.0, 1)
    assert "b is left out" in capsys.readouterr().err
    files.label("a", "1 2 3 ship 0")
    assert files.run("--on_bad_line", "skip") == 1
    assert "of none of the 2 label files can a label be used" in capsys.readouterr().err


def test_an_empty_class_list_is_refused(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.label("a", f"{SQUARE} ship 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    path = files.list("", "  ")
    assert files.run("--classes", path) == 1
    assert capsys.readouterr().err == f"error: {path}:1: the list holds no class name; write one a line\n"


def test_a_list_that_is_not_utf_8_is_refused(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.label("a", f"{SQUARE} ship 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    path = files.folder / "classes.txt"
    path.write_bytes("ship\nvölkl\n".encode("latin-1"))
    assert files.run("--classes", str(path)) == 1
    assert capsys.readouterr().err.startswith(f"error: {path}:2: the line is not UTF-8 text")


def test_an_empty_result_file_is_a_class_without_detections(files: Files) -> None:
    """Defect 24: the kit crashes on an empty class file."""
    files.label("a", f"{SQUARE} ship 0", f"{BESIDE} plane 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    files.result("plane")
    assert files.metrics()["classes"]["plane"]["AP50"] == 0.0


def test_a_class_never_seen_is_not_in_the_mean(files: Files, capsys: pytest.CaptureFixture) -> None:
    """Defect 24: a class without ground truth counted as AP 0."""
    files.label("a", f"{SQUARE} ship 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    metrics = files.metrics("--version", "1.0")
    assert metrics["classes"]["plane"]["AP50"] is None
    assert metrics["mAP50"] == 1.0
    assert capsys.readouterr().err == ""


def test_a_class_with_objects_and_no_result_file_is_warned_of(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.label("a", f"{SQUARE} ship 0", f"{BESIDE} plane 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    assert files.metrics()["mAP50"] == 0.5
    assert (
        f"warning: {files.results}: 1 classes with objects have no result file, such as 'plane'"
        in capsys.readouterr().err
    )


def test_pictures_without_detections_are_warned_of(files: Files, capsys: pytest.CaptureFixture) -> None:
    """Defect 17: a result set that covered part of the pictures scored low without a word."""
    for name in "abcd":
        files.label(name, f"{SQUARE} ship 0", f"{BESIDE} ship 1")
    files.result("ship", f"a 0.9 {SQUARE}")
    assert files.metrics()["mAP50"] == 0.25
    assert capsys.readouterr().err == (
        f"warning: {files.results}: 3 of the 4 listed pictures have no detection, such as 'b'; "
        "their 3 objects count as missed\n"
    )


def test_detections_in_unlisted_pictures_are_counted_and_left_out(files: Files, capsys: pytest.CaptureFixture) -> None:
    """Defect 24: the kit crashes on an unlisted image."""
    files.label("a", f"{SQUARE} ship 0")
    files.label("b", f"{SQUARE} ship 0")
    files.result("ship", f"b 0.95 {SQUARE}", f"c 0.94 {SQUARE}", f"b 0.93 {SQUARE}", f"a 0.9 {SQUARE}")
    metrics = files.metrics("--image_set", files.list("a"))
    assert (metrics["mAP50"], metrics["num_images"], metrics["num_unlisted"]) == (1.0, 1, 3)
    assert capsys.readouterr().err == (
        f"warning: {files.results}: 3 detections of 2 pictures that are not listed, such as 'b', are left out\n"
    )


def test_names_that_never_agree_raise_a_doubt(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.label("a", f"{SQUARE} ship 0")
    files.result("ship", f"a.png 0.9 {SQUARE}")
    assert files.metrics()["mAP50"] == 0.0
    assert "compare the names in the results with those of the label files" in capsys.readouterr().err


def test_a_list_may_have_folders_suffixes_bom_and_crlf(files: Files) -> None:
    for name in ("a", "b.png", "c", "d"):
        files.label(name, f"{SQUARE} ship 0")
    files.result("ship", *(f"{name} 0.9 {SQUARE}" for name in ("a", "b.png", "c")))
    path = files.folder / "list.txt"
    path.write_bytes("\ufeffimages/a.png\r\nb.png\r\n\r\n C:\\data\\c.TIF \r\na\r\n".encode())
    metrics = files.metrics("--image_set", str(path))
    assert (metrics["num_images"], metrics["mAP50"]) == (3, 1.0)


def test_a_missing_label_file_is_an_error_or_an_empty_picture(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.label("a", f"{SQUARE} ship 0")
    files.result("ship", f"a 0.9 {SQUARE}", f"b.x 0.95 {SQUARE}")
    path = files.list("a", "b.x", "c.png")
    assert files.run("--image_set", path) == 1
    assert capsys.readouterr().err == (
        f"error: {path}:2: no label file {files.labels}/b.x.txt (nor for 1 more of the list); write it (an empty file "
        "means no objects), remove the line, or give --missing_labels empty\n"
    )
    metrics = files.metrics("--image_set", path, "--missing_labels", "empty")
    assert (metrics["mAP50"], metrics["num_images"]) == (0.5, 3)


@pytest.mark.parametrize("name", ["my image", "my__image__1__0___0", "P0001.v2.final", "机场 停车", "a  b", "0.5 1 2"])
def test_names_may_hold_blanks_underscores_dots_and_chinese(files: Files, name: str) -> None:
    """Defects 22 and 24: names were taken apart at blanks, dots and double underscores."""
    files.label(name, f"{SQUARE} small  vehicle 0")
    files.result("small vehicle", f"{name} 0.9 {SQUARE}")
    metrics = files.metrics("--image_set", files.list(name))
    assert (metrics["mAP50"], metrics["num_unlisted"], metrics["num_missing"]) == (1.0, 0, 0)


def test_tabs_double_blanks_crlf_and_bom_are_read(files: Files) -> None:
    """Defects 8 and 24: tabs were read as no objects, two blanks crashed."""
    line = SQUARE.replace(" ", "\t") + "  ship\t0"
    (files.labels / "a.txt").write_bytes(f"\ufeffimagesource:x\r\ngsd:1\r\n{line}\r\n".encode())
    (files.results / "Task1_ship.txt").write_bytes(f"\ufeffa\t0.9  {SQUARE}\r\n\r\n".encode())
    assert files.metrics()["mAP50"] == 1.0


def test_pictures_without_any_object_give_no_number(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.label("a")
    files.result("ship", f"a 0.9 {SQUARE}")
    assert files.metrics()["mAP50"] is None
    assert "hold no object" in capsys.readouterr().err


def test_outer_boxes_of_no_quads() -> None:
    assert outer_quads(np.zeros((0, 4, 2)), whole_pixels=True).shape == (0, 4, 2)


def test_classes_that_are_not_asked_for_do_not_count_but_slips_stay_bad_lines(
    files: Files, capsys: pytest.CaptureFixture
) -> None:
    """Labels of other classes were bad lines, which only --on_bad_line skip passed over, with the truly bad ones."""
    files.label("a", f"{SQUARE} ship 0", f"{BESIDE} zebra 0", f"{BESIDE} plane 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    files.result("plane", f"a 0.9 {SQUARE}")
    listed = files.folder / "classes.txt"
    listed.write_text("ship\n")
    metrics = files.metrics("--classes", str(listed))
    assert (list(metrics["classes"]), metrics["mAP50"]) == (["ship"], 1.0)
    assert "objects of classes that are not listed do not count: zebra 1, plane 1" in capsys.readouterr().err
    path = files.label("b", f"{SQUARE} shop 0")
    assert files.run("--classes", str(listed)) == 1
    assert f"{path}:1: class 'shop' is not among the classes; did you mean 'ship'?" in capsys.readouterr().err
