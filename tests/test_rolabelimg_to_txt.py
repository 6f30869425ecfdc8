"""The converter of roLabelImg XML as a user meets it: what is written, what is counted, and the exit code."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.readers import read_classes, read_samples
from DOTA_devkit.labels import read_labels
from tests.label_documents import turned_jpeg
from tools.rolabelimg_to_txt import main

REPOSITORY = Path(__file__).resolve().parent.parent
SIZE = "<size><width>100</width><height>80</height><depth>1</depth></size>"


def rotated(cx: float, cy: float, w: float, h: float, angle: float, name: str = "ship", rest: str = "") -> str:
    box = f"<cx>{cx}</cx><cy>{cy}</cy><w>{w}</w><h>{h}</h><angle>{angle}</angle>"
    return f"<object><type>bndbox</type><name>{name}</name>{rest}<robndbox>{box}</robndbox></object>"


def upright(xmin: float, ymin: float, xmax: float, ymax: float, name: str = "ship", rest: str = "") -> str:
    box = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><type>robndbox</type><name>{name}</name>{rest}<bndbox>{box}</bndbox></object>"


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """`folder(a=[objects], ...)` writes XML files to 数据/xml 1, an object a line from line 2 on, and returns it."""

    def write(size: str = SIZE, head: str = "", **files: Sequence[str]) -> Path:
        xml_dir = tmp_path / "数据" / "xml 1"
        xml_dir.mkdir(parents=True, exist_ok=True)
        about = f"{head}<annotation><filename>other</filename><path>C:\\图\\other.jpg</path>{size}"
        for name, objects in files.items():
            text = "\n".join([about, *objects, "</annotation>\n"])
            (xml_dir / f"{name}.xml").write_text(text, encoding="utf-8")
        return xml_dir

    return write


def convert(xml_dir: Path, *flags: object) -> tuple[int, Path]:
    txt_dir = xml_dir.parent / "labelTxt 2"
    return main([str(xml_dir), str(txt_dir), *map(str, flags)]), txt_dir


def formula(cx: float, cy: float, w: float, h: float, angle: float) -> list[tuple[float, float]]:
    """The spec's: centre +- w/2 (cos, sin) +- h/2 (-sin, cos), clockwise on the screen."""
    u, v = (math.cos(angle) * w / 2, math.sin(angle) * w / 2), (-math.sin(angle) * h / 2, math.cos(angle) * h / 2)
    return [(cx + i * u[0] + j * v[0], cy + i * u[1] + j * v[1]) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


# -- what is written


def test_both_kinds_of_boxes_become_lines_in_the_order_of_the_file(folder: Callable) -> None:
    code, txt_dir = convert(
        folder(图=[upright(10.25, 20, 40, 60), rotated(50, 40, 20, 10, 0), upright(1, 2, 3, 4, "b")])
    )
    assert code == 0
    # Golden, by the formula of the spec; no header, whatever <type> says.
    assert (txt_dir / "图.txt").read_bytes().decode() == (
        "10.25 20 40 20 40 60 10.25 60 ship 0\n40 35 60 35 60 45 40 45 ship 0\n1 2 3 2 3 4 1 4 b 0\n"
    )


def test_no_digit_of_a_corner_is_lost(folder: Callable) -> None:
    """Defect 8 and 21: the converters people share truncate to whole pixels."""
    box = (123.4567, 76.5432, 33.3333, 11.1111, 2.589049)
    _, txt_dir = convert(folder(a=[rotated(*box)]))
    assert np.abs(read_labels(txt_dir / "a.txt").quads[0] - formula(*box)).max() < 1e-12


def test_names_with_blanks_and_in_any_script_are_kept(folder: Callable) -> None:
    names = ["small  vehicle", "集装箱船 大", "R&amp;D 2", "1", "ship 0"]
    code, txt_dir = convert(folder(a=[upright(1, 2, 3, 4, name) for name in names]))
    assert code == 0
    assert read_labels(txt_dir / "a.txt").names == ["small vehicle", "集装箱船 大", "R&D 2", "1", "ship 0"]


def test_difficult_is_kept_and_may_be_missing(folder: Callable) -> None:
    flags = ["", "<difficult>1</difficult>", "<difficult>2</difficult>", "<difficult></difficult>"]
    _, txt_dir = convert(folder(a=[upright(1, 2, 3, 4, rest=flag) for flag in flags]))
    assert read_labels(txt_dir / "a.txt").difficult.tolist() == [0, 1, 2, 0]


def test_xml_without_objects_becomes_an_empty_txt(folder: Callable, capsys: pytest.CaptureFixture) -> None:
    code, txt_dir = convert(folder(size="", a=[], b=[upright(1, 2, 3, 4)]))
    assert code == 0
    assert (txt_dir / "a.txt").read_bytes() == b""
    assert "2 XML files -> 2 txt files, 1 of them without objects" in capsys.readouterr().out


def test_a_file_in_another_encoding_becomes_utf_8(folder: Callable) -> None:
    xml_dir = folder()
    text = f'<?xml version="1.0" encoding="gbk"?><annotation>{upright(1, 2, 3, 4, "船")}</annotation>'
    (xml_dir / "a.xml").write_bytes(text.encode("gbk"))
    code, txt_dir = convert(xml_dir)
    assert code == 0
    assert (txt_dir / "a.txt").read_text(encoding="utf-8").split()[8] == "船"


def test_the_corners_of_dior_r_are_written_as_they_are(folder: Callable, capsys: pytest.CaptureFixture) -> None:
    places = zip(
        ("left_top", "right_top", "right_bottom", "left_bottom"), ((5, 9), (20, 4), (22, 9), (7, 14)), strict=True
    )
    corners = "".join(f"<x_{tag}>{x}</x_{tag}><y_{tag}>{y}</y_{tag}>" for tag, (x, y) in places)
    made = f"<object><name>dam</name><angle>-0.3</angle><robndbox>{corners}</robndbox></object>"
    code, txt_dir = convert(folder(a=[made]))
    assert code == 0
    assert (txt_dir / "a.txt").read_text() == "5 9 20 4 22 9 7 14 dam 0\n"
    assert re.search(r"dam +1 +1", capsys.readouterr().out)


def test_ignore_regions_are_written_and_counted_apart(folder: Callable, capsys: pytest.CaptureFixture) -> None:
    code, txt_dir = convert(folder(a=[upright(1, 2, 3, 4, "DontCare"), upright(1, 2, 3, 4), rotated(9, 9, 4, 2, 1)]))
    assert code == 0
    assert read_labels(txt_dir / "a.txt").names == ["DontCare", "ship", "ship"]
    out = capsys.readouterr().out
    assert re.search(r"all classes +1 +1 +2\n", out)
    assert re.search(r"DontCare \(ignore regions\) +0 +1 +1\n", out)


# -- what is left out


def test_bad_objects_are_counted_and_the_exit_code_tells(folder: Callable, capsys: pytest.CaptureFixture) -> None:
    bad = [
        rotated(50, 40, 0, 10, 0.5),
        upright(9, 2, 9, 4),
        rotated(50, 40, "x", 10, 0.5),
        "<object><name>a</name></object>",
    ]
    code, txt_dir = convert(folder(a=[*bad, upright(1, 2, 3, 4)], b=[upright(1, 2, 3, 4)]))
    assert code == 1
    assert len(read_labels(txt_dir / "a.txt").names) == 1
    out, err = capsys.readouterr()
    assert "left out without being asked for: 2 zero area, 1 not a number, 1 no box" in out
    assert "a.xml:2: box of size 0 x 10" in err
    assert "4 objects left out" in err


def test_a_file_of_which_no_object_can_be_used_makes_no_negative_picture(
    folder: Callable, capsys: pytest.CaptureFixture
) -> None:
    """It became an empty txt, which says that the picture shows no object."""
    code, txt_dir = convert(folder(a=[rotated(50, 40, 0, 10, 0.5)], b=[upright(1, 2, 3, 4)]))
    assert code == 1
    assert [path.name for path in txt_dir.iterdir()] == ["b.txt"]
    out, err = capsys.readouterr()
    assert "2 XML files -> 1 txt files, 0 of them without objects" in out
    assert "left out without being asked for: 1 zero area" in out
    assert "a.xml:2: no label of 'a' can be used, and the picture is left out" in err


def test_objects_of_other_classes_are_counted_by_name(
    folder: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    classes = tmp_path / "类.txt"
    classes.write_text("\ufeffship\nlarge  vehicle\n\n", encoding="utf-8")
    names = ["ship", "shipp", "Large Vehicle", "large vehicle", "DontCare"]
    code, txt_dir = convert(folder(a=[upright(1, 2, 3, 4, name) for name in names]), "--classes", classes)
    assert code == 1
    assert read_labels(txt_dir / "a.txt").names == ["ship", "large vehicle", "DontCare"]
    out, err = capsys.readouterr()
    assert "1 of the unknown class 'shipp', 1 of the unknown class 'Large Vehicle'" in out
    assert "did you mean 'ship'?" in err


def test_a_damaged_file_does_not_stop_the_others(folder: Callable, capsys: pytest.CaptureFixture) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>'
    folder(head=bomb, bomb=[upright(1, 2, 3, 4, "&c;")])
    xml_dir = folder(good=[upright(1, 2, 3, 4)])
    (xml_dir / "cut.xml").write_text("<annotation><object>", encoding="utf-8")
    (xml_dir / "empty.xml").write_bytes(b"")
    (xml_dir / "voc.xml").write_text("<annotations><image/></annotations>", encoding="utf-8")
    (xml_dir / "._good.xml").write_bytes(b"of a Macintosh")
    code, txt_dir = convert(xml_dir)
    assert code == 1
    assert [path.name for path in txt_dir.iterdir()] == ["good.txt"]
    out, err = capsys.readouterr()
    assert "5 XML files -> 1 txt files" in out
    assert "bomb.xml:1: declares entities, which are refused" in err
    assert "4 files of which nothing was written" in err


def test_angles_beyond_a_turn_are_asked_about(folder: Callable, capsys: pytest.CaptureFixture) -> None:
    code, txt_dir = convert(folder(a=[rotated(50, 40, 20, 10, -6.2), rotated(50, 40, 20, 10, 45)]))
    assert code == 0
    assert np.abs(read_labels(txt_dir / "a.txt").quads[1] - formula(50, 40, 20, 10, 45)).max() < 1e-9
    assert re.search(r"1 objects have an angle beyond 2 pi, such as .*a\.xml:3: degrees\?", capsys.readouterr().err)


def test_two_files_of_one_name_are_not_written_over_each_other(folder: Callable) -> None:
    xml_dir = folder(a=[upright(1, 2, 3, 4)])
    (xml_dir / "a.XML").write_bytes((xml_dir / "a.xml").read_bytes())
    if len([*xml_dir.iterdir()]) < 2:
        pytest.skip("this file system does not tell a.xml from a.XML")
    code, txt_dir = convert(xml_dir)
    assert code == 1
    assert len([*txt_dir.iterdir()]) == 1


# -- the border


def stick_out() -> list[str]:
    return [
        upright(-10, 10, 20, 30),
        rotated(50, 40, 20, 10, 0.3),
        upright(200, 10, 220, 30),
        upright(90, 70, 100.0005, 80),
    ]


def test_boxes_that_stick_out_are_kept_as_they_are(folder: Callable) -> None:
    """Defect 8: clamping the corners one by one bends the box."""
    for size in (SIZE, "", "<size><width>0</width><height>0</height></size>"):
        code, txt_dir = convert(folder(size=size, a=stick_out()), "--overwrite")
        assert code == 0
        assert read_labels(txt_dir / "a.txt").quads[[0, 2], 0].tolist() == [[-10, 10], [200, 10]]


@pytest.mark.parametrize(
    ("clip", "left", "sentence"),
    [
        ("clip", [0, 1, 3], "by --clip: 1 cut at the border, 1 outside the picture left out"),
        ("drop", [1, 3], "by --clip: 2 across the border left out"),
    ],
)
def test_boxes_that_stick_out_are_cut_or_left_out_as_asked(
    folder: Callable, capsys: pytest.CaptureFixture, clip: str, left: list[int], sentence: str
) -> None:
    _, txt_dir = convert(folder(a=stick_out()))
    before = read_labels(txt_dir / "a.txt")
    code, _ = convert(folder(a=stick_out()), "--clip", clip, "--overwrite")
    assert code == 0, "it was asked for"
    after = read_labels(txt_dir / "a.txt")
    expected = before.quads[left].copy()
    if clip == "clip":
        expected[0] = [[0, 10], [20, 10], [20, 30], [0, 30]]
    assert (after.quads == expected).all(), "what is inside stays as it was, bit for bit"
    assert sentence in capsys.readouterr().out


def test_a_turned_box_is_cut_to_a_rectangle(folder: Callable) -> None:
    _, txt_dir = convert(folder(a=[rotated(0, 40, 30, 12, 0.4)]), "--clip", "clip")
    quad = read_labels(txt_dir / "a.txt").quads[0]
    sides = np.roll(quad, -1, axis=0) - quad
    assert np.abs((sides * np.roll(sides, -1, axis=0)).sum(axis=1)).max() < 1e-9
    assert quad[:, 0].max() > 10


def test_the_border_is_that_of_the_picture_if_pictures_are_named(
    folder: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Seen in the wild: <size> of another picture, or zero."""
    xml_dir = folder(size="<size><width>15</width><height>0</height></size>", a=stick_out(), b=[])
    images = tmp_path / "图 像"
    images.mkdir()
    for name in "ac":
        (images / f"{name}.png").write_bytes(cv2.imencode(".png", np.zeros((80, 300), np.uint8))[1].tobytes())
    code, txt_dir = convert(xml_dir, "--clip", "clip", "--images", images)
    assert code == 1
    assert read_labels(txt_dir / "a.txt").quads[:, :, 0].max() == 220
    assert not (txt_dir / "b.txt").exists()
    err = capsys.readouterr().err
    assert "b.xml:1: no picture named 'b'" in err
    assert "1 XML files without a picture, such as b" in err
    assert "1 pictures without an XML file, such as c" in err


def test_without_any_size_nothing_can_be_cut(folder: Callable, capsys: pytest.CaptureFixture) -> None:
    folder(good=stick_out())
    for number, size in enumerate(["", "<size><width>0</width><height>80</height></size>"]):
        xml_dir = folder(size=size, **{f"a{number}": [upright(1, 2, 3, 4)]})
    code, txt_dir = convert(xml_dir, "--clip", "drop")
    assert code == 1
    assert [path.name for path in txt_dir.iterdir()] == ["good.txt"]
    assert "a0.xml:1: <size> is missing or zero" in capsys.readouterr().err


# -- folders and flags


def test_a_second_run_changes_nothing_and_labels_of_others_stay(
    folder: Callable, capsys: pytest.CaptureFixture
) -> None:
    xml_dir = folder(a=[rotated(50, 40, 20, 10, 0.3)], b=[])
    _, txt_dir = convert(xml_dir)
    time_before = (txt_dir / "a.txt").stat().st_mtime_ns
    assert convert(xml_dir)[0] == 0
    assert (txt_dir / "a.txt").stat().st_mtime_ns == time_before
    for text in ("imagesource:x\n1 1 2 1 2 2 1 2 mine 0\n", "my own notes\n"):
        (txt_dir / "a.txt").write_text(text)
        assert convert(xml_dir)[0] == 1
        assert "a.txt:1: is there and holds other objects" in capsys.readouterr().err
        assert (txt_dir / "a.txt").read_text() == text
    assert convert(xml_dir, "--overwrite")[0] == 0
    assert read_labels(txt_dir / "a.txt").names == ["ship"]


def test_the_folder_of_the_xml_is_written_to_when_it_is_named(folder: Callable) -> None:
    xml_dir = folder(a=[upright(1, 2, 3, 4)])
    assert main([str(xml_dir), str(xml_dir)]) == 0
    assert sorted(path.name for path in xml_dir.iterdir()) == ["a.txt", "a.xml"]


def test_folders_below_are_not_read_and_it_says_so(folder: Callable, capsys: pytest.CaptureFixture) -> None:
    xml_dir = folder(a=[upright(1, 2, 3, 4)])
    assert main([str(xml_dir.parent), str(xml_dir.parent / "txt")]) == 2
    assert "holds no XML file; name one of its folders, such as xml 1" in capsys.readouterr().err
    (xml_dir / "more").mkdir()
    (xml_dir / "more" / "b.xml").write_bytes((xml_dir / "a.xml").read_bytes())
    assert convert(xml_dir)[0] == 0
    assert "XML in its folders is not read (more)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "code", "sentence"),
    [
        (["--clip", "cut"], 2, "--clip"),
        (["--colour"], 2, "--colour"),
        (["--images", "/nowhere"], 1, "/nowhere: no such folder of pictures"),
        (["--classes", "/nowhere.txt"], 1, "/nowhere.txt"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    folder: Callable, capsys: pytest.CaptureFixture, flags: list[str], code: int, sentence: str
) -> None:
    assert convert(folder(a=[]), *flags)[0] == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sentence in err
    assert main(["/nowhere", "/nowhere/txt"]) == 2


@pytest.mark.slow
def test_help_tells_the_angle_and_needs_no_torch() -> None:
    check = (
        "import sys; from tools.rolabelimg_to_txt import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "radians" in done.stdout


# -- real files


@pytest.mark.slow
def test_all_of_hit_uav_is_converted_by_the_formula(
    real_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """1,344 files, 11,291 objects (shared/data/README.md), every corner within 1e-3 px; read here by another parser."""
    data_dir, txt_dir = real_folder("hit-uav"), tmp_path / "labelTxt"
    assert main([str(data_dir / "xml"), str(txt_dir)]) == 0
    names = Counter()
    for path in (data_dir / "xml").glob("*.xml"):
        labels = read_labels(txt_dir / f"{path.stem}.txt")
        objects = ElementTree.parse(path).getroot().findall("object")
        assert labels.names == [element.find("name").text for element in objects]
        boxes = [[float(child.text) for child in element.find("robndbox")] for element in objects]
        for quad, box in zip(labels.quads, boxes, strict=True):
            assert np.abs(quad - formula(*box)).max() < 1e-3
        names.update(labels.names)
    assert names == {"Car": 4704, "Bicycle": 3493, "Person": 3023, "OtherVehicle": 71, "DontCare": 16}
    assert names.total() - names["DontCare"] == 11_291
    assert re.search(r"all classes +11291 +11291", capsys.readouterr().out)


def test_the_files_of_the_author_are_converted(real_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """Mixed files; looked at on the pictures: boxes fit the persons of demo2 and the legs of the dog."""
    folder = real_folder("rolabelimg")
    assert main([str(folder / "xml"), str(tmp_path), "--images", str(folder / "images")]) == 0
    lines = (tmp_path / "demo.txt").read_text().splitlines()
    assert lines[:2] == ["241 52 383 52 383 107 241 107 dog 0", "69 63 214 63 214 93 69 93 person 0"]
    quad = np.array(lines[2].split()[:8], float).reshape(4, 2)
    assert np.abs(quad - formula(157, 170, 166, 56, 3.039229)).max() < 1e-9
    names = [line.split()[8] for path in sorted(tmp_path.iterdir()) for line in path.read_text().splitlines()]
    assert len(names) == 11


def test_what_is_written_trains(folder: Callable) -> None:
    """The folder that the command makes is one in DOTA's layout; its ignore regions stay ignored."""
    code, txt_dir = convert(folder(a=[rotated(50, 40, 20, 10, 0.3, "small car"), upright(1, 2, 30, 40, "DontCare")]))
    data_dir = txt_dir.parent
    txt_dir.rename(data_dir / "labelTxt")
    (data_dir / "images").mkdir()
    (data_dir / "images" / "a.png").write_bytes(cv2.imencode(".png", np.zeros((80, 100), np.uint8))[1].tobytes())
    (data_dir / "classes.txt").write_text("small car\n")
    (sample,) = read_samples("dota", data_dir, ["a"], read_classes("dota", data_dir, ["a"]))
    assert code == 0
    assert sample.labels.tolist() == [0, -1]
    assert sample.ignored.tolist() == [False, True]


def test_boxes_that_were_drawn_on_a_turned_picture_are_refused(
    tmp_path: Path, folder: Callable, capsys: pytest.CaptureFixture
) -> None:
    """<size> tells of a picture 100 x 80; its file holds 80 x 100, which EXIF turns."""
    (tmp_path / "a.jpg").write_bytes(turned_jpeg(6, 100, 80))
    (tmp_path / "b.jpg").write_bytes(turned_jpeg(6, 80, 100))
    boxes = [upright(1, 2, 3, 4)]
    code, txt_dir = convert(folder(a=boxes, b=boxes), "--images", tmp_path)
    assert code == 1
    assert "a.xml:1: <size> tells 100 x 80 pixels, the size that EXIF gives a.jpg" in capsys.readouterr().err
    assert [path.name for path in txt_dir.iterdir()] == ["b.txt"]
