"""Labels go from any program to any other and come back; what got lost is told, and ends with exit code 1."""

from __future__ import annotations

import filecmp
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets import label_formats
from datasets.label_formats import ON_THE_MAP, PREDICTIONS, SOURCES
from datasets.label_formats.label_folders import BLANKS
from datasets.label_formats.places import AS_EMPTY, UNLABELLED
from datasets.label_formats.rolabelimg_xml import FREE
from datasets.xml_labels import read_rolabelimg
from DOTA_devkit.labels import read_labels
from main import main as train_and_score
from tests import test_dota_folder as dota
from tests.label_documents import (
    CVAT_BOX,
    CVAT_POLYGON,
    DATA_YAML,
    DEGREES,
    HEIGHT,
    PNG,
    QUAD,
    ROLABELIMG,
    UPRIGHT,
    WIDTH,
    YOLO_LINE,
    annotation,
    coco_text,
    cvat_text,
    labelme,
    labelme_text,
    turned_jpeg,
    write,
    yolo_folder,
)
from tools import conversion_flags
from tools.convert_labels import main

REPOSITORY = Path(__file__).resolve().parent.parent
TARGETS = [name for name, target in label_formats.TARGETS.items() if not target.needs_path]  # the others: test_geojson
DOTA_LINE = "75 50 155 110 125 150 45 90 船 船 0\n"


def source(folder: Path, name: str) -> Path:
    """The turned box in a source of this format, with its picture in images/."""
    data_dir = folder / "数据"
    (data_dir / "images").mkdir(parents=True)
    (data_dir / "images" / "图 1.png").write_bytes(PNG)
    match name:
        case "yolo_obb":
            (data_dir / "images" / "图 1.png").unlink()
            return yolo_folder(data_dir, {"train/图 1": YOLO_LINE}, "train: images/train\nnames: [car, 船 船]\n")
        case "coco":
            turned = annotation(segmentation=[], bbox=[100, 100, 100, 50, -DEGREES])
            return write(data_dir / "注.json", coco_text(turned, images=[{"id": 7, "file_name": "图 1.png"}]))
        case "labelme" | "xanylabeling":
            write(data_dir / "图 1.json", labelme_text(labelme(shape_type="rotation")))
        case "cvat":
            write(data_dir / "annotations.xml", cvat_text(CVAT_BOX))
        case "rolabelimg" | "voc":
            write(data_dir / "Annotations" / "图 1.xml", ROLABELIMG)
        case "dior":
            write(data_dir / "Annotations" / "Horizontal Bounding Boxes" / "图 1.xml", "not looked at")
            write(data_dir / "Annotations" / "Oriented Bounding Boxes" / "图 1.xml", of_golden("dior.xml"))
        case "fair1m":
            write(data_dir / "labelXml" / "图 1.xml", of_golden("fair1m.xml"))
        case "dronevehicle":
            write(data_dir / "图 1.xml", of_golden("dronevehicle.xml"))
        case "soda":
            write(data_dir / "Annotations" / "图 1.json", of_golden("soda.json"))
        case "dota":
            write(data_dir / "labelTxt" / "图 1.txt", DOTA_LINE)
    return data_dir


def of_golden(name: str) -> str:
    """A file of tests/golden, which holds the same box."""
    text = (Path(__file__).parent / "golden" / name).read_text(encoding="utf-8")
    return text.replace("ship", "船 船").replace("<difficult>1", "<difficult>0")


def convert(src: Path, dst: Path, source_format: str, target: str, *flags: str) -> int:
    return main([str(src), str(dst), "--from", source_format, "--to", target, *flags])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", [name for name in SOURCES if name != "hrsc"])
def test_the_turned_box_of_every_format_comes_out_of_every_other_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str, target: str
) -> None:
    """Golden corners worked out by hand, see tests/label_documents.py."""
    assert convert(source(tmp_path, name), tmp_path / "out", name, target, "--copy_images") == 0
    back = tmp_path / "out"
    if target != "dota":
        back = tmp_path / "back"
        assert convert(tmp_path / "out", back, target, "dota") == 0
    labels = read_labels(back / "labelTxt" / "图 1.txt")
    assert np.abs(labels.quads[0] - QUAD).max() < 1e-6
    assert labels.names == ["船 船"]
    assert "left out" not in capsys.readouterr().out


