"""Labels go from any program to any other and come back; what got lost is told, and ends with exit code 1."""

from __future__ import annotations

import filecmp
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets import label_formats
from datasets.label_formats import SOURCES
from datasets.label_formats.rolabelimg_xml import FREE
from datasets.label_formats.xml_labels import read_rolabelimg
from DOTA_devkit.labels import read_labels
from main import main as train_and_score
from tests.label_documents import (
    CSV,
    CVAT_BOX,
    DATA_YAML,
    DOTA_LINE,
    QUAD,
    ROLABELIMG,
    UPRIGHT,
    YOLO_LINE,
    annotation,
    coco_text,
    convert,
    cvat_text,
    labelme,
    labelme_text,
    source,
    write,
    yolo_folder,
)
from tools.convert_labels import main

REPOSITORY = Path(__file__).resolve().parent.parent
LABELS = [name for name, source in SOURCES.items() if not (source.is_prediction or source.needs_pictures)]
# The others: tests/test_geojson.py, test_csv_table.py, test_detections.py.
TARGETS = [name for name in label_formats.TARGETS if name not in ("geojson", "csv", "task1", "task2")]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", [name for name in LABELS if name != "hrsc"])
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


def test_yolo_dota_yolo_is_byte_stable(tmp_path: Path, real_folder: Callable[[str], Path]) -> None:
    here, source_format = real_folder("dota8"), "yolo_obb"
    for number, target in enumerate(("dota", "yolo_obb", "dota", "yolo_obb")):
        assert convert(here, tmp_path / str(number), source_format, target, "--copy_images") == 0
        here, source_format = tmp_path / str(number), target
    for one, other in (("0", "2"), ("1", "3")):
        names = [path.relative_to(tmp_path / one) for path in (tmp_path / one).rglob("*") if path.is_file()]
        assert len(names) > 16
        assert filecmp.cmpfiles(tmp_path / one, tmp_path / other, names, shallow=False) == (names, [], [])


@pytest.mark.slow
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


def test_the_guide_has_a_row_for_every_format() -> None:
    guide = (Path(__file__).parent.parent / "tools" / "guides" / "labels.md").read_text(encoding="utf-8")
    table = {}
    for names, direction in re.findall(r"^\| (`.+?) \| ((?:in|out).*?) \|", guide, re.MULTILINE):
        for name in re.findall("`(.+?)`", names):
            table.setdefault(name, set()).update(re.findall(r"\b(?:in|out)\b", direction))
    read_and_written = {"in": SOURCES, "out": label_formats.TARGETS}
    assert table == {
        name: {direction for direction, formats in read_and_written.items() if name in formats}
        for name in {*SOURCES, *label_formats.TARGETS}
    }


BAD_LABELS = {  # of the picture 图 1; another one has a good label
    "dota": {"labelTxt/图 1.txt": "1 2 3\n", "labelTxt/b.txt": DOTA_LINE},
    "labelme": {"图 1.json": labelme_text(labelme(label="")), "b.json": labelme_text(labelme())},
    "rolabelimg": {"图 1.xml": ROLABELIMG.replace("船 船", ""), "b.xml": ROLABELIMG},
    "coco": {"a.json": coco_text(annotation(segmentation=[[1]]), annotation(id=2, image_id=9))},
    "csv": {"a.csv": f"{CSV.replace('100,50', '100,0')}b.png,30,30,8,16,0,car\n"},
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


@pytest.mark.parametrize("name", ["rolabelimg", "voc"])
def test_angles_in_degrees_are_told(tmp_path: Path, capsys: pytest.CaptureFixture, name: str) -> None:
    """They were read as radians, and nothing was said."""
    src = source(tmp_path, name)
    write(src / "Annotations" / "图 1.xml", ROLABELIMG.replace("<angle>0.", "<angle>36."))
    assert convert(src, tmp_path / "out", name, "dota") == 0
    assert "1 angles are beyond 2 pi: degrees?" in capsys.readouterr().err


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
        (["{src}", "{src}", "--from", "dota", "--to", "dota"], "lies in the source"),
        (["{src}", "{src}/labels", "--from", "dota", "--to", "yolo_obb"], "lies in the source"),
        (["{src}", "{used}", "--from", "dota", "--to", "yolo_obb"], "is in use; name a new or empty folder"),
        (["{src}/none", "{out}", "--from", "dota", "--to", "yolo_obb"], "none: no such file or folder"),
        (["{src}", "{out}", "--from", "dota", "--to", "hrsc"], "invalid choice: 'hrsc'"),
        (["{src}", "{out}", "--from", "dota"], "required: --to"),
        (["{src}", "{out}", "--from", "dota", "--to", "coco", "--images", "{src}/none"], "--images .*: no such folder"),
        (["{src}", "{out}", "--from", "yolo_obb", "--to", "coco", "--images", "{src}"], "does not go with"),
        (["{src}", "{out}", "--from", "task1", "--to", "coco", "--min_score", "2"], "between 0 and 1"),
        (["{src}", "{out}", "--from", "coco", "--to", "dota", "--min_score", "0.5"], "goes with --from task1, det"),
        (["{src}", "{out}", "--from", "coco", "--to", "dota", "--scores", "{src}"], "goes with --from task1, det"),
        (["{src}", "{out}", "--from", "coco", "--to", "task2"], "--to task2 goes with --from task1, detections, not"),
        (["{src}", "{out}", "--from", "dota", "--to", "coco", "--copy_images", "--link_images"], "not allowed with"),
        (["{src}", "{out}.geojson", "--from", "dota", "--to", "coco"], r"or a file called \*\.json"),
        (["{src}", "{out}.csv", "--from", "dota", "--to", "rolabelimg"], "not written to a file .*; name a folder"),
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


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if not source.needs_pictures])
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
    assert capsys.readouterr().out.count("1 picture, 1 of them without objects") == len(TARGETS)
    assert read_rolabelimg(tmp_path / "rolabelimg" / "xml" / "图 1.xml").names == []


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize(("target", "name"), [("coco", "All.JSON"), ("csv", "objects.CSV")])
def test_a_suffix_of_the_target_in_any_case_makes_the_destination_a_file(
    tmp_path: Path, target: str, name: str
) -> None:
    """A folder of that name got the pictures, and the file could not be written."""
    dst = tmp_path / "out" / name
    assert convert(source(tmp_path, "dota"), dst, "dota", target, "--copy_images") == 0
    assert dst.is_file()
    assert (tmp_path / "out" / "images" / "图 1.png").is_file()


def test_a_dot_in_its_name_makes_no_file_of_a_folder(tmp_path: Path) -> None:
    assert convert(source(tmp_path, "dota"), tmp_path / "v1.2", "dota", "coco") == 0
    assert (tmp_path / "v1.2" / "annotations").is_dir()
