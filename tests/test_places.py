"""The pictures of labels are found beside them and measured, and no path of a stranger leads elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.label_formats import places
from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture
from datasets.label_formats.places import OTHER_SIZE, locate_pictures, measure_pictures
from datasets.picture_files.images import ImageError
from DOTA_devkit.names import spellings
from tests.label_documents import (
    CVAT_POLYGON,
    DOTA_LINE,
    HEIGHT,
    PNG,
    ROLABELIMG,
    WIDTH,
    YOLO_LINE,
    annotation,
    coco_text,
    convert,
    cvat_text,
    labelme_text,
    of_golden,
    source,
    turned_jpeg,
    write,
)
from tools.convert_labels import main


def picture_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PNG)
    return path


def located(src: Path, *file_names: str, images_dir: Path | None = None) -> list[Path | None]:
    """Where pictures of these names are found."""
    ledger = Ledger()
    annotated = AnnotatedSet([Picture(Path(name).stem, file_name=name) for name in file_names])
    paths = [picture.path for picture in locate_pictures(annotated, src, images_dir, ledger).pictures]
    assert ledger.changed.total() == paths.count(None)
    return paths


def test_pictures_are_found_in_the_folder_that_they_are_named_with_or_in_the_usual_one(tmp_path: Path) -> None:
    named = picture_file(tmp_path / "数据" / "images" / "子" / "图 1.png")
    usual = picture_file(tmp_path / "数据" / "images" / "b.PNG")
    src = tmp_path / "数据" / "注.json"
    src.touch()
    assert located(src, "子\\图 1.png", "b.jpg", "c.png") == [named, usual, None]
    assert located(tmp_path, "b.png", images_dir=tmp_path / "数据" / "images") == [usual]


@pytest.mark.parametrize("way", ["{outside}", "../{name}", "images/../../{name}", "..\\{name}"])
def test_a_path_that_leads_out_of_the_data_is_not_followed(tmp_path: Path, way: str) -> None:
    """A file name may come from a stranger, and the file that it names is copied with the pictures."""
    outside = picture_file(tmp_path / "secret.png")
    (tmp_path / "data" / "images").mkdir(parents=True)
    assert located(tmp_path / "data", way.format(outside=outside, name=outside.name)) == [None]


def test_pictures_are_found_however_their_umlauts_are_written(tmp_path: Path) -> None:
    """A list of labels holds ä, the file of a Mac a and the mark."""
    path = picture_file(tmp_path / "data" / "images" / "Gera\u0308t.png")
    assert located(tmp_path / "data", "Gerät.png", "Gera\u0308t.png", "Gerat.png") == [path, path, None]
    annotated = AnnotatedSet([Picture("Gerät")])
    (picture,) = locate_pictures(annotated, tmp_path, {path.stem: path}, Ledger()).pictures
    assert (picture.name, picture.path) == ("Gerät", path)


@pytest.mark.parametrize("how", ["--copy_images", "--link_images"])
def test_pictures_that_were_asked_for_and_are_not_found_are_told_of_and_cost_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """labelme's imagePath may lead to another folder, which is not followed; the command copied nothing and ended with
    0."""
    picture_file(tmp_path / "photos" / "a.png")
    labels = tmp_path / "json"
    write(labels / "a.json", labelme_text(imagePath="..\\photos\\a.png"))
    flags = [str(labels), "--from", "labelme", "--to", "dota"]
    for target in ("dota", "coco", "labelme"):
        assert main([flags[0], str(tmp_path / target), *flags[1:-1], target, how]) == 1
        said = capsys.readouterr().err
        assert "left out: 1 pictures were not found, such as a.png; name their folder with --images" in said
        assert said.count("not found") == 1
    assert main([flags[0], str(tmp_path / "all"), *flags[1:], how, "--images", str(tmp_path / "photos")]) == 0
    assert (tmp_path / "all" / "images" / "a.png").is_file()


@pytest.mark.parametrize("folder", ["JPEGImages-trainval", "JPEGImages-test"])
def test_a_picture_that_was_left_out_does_not_come_back_as_an_empty_one(tmp_path: Path, folder: str) -> None:
    """Where pictures lie in several folders it did, and where its name had the other form."""
    for name in ("JPEGImages-trainval/a", "JPEGImages-test/b", f"{folder}/Gera\u0308t"):
        picture_file(tmp_path / "src" / f"{name}.png")
    labels = tmp_path / "src" / "Annotations" / "Oriented Bounding Boxes"
    for name in "ab":
        write(labels / f"{name}.xml", of_golden("dior.xml"))
    write(labels / "Gerät.xml", "<annotation>\n<object><name>ship</name></object></annotation>")
    flags = ["--from", "dior", "--to", "dota", "--unlabelled", "empty"]
    assert main([str(tmp_path / "src"), str(tmp_path / "out"), *flags]) == 1
    assert sorted(path.stem for path in (tmp_path / "out" / "labelTxt").iterdir()) == ["a", "b"]


def test_a_folder_may_be_named_with_dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = picture_file(tmp_path / "data" / "images" / "子" / "a.png")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (found,) = located(Path("../data"), "子/a.png")
    assert found.resolve() == path


def test_what_is_no_picture_is_a_fault_and_not_kept(tmp_path: Path) -> None:
    good, bad = picture_file(tmp_path / "a.png"), tmp_path / "b.png"
    bad.write_text("no picture")
    annotated = AnnotatedSet([Picture("a", hw=(1, 2), path=good), Picture("b", hw=(5, 6), path=bad), Picture("c")])
    ledger = Ledger()
    pictures = measure_pictures(annotated, ledger, iter, is_needed=False).pictures
    assert [(picture.hw, picture.path) for picture in pictures] == [
        ((HEIGHT, WIDTH), good),
        ((5, 6), None),
        (None, None),
    ]
    assert ([fault.path for fault in ledger.faults], ledger.changed[OTHER_SIZE]) == ([bad], 1)
    assert [picture.name for picture in measure_pictures(annotated, Ledger(), iter, is_needed=True).pictures] == ["a"]


def test_pictures_of_any_labels_are_found_by_a_pattern_also_in_ones_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Of predictions and outlines alone they were."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for day, name in (("day1", "a"), ("day2", "b"), ("day3", "c")):
        picture_file(tmp_path / "flights" / day / f"{name}.png")
    for name in "ab":
        write(tmp_path / "in" / "labelTxt" / f"{name}.txt", "1 1 9 1 9 9 1 9 car 0\n")
    flags = ["--from", "dota", "--to", "yolo_obb", "--link_images", "--images"]
    assert main([str(tmp_path / "in"), str(tmp_path / "1"), *flags, "~/flights/**/*.png"]) == 0
    assert sorted(path.name for path in (tmp_path / "1" / "images" / "train").iterdir()) == ["a.png", "b.png"]
    assert "1 pictures without a label file" in capsys.readouterr().err
    empty = ["~/flights/day[23]/*", "--unlabelled", "empty"]
    assert main([str(tmp_path / "in"), str(tmp_path / "2"), *flags, *empty]) == 1  # for a.png is not among these
    assert sorted(path.name for path in (tmp_path / "2" / "images" / "train").iterdir()) == ["b.png", "c.png"]
    assert (tmp_path / "2" / "labels" / "train" / "c.txt").read_text() == ""
    assert main([str(tmp_path / "in"), str(tmp_path / "3"), *flags, str(tmp_path / "*" / "*.tif")]) == 2
    assert "*.tif: no picture matches" in capsys.readouterr().err


def test_the_pictures_of_a_coco_folder_of_roboflow_are_found_beside_its_files(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        image = {"id": 7, "file_name": f"{split}.png"}
        write(tmp_path / "in" / split / "_annotations.coco.json", coco_text(annotation(), images=[image]))
        (tmp_path / "in" / split / f"{split}.png").write_bytes(PNG)
    assert convert(tmp_path / "in", tmp_path / "out", "coco", "yolo_obb", "--copy_images") == 0
    for path in ("train/train", "val/valid"):
        assert (tmp_path / "out" / "images" / f"{path}.png").read_bytes() == PNG
        assert (tmp_path / "out" / "labels" / f"{path}.txt").read_text("utf-8") == YOLO_LINE


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


def test_a_folder_of_pictures_that_is_not_there_is_no_other_folder(tmp_path: Path) -> None:
    src = source(tmp_path, "dota")
    with pytest.raises(ImageError, match="nowhere: no such folder of pictures"):
        locate_pictures(AnnotatedSet([Picture("图 1")]), src, src / "nowhere", Ledger())


@pytest.mark.parametrize("to", ["dota", "csv"])
@pytest.mark.parametrize("flags", [(), ("--link_images",)])
def test_sizes_that_differ_are_told_by_formats_that_hold_none(
    tmp_path: Path, capsys: pytest.CaptureFixture, to: str, flags: tuple[str, ...]
) -> None:
    """Boxes of pictures that were made smaller after they had been labelled were taken as they were, without a word."""
    src = source(tmp_path, "cvat")
    write(src / "annotations.xml", cvat_text(CVAT_POLYGON).replace('width="200"', 'width="100"'))
    if to == "csv" and flags:
        return
    assert convert(src, tmp_path / ("out" if to == "dota" else "out.csv"), "cvat", to, *flags) == 0
    assert "1 pictures have another size than their labels say; were they resized?" in capsys.readouterr().err


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


def test_a_name_that_ends_like_a_file_keeps_its_end_and_its_split(tmp_path: Path) -> None:
    """The labels of shot.jpg.png were written as those of shot.png, and a list's shot.jpg named nothing."""
    flat = labelled(tmp_path / "flat", {"shot.jpg": DOTA_LINE, "other": DOTA_LINE, "IMG 1 ": DOTA_LINE})
    write(flat / "val.txt", "shot.jpg\nIMG 1 \n")
    write(flat / "train.txt", "other.png\n")
    assert convert(flat, tmp_path / "dota", "dota", "dota", "--link_images") == 0
    assert (tmp_path / "dota" / "val.txt").read_text().split("\n") == ["IMG 1 ", "shot.jpg", ""]
    assert (tmp_path / "dota" / "train.txt").read_text() == "other\n"