def test_the_names_on_the_command_line_are_those_of_the_registry() -> None:
    assert (*SOURCES, *ON_THE_MAP, *PREDICTIONS) == conversion_flags.SOURCES
    assert (*ON_THE_MAP,) == conversion_flags.ON_THE_MAP
    assert (*PREDICTIONS,) == conversion_flags.PREDICTIONS
    assert (*label_formats.TARGETS,) == conversion_flags.TARGETS


def test_what_is_written_holds_pictures_classes_and_splits(tmp_path: Path) -> None:
    src = yolo_folder(tmp_path / "数据", {"train/图 1": YOLO_LINE, "train/b": None, "val/c": ""})
    assert convert(src, tmp_path / "dota", "yolo_obb", "dota", "--link_images") == 0
    lists = {path.name: path.read_text("utf-8") for path in (tmp_path / "dota").glob("*.txt")}
    assert lists == {"classes.txt": "car\n船 船\n", "train.txt": "b\n图 1\n", "val.txt": "c\n"}
    assert (tmp_path / "dota" / "labelTxt" / "b.txt").read_text() == "", "no label file is no object in YOLO"
    assert (tmp_path / "dota" / "images" / "图 1.png").resolve() == src / "images" / "train" / "图 1.png"
    assert convert(tmp_path / "dota", tmp_path / "back", "dota", "yolo_obb", "--copy_images") == 0
    for name in ("labels/train/图 1.txt", "images/train/图 1.png", "labels/val/c.txt", "images/val/c.png"):
        assert (tmp_path / "back" / name).read_bytes() == (src / name).read_bytes()


def test_missing_test_pictures_of_yolo_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    src = yolo_folder(tmp_path / "数据", {"train/a": "", "val/b": ""}, f"{DATA_YAML}test: images/test\n")
    assert convert(src, tmp_path / "out", "yolo_obb", "dota") == 0
    assert "1 entries of data.yaml for test pictures were passed over, such as" in capsys.readouterr().err


def test_the_pictures_of_a_coco_folder_of_roboflow_are_found_beside_its_files(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        image = {"id": 7, "file_name": f"{split}.png"}
        write(tmp_path / "in" / split / "_annotations.coco.json", coco_text(annotation(), images=[image]))
        (tmp_path / "in" / split / f"{split}.png").write_bytes(PNG)
    assert convert(tmp_path / "in", tmp_path / "out", "coco", "yolo_obb", "--copy_images") == 0
    for path in ("train/train", "val/valid"):
        assert (tmp_path / "out" / "images" / f"{path}.png").read_bytes() == PNG
        assert (tmp_path / "out" / "labels" / f"{path}.txt").read_text("utf-8") == YOLO_LINE


def test_yolo_dota_yolo_is_byte_stable(tmp_path: Path, real_folder: Callable[[str], Path]) -> None:
    here, source_format = real_folder("dota8"), "yolo_obb"
    for number, target in enumerate(("dota", "yolo_obb", "dota", "yolo_obb")):
        assert convert(here, tmp_path / str(number), source_format, target, "--copy_images") == 0
        here, source_format = tmp_path / str(number), target
    for one, other in (("0", "2"), ("1", "3")):
        names = [path.relative_to(tmp_path / one) for path in (tmp_path / one).rglob("*") if path.is_file()]
        assert len(names) > 16
        assert filecmp.cmpfiles(tmp_path / one, tmp_path / other, names, shallow=False) == (names, [], [])


def test_a_folder_of_ultralytics_trains_as_it_is_and_goes_back(
    thin_backbones: None, dota_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    drawn = dota_folder("画", names=("图 1", "b c", "d", "e"), lists={"train": ["图 1", "b c"], "val": ["d", "e"]})
    yolo = tmp_path / "数据"
    assert convert(drawn, yolo, "dota", "yolo_obb", "--copy_images") == 0
    assert sorted(path.name for path in yolo.iterdir()) == ["data.yaml", "images", "labels"]
    before = {path: path.stat().st_mtime_ns for path in yolo.rglob("*")}
    small = ["--input_h", "64", "--input_w", "64", "--num_workers", "0", "--tensorboard", "off"]
    run = ["--data_dir", str(yolo), "--pretrained", "none", "--num_epoch", "1", "--out", str(tmp_path / "跑"), *small]
    assert train_and_score(["--dataset", "yolo_obb", *run]) == 0, capsys.readouterr().err
    assert train_and_score(["--phase", "eval", "--resume", str(tmp_path / "跑"), "--num_workers", "0"]) == 0
    assert json.loads((tmp_path / "跑" / "metrics.json").read_text("utf-8"))["num_truths"] > 0
    assert {path: path.stat().st_mtime_ns for path in yolo.rglob("*")} == before, "nothing is written beside the data"
    assert convert(yolo, tmp_path / "back", "yolo_obb", "dota") == 0
    for path in (drawn / "labelTxt").iterdir():
        one, other = read_labels(path), read_labels(tmp_path / "back" / "labelTxt" / path.name)
        assert one.names == other.names
        assert np.abs(one.quads - other.quads).max(initial=0) < 1e-3


@pytest.mark.parametrize("target", ["dota", "coco", "yolo_obb"])
@pytest.mark.parametrize("name", ["labelme", "cvat", "voc"])
def test_labels_of_a_turned_picture_do_not_go_along_with_it_as_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str, target: str
) -> None:
    """labelme and CVAT show it turned, so that the boxes would lie elsewhere; it used to pass without a word."""
    folder = source(tmp_path, name)
    (folder / "images" / "图 1.png").unlink()
    for orientation, code in ((6, 1), (1, 0)):
        (folder / "images" / "图 1.jpg").write_bytes(turned_jpeg(orientation))
        assert convert(folder, tmp_path / f"out{orientation}", name, target) == code
        assert ("图 1.jpg:1: is turned by EXIF (orientation 6)" in capsys.readouterr().err) == bool(code)


@pytest.mark.parametrize("target", ["dota", "coco", "yolo_obb", "labelme", "xanylabeling"])
@pytest.mark.parametrize("name", ["coco", "rolabelimg"])
def test_labels_that_tell_the_size_of_the_turned_picture_do_not_go_along_with_it_as_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str, target: str
) -> None:
    """COCO and XML come from any program: what they tell says whether it turned the picture; it was not looked at."""
    folder = source(tmp_path, name)
    images = folder / "images" if folder.is_dir() else folder.parent / "images"
    (images / "图 1.png").unlink()
    (images / "图 1.jpg").write_bytes(turned_jpeg(6))
    for number, (height, width) in enumerate(((WIDTH, HEIGHT), (HEIGHT, WIDTH))):
        if name == "coco":
            image = {"id": 7, "file_name": "图 1.jpg", "height": height, "width": width}
            write(folder, coco_text(annotation(), images=[image]))
        else:
            size = f"<annotation><size><height>{height}</height><width>{width}</width></size>"
            write(folder / "Annotations" / "图 1.xml", ROLABELIMG.replace("<annotation>", size))
        is_refused = number == 0 or target not in ("dota", "coco")  # the others' programs turn any
        assert convert(folder, tmp_path / f"out{number}", name, target) == int(is_refused)
        assert ("图 1.jpg:1: is turned by EXIF (orientation 6)" in capsys.readouterr().err) == is_refused


