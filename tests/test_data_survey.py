"""A folder gone through: every fault of an annotation is found, with file and line, for any number of processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.label_documents import turned_jpeg
from tools.config import Config
from tools.data import data_classes, open_data
from tools.data_check.data_checks import KINDS, LISTED, Finding
from tools.data_check.data_folder import lay_out
from tools.data_check.data_survey import Survey, SurveySettings, known_classes, survey_folder
from tools.running.stop_request import StopRequest

FAULTS = {
    "short-line": "1 2 3",
    "not-a-number": "1 2 x 4 5 6 7 8 car 0",
    "not-finite": "nan 2 3 4 5 6 7 8 car 0",
    "zero-area": "1 1 2 2 3 3 4 4 car 0",
    "self-crossing": "10 10 40 40 40 10 10 40 car 0",
    "no-class": "1 1 9 1 9 9 1 9",
    "bad-flag": "1 1 9 1 9 9 1 9 car 7",
    "counter-clockwise": "40 40 40 60 80 60 80 40 boat 0",
    "outside": "400 40 440 40 440 60 400 60 car 0",
    "partly-outside": "100 40 150 40 150 60 100 60 boat 0",
    "too-small": "20 90 40 90 40 90.3 20 90.3 car 0",
    "unknown-class": "90 90 110 90 110 110 90 110 cars 0",
}


def survey(
    data_dir: Path,
    dataset: str = "dota",
    pictures: str = "headers",
    workers: int = 0,
    num_kept: int = 500,
    side: int = 128,
) -> Survey:
    settings = SurveySettings(dataset, (side, side), num_kept, pictures)
    return survey_folder(data_dir, lay_out(dataset, data_dir), settings, workers, StopRequest())


def append(path: Path, *lines: str) -> int:
    """Add lines to a label file; returns the number of the first."""
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return text.count("\n") + 1


def test_a_good_folder_is_without_fault(dota_folder):
    found = survey(dota_folder())
    assert found.counts.total() == 0
    assert found.classes == ("car", "boat")
    statistics = found.statistics
    assert (statistics.num_pictures, statistics.num_label_files, statistics.num_empty) == (4, 4, 1)
    assert statistics.num_objects == statistics.short_side.sum() == sum(found.num_lines.values()) > 4


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_is_found_where_it_is(dota_folder, kind):
    data_dir = dota_folder("数据", names=("图 1", "b", "c"))
    path = data_dir / "labelTxt" / "图 1.txt"
    line = append(path, FAULTS[kind])
    found = survey(data_dir)
    assert found.kinds() == [kind]
    (finding,) = found.findings[kind]
    assert (finding.picture, finding.path, finding.line) == ("图 1", str(path), line)


def test_tab_separated_labels_are_read_and_not_lost(dota_folder):
    """Defect 8: labels separated by tabs read as zero objects."""
    data_dir = dota_folder()
    path = data_dir / "labelTxt" / "scene_3.txt"
    path.write_text("10\t10\t40\t10\t40\t30\t10\t30\tcar\t0\n")
    assert survey(data_dir).statistics.num_empty == 0


def test_an_unknown_class_is_told_once_with_its_count_and_the_nearest_name(dota_folder):
    """Defect 9: an unknown class ended the published code with a KeyError that names no file."""
    data_dir = dota_folder()
    for name in ("scene_0", "scene_1"):
        append(data_dir / "labelTxt" / f"{name}.txt", FAULTS["unknown-class"])
    (finding,) = survey(data_dir).findings["unknown-class"]
    assert finding.what == "'cars' 2 times in 2 files; did you mean 'car'?"
    assert Path(finding.path).name == "scene_0.txt"


def test_without_a_list_of_classes_the_names_found_count_unless_some_are_of_DOTA(dota_folder):
    data_dir = dota_folder()
    (data_dir / "classes.txt").unlink()
    assert "unknown-class" not in survey(data_dir).findings
    append(data_dir / "labelTxt" / "scene_0.txt", "10 10 30 10 30 30 10 30 ship 0")
    found = survey(data_dir)
    assert {finding.what.split()[0] for finding in found.findings["unknown-class"]} == {"'car'", "'boat'"}
    assert "there is no classes.txt" in found.findings["unknown-class"][0].what
    assert known_classes("dota", data_dir, {"ship", "airport"})[0][-1] == "helipad"


@pytest.mark.parametrize("lists", [("train", "val"), ("train", "holdout"), ("train",), ("val",), ()])
def test_a_class_that_training_will_not_know_is_an_error_where_no_list_of_classes_names_it(dota_folder, lists):
    """Training takes its classes from the pictures that it learns from, and stops at another one in val.txt's."""
    members = {"train": ["a", "b"], "val": ["c", "d"], "holdout": ["c"]}
    data_dir = dota_folder(names=("a", "b", "c", "d"), lists={name: members[name] for name in lists})
    (data_dir / "classes.txt").unlink()
    line = append(data_dir / "labelTxt" / "c.txt", "90 90 110 90 110 110 90 110 tank 0")
    found = survey(data_dir)
    assert found.classes == data_classes(Config(data_dir=data_dir), open_data(Config(data_dir=data_dir)))
    is_scored = "val" in lists or "holdout" in lists  # else c trains, or serves for nothing
    told = [(item.picture, item.line, item.what) for item in found.findings.get("unknown-class", [])]
    assert told == ([("c", line, "'tank' 1 time in 1 file; no picture that is trained on has it")] if is_scored else [])


