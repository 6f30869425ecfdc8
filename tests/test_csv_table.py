"""The table of objects: sides and angle as README states them, scores of predictions, what has no row."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.label_formats.annotations import UNREAD_SCORES, AnnotatedSet, Ledger, Picture
from datasets.label_formats.csv_table import EMPTY, as_boxes, read_csv_table, table_in, write_csv_table
from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.labels import LabelError, Labels
from tests.label_documents import CSV, QUAD, convert, source, write

BOM = "\ufeff"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def picture_of(*boxes: tuple[float, ...], name: str = "图 1", scores: list[float] | None = None) -> Picture:
    quads = boxes_to_quads(np.array(boxes), "le90")
    labels = Labels(quads, ["船"] * len(boxes), np.zeros(len(boxes), np.int64), np.ones(len(boxes), np.int64))
    return Picture(name, labels, f"{name}.png", scores=None if scores is None else np.array(scores))


def test_an_object_is_a_row_with_its_sides_and_its_angle_in_degrees(tmp_path: Path) -> None:
    picture = picture_of((50, 40, 30, 10, np.deg2rad(30)), (20, 20, 8, 16, 0))
    write_csv_table(tmp_path / "a.csv", AnnotatedSet([picture._replace(split="val")]), Ledger())
    first, second = rows_of(tmp_path / "a.csv")
    assert first["split"] == second["split"] == "val"
    assert list(first.values())[:9] == ["图 1", "船", "", "0", "50.000", "40.000", "30.000", "10.000", "30.000"]
    assert [second[key] for key in ("length", "width", "angle_degrees")] == ["16.000", "8.000", "-90.000"]
    corners = [[float(first[f"{axis}{corner}"]) for axis in "xy"] for corner in range(1, 5)]
    np.testing.assert_allclose(corners, picture.labels.quads[0], atol=6e-4)


def test_predictions_have_scores_and_pictures_without_objects_are_counted(tmp_path: Path) -> None:
    ledger = Ledger()
    pictures = [picture_of((50, 40, 30, 10, 0), scores=[0.123456]), Picture("empty")]
    write_csv_table(tmp_path / "out", AnnotatedSet(pictures), ledger)
    (row,) = rows_of(tmp_path / "out" / "objects.csv")
    assert row["score"] == "0.1235"
    assert ledger.changed == {EMPTY: 1}
    write_csv_table(tmp_path / "none.csv", AnnotatedSet([]), Ledger())
    assert rows_of(tmp_path / "none.csv") == []


@given(st.floats(-np.pi / 2, np.pi / 2), st.floats(5, 50), st.floats(1, 4))
def test_angles_stay_in_their_range_and_lengths_are_the_longer(angle: float, width: float, ratio: float) -> None:
    ((x, y, length, across, degrees),) = as_boxes(
        boxes_to_quads(np.array([[9, 9, width * ratio, width, angle]]), "le90")
    )
    assert -90 <= degrees < 90
    assert (x, y, length, across) == pytest.approx((9, 9, width * ratio, width))
    if ratio > 1.001 and abs(angle) < 1.57:
        assert degrees == pytest.approx(np.rad2deg(angle), abs=1e-3)


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert convert(source(tmp_path, "dota"), tmp_path / "objects.csv", "dota", "csv") == 0
    assert "船 船" in {row["class"] for row in rows_of(tmp_path / "objects.csv")}
    assert f"written: {tmp_path / 'objects.csv'}" in capsys.readouterr().out


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    (picture,) = [picture_of((50, 40, 30, 10, 0.5), (20, 20, 8, 16, 0), scores=[0.5, 0.25])]
    picture.labels.difficult[:] = (1, 2)
    picture = picture._replace(split="val")
    write_csv_table(tmp_path / "a.csv", AnnotatedSet([picture]), Ledger())
    changed = Counter()
    (found,) = read_csv_table(tmp_path / "a.csv", changed=changed).pictures
    assert (found.name, found.labels.names, found.split) == ("图 1", ["船", "船"], "val")
    assert found.labels.difficult.tolist() == [1, 2]
    assert np.abs(found.labels.quads - picture.labels.quads).max() < 1e-3
    assert changed[UNREAD_SCORES] == 2


def test_columns_may_stand_in_any_order_and_pictures_in_folders(tmp_path: Path) -> None:
    lines = ["class,image,h,w,cy,cx,angle_degrees,note", '"船, 船",a/1.png,50,100,100,100,396.8698976,"x\r\ny"', ""]
    lines += ["car,b\\1.png,4,8,10,10,0,", "car, a/1.png,4,8,10,10,0,"]
    pictures = read_csv_table(write(tmp_path / "a.csv", "\r\n".join(lines))).pictures
    assert [(picture.name, picture.labels.names) for picture in pictures] == [
        ("a_1", ["船, 船", "car"]),
        ("b_1", ["car"]),
    ]
    assert np.abs(pictures[0].labels.quads[0] - QUAD).max() < 1e-6
    assert pictures[0].labels.lines.tolist() == [2, 6], "a field may hold a line break"


@pytest.mark.parametrize(
    "text",
    [
        CSV,
        f"{BOM}{CSV}",
        CSV.replace(".87", "@87").replace(",", ";").replace("@", ","),  # as spreadsheets write it in much of Europe
        "sep=;\n" + CSV.replace(",", ";"),
        CSV.replace(".87", "@87").replace(",", "\t").replace("@", ","),
        CSV.replace(",", ", ").replace("船 船", '"船 船"'),
        CSV.replace("image,cx,cy,w,h", "Filename,Center_x,Center_y,Length,Width"),
        CSV.replace("\n", ",width,height\n", 1).replace("船\n", "船,640,480\n"),  # of the picture
        "image,x1,y1,x2,y2,x3,y3,x4,y4,label,w\n图 1.png,75,50,155,110,125,150,45,90,船 船,free text\n",
    ],
)
def test_an_object_is_the_same_however_it_is_told(tmp_path: Path, text: str) -> None:
    (picture,) = read_csv_table(write(tmp_path / "a.csv", text)).pictures
    assert (picture.name, picture.labels.names) == ("图 1", ["船 船"])
    assert np.abs(picture.labels.quads[0] - QUAD).max() < 1e-6


def test_upright_boxes_of_tensorflows_tables_are_read(tmp_path: Path) -> None:
    text = "filename,width,height,class,xmin,ymin,xmax,ymax,difficult\na.jpg,640,480,car,10,20,50,40,True\n"
    (picture,) = read_csv_table(write(tmp_path / "a.csv", text)).pictures
    assert picture.labels.quads[0].tolist() == [[10, 20], [50, 20], [50, 40], [10, 40]]
    assert picture.labels.difficult.tolist() == [1]


@pytest.mark.parametrize(("words", "split"), [(("", "test"), "test"), (("Train", "train"), "train"), (("", ""), "")])
def test_a_split_is_told_by_any_row_of_the_picture(tmp_path: Path, words: tuple[str, str], split: str) -> None:
    rows = "".join(f"a.png,1,1,2,3,car,{word}\n" for word in words)
    text = f"image,xmin,ymin,xmax,ymax,class,split\n{rows}"
    assert [picture.split for picture in read_csv_table(write(tmp_path / "a.csv", text)).pictures] == [split]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "a.csv:1: the file has no first line; it names the columns: image, class, and x1, y1 to y4, or"),
        (CSV.replace("cx", "x"), "a.csv:1: the first line has no column cx; it names the columns"),
        (CSV.replace("cx", "cx,cx"), "a.csv:1: more than one column cx; leave one of them"),
        (CSV.replace("cx", "label"), "a.csv:1: the columns label and class both tell the class; leave one"),
        (CSV.replace("_degrees", ""), "a.csv:1: the first line has no column angle_degrees"),
        ("class,x1,y1\n", "a.csv:1: the first line has no column image, x2, y2, x3, y3, x4, y4"),
        ("größe\n", "a.csv:1: the line is not UTF-8 text"),
        (CSV.replace(",船 船", ""), "a.csv:2: 6 fields of 7"),
        (CSV.replace("100,50", "x,50"), "a.csv:2: w is 'x', not a number"),
        (CSV.replace("100,50", "nan,50"), "a.csv:2: w is 'nan', which is no place in a picture"),
        (CSV.replace("100,50", "100,0"), "a.csv:2: a box of 100 x 0 pixels"),
        ("image,class,xmin,ymin,xmax,ymax\na,car,30,20,10,25\n", "a.csv:2: a box of -20 x 5 pixels"),
        (CSV.replace("图 1.png", ".."), "a.csv:2: the picture's file name is"),
        (CSV.replace("船 船", '"船'), "a.csv:2: is no line of a CSV file"),
        (
            CSV.replace("\n", ",difficult\n", 1).replace("船\n", "船,3\n"),
            "a.csv:2: difficult is '3'; it must be 0, 1 or 2",
        ),
        (
            CSV.replace("\n", ",split\n", 1).replace("船\n", "船,holdout\n"),
            "a.csv:2: split is 'holdout'; it can be train, val, test or empty",
        ),
        (
            "image,class,xmin,ymin,xmax,ymax,split\na,car,1,2,3,4,train\na,car,5,6,7,8,val\n",
            "a.csv:3: split is 'val', and train in another row of this picture",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode("latin-1" if "ö" in text else "utf-8"))
    with pytest.raises(LabelError, match=sentence):
        read_csv_table(path)


def test_a_picture_of_which_no_row_can_be_used_is_left_out(tmp_path: Path) -> None:
    """Without objects it would teach that what it shows is background."""
    text = CSV.replace("100,50", "100,0") + "b.png,30,30,8,16,0,car\n"
    faults: list[LabelError] = []
    assert [picture.name for picture in read_csv_table(write(tmp_path / "a.csv", text), faults.append).pictures] == [
        "b"
    ]
    assert "no label of '图 1' can be used, and the picture is left out" in str(faults[-1])


def test_the_table_of_a_folder_is_taken_if_it_is_the_only_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.CSV", CSV)
    assert table_in(tmp_path) == table_in(path) == path
    write(tmp_path / "b.csv", CSV)
    with pytest.raises(ValueError, match="holds 2 files"):
        table_in(tmp_path)
