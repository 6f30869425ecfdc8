"""A data folder's format is known by what lies in it, and where it is not, the way to one that is is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.format_detection import detect_format
from tests.data_folders import dota, hrsc, rolabelimg


def test_formats_are_recognised_by_what_lies_in_the_folder(tmp_path: Path) -> None:
    assert detect_format(dota(tmp_path / "1", {})) == "dota"
    assert detect_format(hrsc(tmp_path / "2")) == "hrsc"
    for number, xml in enumerate(("xml", "Annotations", ".")):
        assert detect_format(rolabelimg(tmp_path / f"3{number}", {"a": []}, xml=xml)) == "rolabelimg"


def test_a_folder_of_no_known_format_tells_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no known dataset; looked for labelTxt/ .*--dataset"):
        detect_format(tmp_path)
    with pytest.raises(ValueError, match="nowhere: no such data folder"):
        detect_format(tmp_path / "nowhere")
    (tmp_path / "cam1").mkdir()
    (tmp_path / "cam1" / "a.xml").touch()
    with pytest.raises(
        ValueError, match=r"in folders of it, such as cam1; name one of them, or bring them together: .*convert"
    ):
        detect_format(tmp_path)


@pytest.mark.parametrize("place", ["annotations/instances_train.json", "train/_annotations.coco.json", "a.coco.json"])
def test_a_folder_in_coco_tells_how_to_convert_it(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"labels in COCO's JSON.*--from coco --to dota --link_images"):
        detect_format(tmp_path)


@pytest.mark.parametrize("place", ["", "images"])
def test_json_beside_pictures_is_known_for_labelme(tmp_path, place):
    """`no known dataset` did not name the conversion."""
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    (folder / "a.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="no known dataset"):
        detect_format(tmp_path)
    (folder / "a.PNG").write_bytes(b"")
    with pytest.raises(ValueError, match=r"as labelme and .* --from labelme --to dota"):
        detect_format(tmp_path)
