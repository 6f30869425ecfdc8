"""The names in label files stand for one of DOTA's lists, or for themselves; slips of the pen are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.class_lists import DOTA_CLASSES
from datasets.readers import (
    read_classes,
    read_samples,
)
from DOTA_devkit.labels import LabelError
from tests.label_documents import write


def write_labels(data_dir: Path, *names: str) -> None:
    write(data_dir / "labelTxt" / "a.txt", "".join(f"0 0 9 0 9 9 0 9 {name} 0\n" for name in names))


@pytest.mark.parametrize(
    ("names", "version"),
    [
        ([], "1.0"),
        (["plane", "DontCare"], "1.0"),
        (["container-crane"], "1.5"),
        (["plane", "helipad"], "2.0"),
        (["container-crane", "airport"], "2.0"),
        (["plane", "bicycle"], "1.0"),
    ],
)
def test_the_smallest_dota_version_that_holds_all_names_is_taken(
    tmp_path: Path, names: list[str], version: str
) -> None:
    write_labels(tmp_path, *names)
    assert read_classes("dota", tmp_path, ["a", "unlabelled"]) == DOTA_CLASSES[version]


def test_the_dota_versions_are_the_published_ones() -> None:
    assert [len(names) for names in DOTA_CLASSES.values()] == [15, 16, 18]
    assert DOTA_CLASSES["1.0"][:3] == ("plane", "baseball-diamond", "bridge")  # the order of the published weights
    assert DOTA_CLASSES["2.0"][15:] == ("container-crane", "airport", "helipad")


def test_own_class_names_need_no_classes_file_and_a_slip_among_dotas_is_told(tmp_path: Path) -> None:
    """Defect 10: the class names stood in the source."""
    write_labels(tmp_path, "scooter", "货车")
    assert read_classes("dota", tmp_path, ["a"]) == ("scooter", "货车")
    write_labels(tmp_path, "plane", "shp")
    assert read_classes("dota", tmp_path, ["a"]) == DOTA_CLASSES["1.0"]


@pytest.mark.parametrize(("right", "version"), [("container-crane", "1.5"), ("airport", "2.0")])
def test_a_slip_among_the_names_of_a_later_dota_blames_no_other_name(tmp_path: Path, right: str, version: str) -> None:
    """Of v1.5's names with one slip among them the first that v1.0 has not was blamed."""
    write_labels(tmp_path, "plane", right, "smallvehicle")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    classes = read_classes("dota", tmp_path, ["a"])
    assert classes == DOTA_CLASSES[version]
    with pytest.raises(LabelError, match=r"a\.txt:3: unknown class 'smallvehicle'; did you mean 'small-vehicle'\?"):
        read_samples("dota", tmp_path, ["a"], classes)