def test_pictures_that_are_not_needed_do_not_stop_a_conversion(tmp_path: Path) -> None:
    folder = source(tmp_path, "labelme")
    for suffix in (".jpg", ".png"):
        (folder / "images" / f"x{suffix}").write_bytes(PNG)
    assert convert(folder, tmp_path / "out", "labelme", "dota") == 0


def test_faults_are_told_by_kind_and_end_with_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    circle = labelme(shape_type="circle", points=QUAD[:2])
    write(tmp_path / "in" / "a.json", labelme_text(labelme(), circle, circle, circle))
    write(tmp_path / "in" / "b.json", "{")
    assert convert(tmp_path / "in", tmp_path / "out", "labelme", "dota") == 1
    out, err = capsys.readouterr()
    assert "and 1 more: a shape of kind 'circle' is no box" in err
    assert "b.json:1: is not JSON" in err
    assert "left out without being asked for: 0 objects or pictures, and 4 faults" in out
    assert [path.name for path in (tmp_path / "out" / "labelTxt").iterdir()] == ["a.txt"]


def test_what_a_format_cannot_hold_is_told_once_with_its_count(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    lines = [DOTA_LINE.replace(" 0\n", f" {flag}\n") for flag in (0, 1, 2)] + [DOTA_LINE.replace("船 船", "DontCare")]
    src = source(tmp_path, "dota")
    write(src / "labelTxt" / "图 1.txt", "".join([*lines, "0 0 10 0 10 5 1 5 船 船 0\n"]))
    assert convert(src, tmp_path / "1", "dota", "yolo_obb") == 1
    out, err = capsys.readouterr()
    assert "left out: 2 ignore regions" in err
    assert "1 difficult objects became normal ones" in err
    assert "2 objects or pictures, and 0 faults" in out
    assert convert(src, tmp_path / "2", "dota", "yolo_obb", "--drop_ignored") == 0
    assert convert(src, tmp_path / "3", "dota", "rolabelimg") == 0
    assert f"1 {FREE}" in capsys.readouterr().err
    assert convert(src, tmp_path / "4.json", "dota", "coco") == 0
    assert convert(tmp_path / "4.json", tmp_path / "5", "coco", "dota") == 0
    assert (tmp_path / "5" / "labelTxt" / "图 1.txt").read_text("utf-8").startswith("".join(lines))


def test_class_names_with_blanks_are_told_where_dota_is_written(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """DOTA_devkit and mmrotate read of `storage tank 0` the class `storage`."""
    src = source(tmp_path, "dota")
    lines = [DOTA_LINE.replace("船 船", name) for name in ("storage tank", "storage tank", "ship", "tennis court")]
    write(src / "labelTxt" / "图 1.txt", "".join(lines))
    assert convert(src, tmp_path / "out", "dota", "dota") == 0
    assert f"warning: 2 {BLANKS}" in capsys.readouterr().err
    assert convert(src, tmp_path / "coco", "dota", "coco") == 0
    assert "hold blanks" not in capsys.readouterr().err


def test_a_list_of_classes_gives_their_numbers_and_leaves_others_out(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    src = source(tmp_path, "dota")
    write(src / "labelTxt" / "图 1.txt", DOTA_LINE + DOTA_LINE.replace("船 船", "cart"))
    listed = write(tmp_path / "classes.txt", "boat\ncar\n船 船\n")
    assert convert(src, tmp_path / "out", "dota", "yolo_obb", "--classes", str(listed)) == 1
    assert "class 'cart' is not in the list of --classes; did you mean 'car'?" in capsys.readouterr().err
    assert (tmp_path / "out" / "labels" / "train" / "图 1.txt").read_text("utf-8") == "2" + YOLO_LINE[1:]


BAD_LABELS = {  # of the picture 图 1; another one has a good label
    "dota": {"labelTxt/图 1.txt": "1 2 3\n", "labelTxt/b.txt": DOTA_LINE},
    "labelme": {"图 1.json": labelme_text(labelme(label="")), "b.json": labelme_text(labelme())},
    "rolabelimg": {"图 1.xml": ROLABELIMG.replace("船 船", ""), "b.xml": ROLABELIMG},
    "coco": {"a.json": coco_text(annotation(segmentation=[[1]]), annotation(id=2, image_id=9))},
    "cvat": {
        "annotations.xml": cvat_text('<box label="car"/>').replace(
            "</annotations>", f'<image id="1" name="b.png">{CVAT_BOX}</image></annotations>'
        )
    },
}


@pytest.mark.parametrize("name", [*BAD_LABELS, "yolo_obb"])
def test_a_picture_of_which_no_label_can_be_used_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str
) -> None:
    """It became one without objects, which teaches that what it shows is background."""
    src = tmp_path / "src"
    if name == "yolo_obb":
        yolo_folder(src, {"train/图 1": "9 0.1\n", "val/b": YOLO_LINE})
    for place, text in BAD_LABELS.get(name, {}).items():
        write(src / place, text)
    assert convert(src, tmp_path / "out", name, "dota") == 1
    assert "no label of '图 1' can be used, and the picture is left out" in capsys.readouterr().err
    (path,) = (tmp_path / "out" / "labelTxt").iterdir()
    assert path.stem in ("b", "b.c")
    assert len(read_labels(path).names) == 1


def test_dota_classes_keep_the_order_of_their_version(tmp_path: Path) -> None:
    src = source(tmp_path, "dota")
    write(src / "labelTxt" / "图 1.txt", DOTA_LINE.replace("船 船", "ship"))
    assert convert(src, tmp_path / "out", "dota", "yolo_obb") == 0
    assert (tmp_path / "out" / "labels" / "train" / "图 1.txt").read_text("utf-8") == "6" + YOLO_LINE[1:]


def test_pictures_of_unknown_size_are_faults_where_fractions_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    src = source(tmp_path, "dota")
    (src / "images" / "图 1.png").rename(tmp_path / "图 1.png")
    assert convert(src, tmp_path / "1", "dota", "yolo_obb") == 1
    assert "the size of the picture is not known" in capsys.readouterr().err
    assert convert(src, tmp_path / "2", "dota", "yolo_obb", "--images", str(tmp_path)) == 0
    assert convert(src, tmp_path / "3", "dota", "rolabelimg") == 0
    assert "1 pictures were not found, such as 图 1; name their folder with --images" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["rolabelimg", "voc"])
def test_angles_in_degrees_are_told(tmp_path: Path, capsys: pytest.CaptureFixture, name: str) -> None:
    """They were read as radians, and nothing was said."""
    src = source(tmp_path, name)
    write(src / "Annotations" / "图 1.xml", ROLABELIMG.replace("<angle>0.", "<angle>36."))
    assert convert(src, tmp_path / "out", name, "dota") == 0
    assert "1 angles are beyond 2 pi: degrees?" in capsys.readouterr().err


def test_where_no_links_can_be_made_pictures_are_copied_and_called_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    src = source(tmp_path, "cvat")
    (src / "images" / "子").mkdir()
    (src / "images" / "图 1.png").rename(src / "images" / "子" / "图 1.png")
    assert convert(src, tmp_path / "out", "cvat", "coco", "--link_images") == 0
    assert "1 pictures were copied, because the system allows no links" in capsys.readouterr().err
    document = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text("utf-8"))
    assert (tmp_path / "out" / "images" / document["images"][0]["file_name"]).read_bytes() == PNG