@pytest.mark.parametrize("is_ours", [False, True])
def test_results_of_a_name_that_ends_like_a_file_go_to_its_own_picture(tmp_path: Path, is_ours: bool) -> None:
    images = labelled(tmp_path / "data", {"shot.jpg": None, "shot": None}) / "images"
    (images / "shot.png").write_bytes(PNG)
    line = "shot.jpg 0.9 10 10 20 10 20 20 10 20\n"
    results = write(tmp_path / "results" / "Task1_car.txt", line).parent
    if is_ours:
        write(results / "origin.json", json.dumps({"images": ["shot", "shot.jpg"], "classes": ["car"]}))
    out = tmp_path / "out"
    assert convert(results, out, "task1", "dota", "--images", str(images), "--copy_images") == 0
    sizes = {path.name: path.stat().st_size > 0 for path in (out / "labelTxt").iterdir()}
    assert sizes == {"shot.jpg.txt": True} | ({"shot.txt": False} if is_ours else {})
    assert (out / "images" / "shot.jpg.png").is_file()


def test_faults_are_looked_through_once_and_not_for_every_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4,000 of each took 49 s."""
    bad = f"{DOTA_LINE}1 1 2 2 3 3 4 4 car 0\n"
    texts = {f"{number}{kind}": bad if kind == "a" else None for number in range(30) for kind in "ab"}
    src = labelled(tmp_path / "src", texts)
    calls = []
    monkeypatch.setattr(places, "spellings", lambda name: calls.append(name) or spellings(name))
    assert convert(src, tmp_path / "out", "dota", "dota", "--unlabelled", "empty") == 1
    assert len(calls) == 30
    assert len(list((tmp_path / "out" / "labelTxt").iterdir())) == 60
