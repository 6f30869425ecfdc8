"""Classes get other names, become one, and are kept or told as strangers."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture, Row, as_labels
from datasets.label_formats.class_names import NOT_LISTED, keep_classes, rename_classes, unlisted
from datasets.label_formats.label_folders import BLANKS
from DOTA_devkit import labels as labels_module
from tests.label_documents import (
    DOTA_LINE,
    YOLO_LINE,
    convert,
    source,
    write,
)

NAMES = ("car", "cart", "DontCare", "car")


def annotated(*names: str, class_names: tuple[str, ...] = ()) -> AnnotatedSet:
    """One picture with an object of each name, and one without any."""
    labels = as_labels([Row(np.eye(4, 2), name, 0, line) for line, name in enumerate(names, 1)])
    return AnnotatedSet([Picture("a", labels), Picture("b")], class_names)


def test_classes_of_one_new_name_become_one_and_the_list_follows() -> None:
    before = annotated(*NAMES, class_names=("boat", "car", "cart"))
    after = rename_classes(before, {"car": "vehicle", "cart": "vehicle"})
    assert after.pictures[0].labels.names == ["vehicle", "vehicle", "DontCare", "vehicle"]
    assert after.class_names == ("boat", "vehicle")
    assert before.pictures[0].labels.names == [*NAMES]
    assert rename_classes(before, {}) == before


def test_two_classes_can_change_places() -> None:
    after = rename_classes(annotated(*NAMES, class_names=("car", "cart")), {"car": "cart", "cart": "car"})
    assert after.pictures[0].labels.names == ["cart", "car", "DontCare", "cart"]
    assert after.class_names == ("cart", "car")


def test_the_star_renames_all_other_classes_but_no_ignore_regions() -> None:
    after = rename_classes(annotated(*NAMES, class_names=("car", "cart")), {"*": "物体", "cart": "cart"})
    assert after.pictures[0].labels.names == ["物体", "cart", "DontCare", "物体"]
    assert after.class_names == ("物体", "cart")
    assert rename_classes(annotated(), {"*": "object"}) == annotated()


def test_a_class_becomes_an_ignore_region_and_leaves_the_list() -> None:
    after = rename_classes(annotated(*NAMES, class_names=("car", "cart")), {"cart": "DontCare"})
    assert after.pictures[0].labels.names == ["car", "DontCare", "DontCare", "car"]
    assert after.class_names == ("car",)


@pytest.mark.parametrize(
    ("renames", "said"),
    [
        ({"Carts": "car"}, "no class 'Carts' to rename; did you mean 'cart'?"),
        ({"zebra": "horse"}, "no class 'zebra' to rename; there are DontCare, car, cart"),
        ({"car": "a\x07b"}, r"holds characters that are no text"),
    ],
)
def test_a_rename_that_cannot_be_is_refused(renames: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rename_classes(annotated(*NAMES), renames)
    with pytest.raises(ValueError, match="there are none"):
        rename_classes(annotated(), {"car": "boat"})


def test_objects_of_classes_that_a_list_does_not_name_are_told_with_the_nearest() -> None:
    labels = annotated(*NAMES[:3], "zebra").pictures[0].labels
    found = unlisted(labels, ("car", "boat"), Path("a.xml"))
    assert [*found] == [1, 3]
    assert "did you mean 'car'?" in found[1].reason
    sent = pickle.loads(pickle.dumps(found[3]))  # as from a worker process
    assert (str(sent), sent.name, sent.kind) == (str(found[3]), "zebra", "unknown-class")
    assert unlisted(as_labels([]), (), Path("a.xml")) == {}


def test_only_listed_classes_are_kept_in_the_order_of_the_list() -> None:
    ledger = Ledger()
    kept = keep_classes(annotated(*NAMES), ["boat", "car"], ledger)
    assert kept.class_names == ("boat", "car")
    assert kept.pictures[0].labels.names == ["car", "DontCare", "car"]
    assert [(str(fault.path), fault.line) for fault in ledger.faults] == [("a", 2)]


def test_a_picture_of_misspelt_classes_alone_does_not_become_one_without_objects() -> None:
    ledger = Ledger()
    assert [picture.name for picture in keep_classes(annotated("bota", "bota"), ["boat"], ledger).pictures] == ["b"]
    assert "no label of 'a' can be used, and the picture is left out" in ledger.faults[-1].reason


def test_classes_that_a_list_leaves_out_are_no_faults_but_slips_of_the_pen_are() -> None:
    """To convert two classes of a data set ended with exit code 1, `left out without being asked for`."""
    ledger = Ledger()
    names = ("zebra", "large-vehicle", "small-vehicle", "carts", "small-vehicel", "zebra")
    kept = keep_classes(annotated(*names, class_names=("carts",)), ["small-vehicle", "cart"], ledger)
    assert kept.pictures[0].labels.names == ["small-vehicle"]
    assert [fault.line for fault in ledger.faults] == [5]
    doubt = "; is 'cart' of the list meant to be that class?"  # for it has no object
    counts = {
        NOT_LISTED.format("zebra"): 2,
        NOT_LISTED.format("large-vehicle"): 1,
        NOT_LISTED.format("carts") + doubt: 1,
    }
    assert ledger.changed == counts


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


def test_dota_classes_keep_the_order_of_their_version(tmp_path: Path) -> None:
    src = source(tmp_path, "dota")
    write(src / "labelTxt" / "图 1.txt", DOTA_LINE.replace("船 船", "ship"))
    assert convert(src, tmp_path / "out", "dota", "yolo_obb") == 0
    assert (tmp_path / "out" / "labels" / "train" / "图 1.txt").read_text("utf-8") == "6" + YOLO_LINE[1:]


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


def test_what_a_name_may_mean_is_asked_once_and_not_for_every_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 objects and a list of 16 classes took 18 s instead of 3."""
    calls = []
    monkeypatch.setattr(labels_module.difflib, "get_close_matches", lambda *parts, **options: calls.append(parts) or [])
    keep_classes(annotated(*["lorry-of-this-test"] * 50), [f"class {number}" for number in range(16)], Ledger())
    assert 0 < len(calls) <= 3