def test_sizes_that_differ_from_the_pictures_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    src = source(tmp_path, "cvat")
    write(src / "annotations.xml", cvat_text(CVAT_POLYGON).replace('width="200"', 'width="100"'))
    assert convert(src, tmp_path / "out", "cvat", "coco") == 0
    assert "1 pictures have another size than their labels say" in capsys.readouterr().err
    document = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text("utf-8"))
    assert document["images"] == [{"id": 1, "file_name": "图 1.png", "height": 160, "width": 200}]


def test_predictions_become_boxes_to_correct(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flat = [value for corner in QUAD for value in corner]
    boxes = [{"class": "car", "score": score, "quad": flat} for score in (0.9, 0.29, 0.1)]
    record = {"image": "图 1.png", "height": 160, "width": 200, "boxes": boxes}
    write(tmp_path / "results" / "detections.json", json.dumps([record]))
    for name in ("0.9", "0.29"):
        write(tmp_path / "results" / f"Task1_{name}.txt", f"图 1 {name} {' '.join(map(str, flat))}\n")
    assert convert(tmp_path / "results", tmp_path / "1", "detections", "rolabelimg") == 0
    assert "2 boxes with a score below 0.3 were left out" in capsys.readouterr().err
    labels = read_rolabelimg(tmp_path / "1" / "xml" / "图 1.xml")
    assert np.abs(labels.quads - QUAD).max() < 1e-6
    assert convert(tmp_path / "results", tmp_path / "2", "task1", "rolabelimg", "--min_score", "0.2") == 0
    assert read_rolabelimg(tmp_path / "2" / "xml" / "图 1.xml").names == ["0.29", "0.9"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["{src}", "{src}", "--from", "dota", "--to", "dota"], "lies in the data folder"),
        (["{src}", "{src}/labels", "--from", "dota", "--to", "yolo_obb"], "lies in the data folder"),
        (["{src}", "{used}", "--from", "dota", "--to", "yolo_obb"], "is in use; name a new or empty folder"),
        (["{src}/none", "{out}", "--from", "dota", "--to", "yolo_obb"], "none: no such file or folder"),
        (["{src}", "{out}", "--from", "dota", "--to", "hrsc"], "invalid choice: 'hrsc'"),
        (["{src}", "{out}", "--from", "dota"], "required: --to"),
        (["{src}", "{out}", "--from", "dota", "--to", "coco", "--images", "{src}/none"], "--images .*: no such folder"),
        (["{src}", "{out}", "--from", "yolo_obb", "--to", "coco", "--images", "{src}"], "does not go with"),
        (["{src}", "{out}", "--from", "task1", "--to", "coco", "--min_score", "2"], "between 0 and 1"),
        (["{src}", "{out}", "--from", "coco", "--to", "dota", "--min_score", "0.5"], "goes with --from task1, det"),
        (["{src}", "{out}", "--from", "coco", "--to", "dota", "--scores", "{src}"], "goes with --from task1, det"),
        (["{src}", "{out}", "--from", "dota", "--to", "coco", "--copy_images", "--link_images"], "not allowed with"),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture, flags: list[str], sentence: str
) -> None:
    src, used = source(tmp_path, "dota"), write(tmp_path / "used" / "a.txt", "").parent
    places = {"src": src, "used": used, "out": tmp_path / "out"}
    assert main([flag.format(**places) for flag in flags]) == 2
    assert re.search(f"^error: .*{sentence}", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [*SOURCES, *PREDICTIONS])