def test_a_label_file_without_a_picture_is_told_and_not_counted(dota_folder):
    """Its labels were counted, and its faults were errors, though nothing reads it."""
    data_dir = dota_folder()
    before = survey(data_dir)
    (data_dir / "labelTxt" / "stray.txt").write_text("1 2 3\n90 90 110 90 110 110 90 110 tank 0\n")
    found = survey(data_dir)
    assert found.counts == {"no-picture": 1}
    assert (found.num_lines, found.statistics.num_label_files) == (before.num_lines, 4)
    assert found.statistics.objects == before.statistics.objects


def test_damaged_pictures_are_found_by_header_or_by_decoding(dota_folder):
    data_dir = dota_folder()
    images = data_dir / "images"
    whole = (images / "scene_0.png").read_bytes()
    (images / "scene_0.png").write_bytes(whole[: len(whole) // 2])
    (images / "scene_1.png").write_bytes(b"")
    assert survey(data_dir, pictures="none").counts.total() == 0
    by_header = survey(data_dir)
    assert by_header.unreadable == {"scene_1"}
    assert by_header.counts["unreadable-picture"] == 1
    assert survey(data_dir, pictures="decode").unreadable == {"scene_0", "scene_1"}


@pytest.mark.parametrize("pictures", ["headers", "decode"])
def test_a_picture_that_viewers_turn_is_told(dota_folder, pictures):
    data_dir = dota_folder(names=("a", "b"))
    (data_dir / "images" / "a.png").unlink()
    path = data_dir / "images" / "a.jpg"
    path.write_bytes(turned_jpeg(8, 96, 128))
    (turned,) = survey(data_dir, pictures=pictures).findings["turned-picture"]
    assert (turned.picture, turned.path) == ("a", str(path))
    assert turned.what == "is turned by EXIF (orientation 8); it is read as stored, 128 x 96"


def test_boxes_that_were_drawn_on_a_turned_picture_are_told(tmp_path):
    """Training refuses the file."""
    (tmp_path / "a.jpg").write_bytes(turned_jpeg(6, 96, 128))
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
    size = "<size><width>96</width><height>128</height></size>"
    (tmp_path / "a.xml").write_text(f"<annotation>{size}<object><name>car</name>{box}</object></annotation>")
    (found,) = survey(tmp_path, "rolabelimg").findings["bad-label"]
    assert found.what.startswith("<size> tells 96 x 128 pixels, the size that EXIF gives a.jpg (orientation 6)")


def test_crowds_are_told(dota_folder):
    found = survey(dota_folder(), num_kept=1)
    assert found.counts["too-many"] == 3
    assert found.findings["too-many"][0].line == 0


def test_boxes_that_are_all_horizontal_are_told(dota_folder):
    """Why are all my boxes horizontal?, users ask: because the network was shown such."""
    data_dir = dota_folder()
    lines = [f"{x} 10 {x + 3} 10 {x + 3} 30 {x} 30 car 0" for x in range(0, 120, 4)]
    for path in (data_dir / "labelTxt").glob("*.txt"):
        path.write_text("")
    append(data_dir / "labelTxt" / "scene_0.txt", *lines)
    found = survey(data_dir)
    assert found.findings["horizontal"][0].what == "100.0% of the 30 boxes are horizontal"
    assert found.counts["unused-class"] == 1


def test_names_of_one_class_in_two_spellings_and_a_class_of_few_objects_are_told(dota_folder):
    """`Hex Bolt`, `hex_bolt` and `hex bolt` were three classes, each trained on by itself, without a word."""
    data_dir = dota_folder()
    (data_dir / "classes.txt").unlink()
    names = ["hex bolt"] * 60 + ["Hex Bolt"] * 25 + ["hex_bolt"] * 13 + ["垫圈"] * 9 + ["垫 片"] * 3
    for path in (data_dir / "labelTxt").glob("*.txt"):
        path.write_text("")
    lines = [
        f"{number} 10 {number + 3} 11 {number + 2} 31 {number - 1} 30 {name} 0" for number, name in enumerate(names, 9)
    ]
    append(data_dir / "labelTxt" / "scene_0.txt", *lines)
    found = survey(data_dir)
    (alike,) = found.findings["alike-classes"]
    assert alike.what == "'Hex Bolt' 25 times, 'hex bolt' 60 times, 'hex_bolt' 13 times"
    assert sorted(item.what for item in found.findings["few-objects"]) == [
        "3 of '垫 片' to train on",
        "9 of '垫圈' to train on",
    ]


def test_a_class_in_one_list_only_is_told(dota_folder):
    data_dir = dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2"]})
    append(data_dir / "labelTxt" / "scene_0.txt", "90 90 110 90 110 110 90 110 tank 0")
    (data_dir / "classes.txt").write_text("car\nboat\ntank\n")
    assert "all 1 of 'tank' in lists are in train.txt" in [
        finding.what for finding in survey(data_dir).findings["class-in-one-list"]
    ]


def test_a_picture_in_both_lists_makes_no_class_one_of_one_list(dota_folder):
    """Of one orthomosaic all tiles are in both, and all its classes were said to be in train.txt alone."""
    data_dir = dota_folder(names=("a",), lists={"train": ["a"], "val": ["a"]})
    found = survey(data_dir).findings
    assert "both-lists" in found
    assert "class-in-one-list" not in found


def test_angles_in_degrees_and_sizes_of_another_picture_are_told(tmp_path, dota_folder):
    data_dir = dota_folder()
    (data_dir / "labelTxt").rename(tmp_path / "elsewhere")
    (data_dir / "classes.txt").unlink()
    (data_dir / "xml").mkdir()
    box = "<robndbox><cx>50</cx><cy>50</cy><w>30</w><h>10</h><angle>{}</angle></robndbox>"
    for name, angle in (("scene_0", 45), ("scene_1", 1.5), ("scene_2", -3), ("scene_3", 6.2)):
        (data_dir / "xml" / f"{name}.xml").write_text(
            "<annotation><size><width>640</width><height>128</height></size>\n"
            f"<object><name>car</name>{box.format(angle)}</object></annotation>"
        )
    found = survey(data_dir, dataset="rolabelimg")
    assert [(Path(item.path).name, item.line) for item in found.findings["degrees"]] == [("scene_0.xml", 2)]
    assert found.counts["other-size"] == 4
    assert found.findings["other-size"][0].what == "<size> tells 640 x 128, the picture is 128 x 128 pixels"


def test_the_number_of_processes_changes_nothing(dota_folder, monkeypatch):
    monkeypatch.setattr("tools.data_check.data_survey.CHUNK", 3)
    data_dir = dota_folder(names=tuple(f"s{number}" for number in range(8)))
    for number, line in enumerate(FAULTS.values()):
        append(data_dir / "labelTxt" / f"s{number % 8}.txt", line)
    alone, shared = survey(data_dir), survey(data_dir, workers=2)
    assert alone.findings == shared.findings
    assert alone.counts == shared.counts
    assert alone.statistics.objects == shared.statistics.objects


def test_all_are_counted_and_only_some_are_kept():
    survey = Survey()
    for number in range(3):
        part = Survey()
        part.add([Finding("outside", "a", "a.txt", line, "", line) for line in range(LISTED)])
        part.counts["outside"] += number  # told nowhere
        survey.join(part)
    assert survey.counts["outside"] == 3 * LISTED + 3
    assert len(survey.findings["outside"]) == LISTED
    assert survey.findings["outside"][0].badness == LISTED - 1
    assert survey.num_of(KINDS["outside"].severity) == 3 * LISTED + 3


def test_real_sets_have_no_error(real_folder):
    found = survey(real_folder("rolabelimg"), dataset="rolabelimg", side=608)
    assert found.counts == {"no-picture": 1}  # demo4.xml
    found = survey(real_folder("dota"), side=608)
    assert found.num_of("error") == 0
    assert found.counts["too-many"] == 1
    assert found.statistics.num_objects == 622


@pytest.mark.slow
def test_hit_uav_has_no_error(real_folder):
    found = survey(real_folder("hit-uav"), dataset="rolabelimg", side=608)
    assert found.counts.total() == 0
    assert (found.statistics.num_objects, found.statistics.num_ignored) == (11291, 16)