def test_a_source_of_another_format_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture, name: str) -> None:
    write(tmp_path / "in" / "readme.md", "nothing")
    assert convert(tmp_path / "in", tmp_path / "out", name, "dota") == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "out").exists()


def test_a_source_without_objects_gives_negative_pictures(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    src = source(tmp_path, "dota")
    write(src / "labelTxt" / "图 1.txt", "")
    for target in TARGETS:
        assert convert(src, tmp_path / target, "dota", target) == 0
    assert capsys.readouterr().out.count("1 pictures, 1 of them without objects") == len(TARGETS)
    assert read_rolabelimg(tmp_path / "rolabelimg" / "xml" / "图 1.xml").names == []


def test_hit_uav_comes_back_to_the_last_byte(tmp_path: Path, real_folder: Callable[[str], Path]) -> None:
    data_dir = real_folder("hit-uav")
    names = (data_dir / "val.txt").read_text().split()[:40]
    for name in names:
        write(tmp_path / "in" / f"{name}.xml", (data_dir / "xml" / f"{name}.xml").read_text("utf-8"))
    images = ("--images", str(data_dir))
    assert convert(tmp_path / "in", tmp_path / "0", "rolabelimg", "rolabelimg", *images) == 0
    for target in ("dota", "coco", "yolo_obb"):
        asked = ("--drop_ignored",) * (target == "yolo_obb")
        assert convert(tmp_path / "0", tmp_path / target, "rolabelimg", target, *images, *asked) == 0
    for target in ("dota", "coco"):
        assert convert(tmp_path / target, tmp_path / f"{target}_back", target, "rolabelimg", *images) == 0
        files = [f"xml/{name}.xml" for name in names]
        assert filecmp.cmpfiles(tmp_path / "0", tmp_path / f"{target}_back", files, shallow=False)[0] == files
    for name in names:
        before = read_rolabelimg(data_dir / "xml" / f"{name}.xml").quads
        after = read_labels(tmp_path / "dota" / "labelTxt" / f"{name}.txt").quads
        assert np.abs(before - after).max(initial=0) < 1e-6


def test_the_command_explains_its_conventions_and_needs_no_torch() -> None:
    program = (
        "import sys; from tools.convert_labels import main; code = main(sys.argv[1:]); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-m", "tools.convert_labels", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "degrees counter-clockwise" in " ".join(done.stdout.split())
    command = [sys.executable, "-c", program, "none", "out", "--from", "dota", "--to", "coco"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_an_upright_box_stays_upright(tmp_path: Path) -> None:
    src = source(tmp_path, "dota")
    write(src / "labelTxt" / "图 1.txt", " ".join(str(v) for corner in UPRIGHT for v in corner) + " car 0\n")
    assert convert(src, tmp_path / "out", "dota", "rolabelimg") == 0
    assert "<angle>0.0</angle>" in (tmp_path / "out" / "xml" / "图 1.xml").read_text("utf-8")


def test_only_a_suffix_of_the_target_makes_the_destination_a_file(tmp_path: Path) -> None:
    assert convert(source(tmp_path, "dota"), tmp_path / "out.geojson", "dota", "coco", "--copy_images") == 0
    assert (tmp_path / "out.geojson" / "images" / "图 1.png").is_file()
    assert (tmp_path / "out.geojson" / "annotations").is_dir()


def test_the_parts_that_dota_comes_in_are_converted_with_their_splits(tmp_path: Path) -> None:
    for part, name, labels in (("train", "a", "labelTxt"), ("val", "b", "annfiles")):
        dota.part(tmp_path / "dota" / part, [name], labels)
    assert convert(tmp_path / "dota", tmp_path / "yolo", "dota", "yolo_obb", "--copy_images") == 0
    for split, name in (("train", "a"), ("val", "b")):
        assert (tmp_path / "yolo" / "labels" / split / f"{name}.txt").read_text("utf-8").count("\n") == 1
        assert (tmp_path / "yolo" / "images" / split / f"{name}.png").is_file()
    assert convert(tmp_path / "dota" / "val", tmp_path / "coco.json", "dota", "coco") == 0


def test_classes_are_renamed_and_made_one(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    src = source(tmp_path, "dota")
    lines = [DOTA_LINE.replace("船 船", name) for name in ("small-vehicle", "cart", "ship")]
    write(src / "labelTxt" / "图 1.txt", "".join(lines))
    flags = ("--rename", "small-vehicle=vehicle", " cart = vehicle ")
    assert convert(src, tmp_path / "1", "dota", "yolo_obb", *flags) == 0
    numbers = [line.split()[0] for line in (tmp_path / "1" / "labels" / "train" / "图 1.txt").read_text().splitlines()]
    assert numbers == ["1", "1", "0"]  # ship, vehicle
    assert convert(src, tmp_path / "2", "dota", "yolo_obb", "--rename", "*=object") == 0
    assert "object" in (tmp_path / "2" / "data.yaml").read_text()
    capsys.readouterr()
    assert convert(src, tmp_path / "3", "dota", "dota", "--rename", "Ships=boat") == 2
    assert capsys.readouterr().err == "error: --rename: no class 'Ships' to rename; did you mean 'ship'?\n"
    for bad in (["ship"], ["=boat"], ["ship=", "cart=x"], ["ship=a", "ship=b"]):
        assert convert(src, tmp_path / "3", "dota", "dota", "--rename", *bad) == 2
    assert not (tmp_path / "3").exists()


def cameras(folder: Path, suffix: str, text: str | None) -> None:
    """Two folders with a picture of one name in each, 10 and 90 bright, and its label file beside it; in cam2 a second
    picture without one."""
    for camera, shade, names in (("cam1", 10, "1"), ("cam2", 90, "12")):
        (folder / camera).mkdir(parents=True)
        for name in names:
            cv2.imwrite(str(folder / camera / f"{name}.png"), np.full((HEIGHT, WIDTH), shade, np.uint8))
        if text is not None:
            write(folder / camera / f"1{suffix}", text)


def assert_cameras_apart(dst: Path, *names: str) -> None:
    assert sorted(path.stem for path in (dst / "labelTxt").iterdir()) == ["cam1_1", "cam2_1", *names]
    shades = [cv2.imread(str(dst / "images" / f"cam{number}_1.png"))[0, 0, 0] for number in (1, 2)]
    assert shades == [10, 90]
    assert all(len(read_labels(dst / "labelTxt" / f"cam{number}_1.txt").names) == 1 for number in (1, 2))


def test_pictures_of_two_cameras_with_the_same_names_come_along(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A CVAT task of folders: cam1/1.png and cam2/1.png."""
    cameras(tmp_path / "pictures", "", None)
    first = cvat_text(CVAT_BOX, image='name="cam1/1.png"')
    second = cvat_text(CVAT_BOX, image='name="cam2/1.png"').split("</meta>")[-1]
    path = write(tmp_path / "annotations.xml", first.replace("</annotations>", "") + second)
    flags = ("--images", str(tmp_path / "pictures"), "--copy_images")
    assert convert(path, tmp_path / "out", "cvat", "dota", *flags) == 0
    assert "2 pictures are called by folder and name" in capsys.readouterr().err
    assert_cameras_apart(tmp_path / "out")


@pytest.mark.parametrize(
    ("source", "suffix", "text"), [("rolabelimg", ".xml", ROLABELIMG), ("labelme", ".json", labelme_text(labelme()))]
)
@pytest.mark.parametrize("kept", [False, True])
def test_label_files_in_folders_of_cameras_are_read_and_pictures_without_one_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture, source: str, suffix: str, text: str, kept: bool
) -> None:
    """Such folders held "no *.xml", and pictures without a label file were left out without a word."""
    cameras(tmp_path / "src", suffix, text)
    flags = ("--link_images", *(["--unlabelled", "empty"] if kept else []))
    assert convert(tmp_path / "src", tmp_path / "out", source, "dota", *flags) == (0 if kept else 1)
    said = capsys.readouterr().err
    assert "2 pictures are called by folder and name" in said
    assert f"1 {AS_EMPTY if kept else UNLABELLED}" in said
    assert_cameras_apart(tmp_path / "out", *(["cam2_2"] if kept else []))
    if kept:
        assert read_labels(tmp_path / "out" / "labelTxt" / "cam2_2.txt").names == []
        assert (tmp_path / "out" / "images" / "cam2_2.png").exists()


def test_cameras_of_ultralytics_are_told_apart(tmp_path: Path) -> None:
    yaml = DATA_YAML.replace("images/train", "images/cam1").replace("images/val", "images/cam2")
    src = yolo_folder(tmp_path / "src", {"cam1/1": YOLO_LINE, "cam2/1": YOLO_LINE}, yaml)
    assert convert(src, tmp_path / "out", "yolo_obb", "dota", "--link_images") == 0
    assert (tmp_path / "out" / "train.txt").read_text() == "cam1_1\n"
    assert (tmp_path / "out" / "val.txt").read_text() == "cam2_1\n"
    assert sorted(path.name for path in (tmp_path / "out" / "images").iterdir()) == ["cam1_1.png", "cam2_1.png"]


def labelled(folder: Path, labels: dict[str, str | None]) -> Path:
    """images/ and labelTxt/, where None stands for no label file."""
    for name, text in labels.items():
        path = folder / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
        if text is not None:
            write(folder / "labelTxt" / f"{name}.txt", text)
    return folder


def test_pictures_without_a_label_file_come_into_the_split_of_their_list_or_folder(tmp_path: Path) -> None:
    """They came into no list, so that nobody trained on them."""
    flat = labelled(tmp_path / "flat", {"a": DOTA_LINE, "b": DOTA_LINE, "c": None, "d": None})
    write(flat / "train.txt", "a\nc.png\n")
    write(flat / "val.txt", "b\n")
    assert convert(flat, tmp_path / "1", "dota", "dota", "--link_images", "--unlabelled", "empty") == 0
    lists = [(tmp_path / "1" / f"{name}.txt").read_text().split() for name in ("train", "val")]
    assert lists == [["a", "c"], ["b"]]
    for part, names in (("train", "au"), ("val", "bv")):
        labelled(tmp_path / "parts" / part, {names[0]: DOTA_LINE, names[1]: None})
    assert convert(tmp_path / "parts", tmp_path / "2", "dota", "dota", "--link_images", "--unlabelled", "empty") == 0
    lists = [(tmp_path / "2" / f"{name}.txt").read_text().split() for name in ("train", "val")]
    assert lists == [["a", "u"], ["b", "v"]]
    assert convert(tmp_path / "parts", tmp_path / "3", "dota", "dota") == 1
    assert convert(tmp_path / "parts", tmp_path / "4", "dota", "dota", "--unlabelled", "leave_out") == 0


def test_folders_in_folders_and_their_lists_are_told_apart(tmp_path: Path) -> None:
    for camera in ("cam1", "cam2"):
        cameras_folder = tmp_path / "src" / camera / "day1"
        cameras_folder.mkdir(parents=True)
        for name in "12":
            cv2.imwrite(str(cameras_folder / f"{name}.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
        write(cameras_folder / "1.xml", ROLABELIMG)
    write(tmp_path / "src" / "train.txt", "cam1/day1/1.png\ncam1/day1/2.png\n")
    write(tmp_path / "src" / "val.txt", "cam2/day1/1.png\n")
    assert (
        convert(tmp_path / "src", tmp_path / "1", "rolabelimg", "dota", "--link_images", "--unlabelled", "empty") == 0
    )
    names = sorted(path.stem for path in (tmp_path / "1" / "labelTxt").iterdir())
    assert names == ["cam1_day1_1", "cam1_day1_2", "cam2_day1_1", "cam2_day1_2"]
    lists = [(tmp_path / "1" / f"{name}.txt").read_text().split() for name in ("train", "val")]
    assert lists == [["cam1_day1_1", "cam1_day1_2"], ["cam2_day1_1"]]
    for camera in ("cam1", "cam2"):  # pictures and labels in trees of their own
        xml = tmp_path / "src" / camera / "day1" / "1.xml"
        write(tmp_path / "xml" / camera / "day1" / "1.xml", xml.read_text("utf-8"))
        xml.unlink()
    flags = ("--images", str(tmp_path / "src"), "--copy_images")
    assert convert(tmp_path / "xml", tmp_path / "2", "rolabelimg", "dota", *flags) == 0
    assert sorted(path.name for path in (tmp_path / "2" / "images").iterdir()) == ["cam1_day1_1.png", "cam2_day1_1.png"]


def test_pictures_whose_label_file_is_damaged_are_not_taken_for_empty_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "src").mkdir()
    for name in "ab":
        cv2.imwrite(str(tmp_path / "src" / f"{name}.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    write(tmp_path / "src" / "a.xml", ROLABELIMG)
    write(tmp_path / "src" / "b.xml", ROLABELIMG[:40])
    assert convert(tmp_path / "src", tmp_path / "out", "rolabelimg", "dota", "--unlabelled", "empty") == 1
    assert [path.name for path in (tmp_path / "out" / "labelTxt").iterdir()] == ["a.txt"]
    assert "without a label file" not in capsys.readouterr().err
    assert convert(tmp_path / "src", tmp_path / "2", "yolo_obb", "dota", "--unlabelled", "empty") == 2
