"""The data of a run: demo by default, formats by looking, bad labels counted, lists kept."""

from __future__ import annotations

import numpy as np
import pytest

import main
from datasets.augment import jitter_colours
from datasets.splits import ListError, Split
from DOTA_devkit.labels import EVERY_CLASS, LabelError
from DOTA_devkit.tile_index import TileIndex
from DOTA_devkit.tiling import lay_tiles
from tests.label_documents import DATA_YAML, PNG, YOLO_LINE, yolo_folder
from tools import data as data_module
from tools.config import Config
from tools.data import (
    augmentation_of,
    data_classes,
    default_input_hw,
    open_data,
    read_split,
    truths_of,
    warn_of_shared_pictures,
)
from tools.running.command_line import SettingsError
from tools.setting_flags import parse_settings


def test_without_a_data_folder_it_is_the_demo_in_its_own_size(monkeypatch, dota_folder):
    drawn = dota_folder()
    monkeypatch.setattr(data_module, "DEMO_DIR", drawn)
    monkeypatch.setattr(data_module, "ensure_demo", lambda folder: folder)
    config = parse_settings([])
    folder = open_data(config)
    assert (folder.dataset, folder.data_dir) == ("demo", drawn)
    assert default_input_hw(config, folder) == (256, 256)


def test_a_folder_is_recognised_and_trains_at_608(dota_folder):
    config = parse_settings(["--data_dir", str(dota_folder()), "--input_w", "320"])
    folder = open_data(config)
    assert folder.dataset == "dota"
    assert default_input_hw(config, folder) == (608, 320)
    assert data_classes(config, folder) == ("car", "boat")


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--dataset", "dota"], "needs --data_dir"), (["--data_dir", "no/where"], "no/where: no such data folder")],
)
def test_a_wrong_folder_names_the_flag(flags, message):
    with pytest.raises(SettingsError, match=message):
        open_data(parse_settings(flags))


def test_a_data_yaml_in_place_of_its_folder_names_the_folder(tmp_path):
    (tmp_path / "data.yaml").touch()
    with pytest.raises(SettingsError, match=rf"data\.yaml: is a file; name its folder, {tmp_path}"):
        open_data(parse_settings(["--data_dir", str(tmp_path / "data.yaml")]))


def test_missing_test_pictures_are_a_warning(tmp_path, capsys):
    data_dir = yolo_folder(tmp_path, {"train/a": "", "val/b": ""}, f"{DATA_YAML}test: ../test/images\n")
    assert {*open_data(parse_settings(["--data_dir", str(data_dir)])).images} == {"a", "b"}
    assert "images: is not there, though data.yaml names it for test" in capsys.readouterr().err


def test_an_unknown_format_lists_the_known(dota_folder):
    with pytest.raises(ValueError, match="unknown dataset 'dotta'; known: auto, demo, dota, hrsc, rolabelimg"):
        open_data(parse_settings(["--data_dir", str(dota_folder()), "--dataset", "dotta"]))


def test_a_bad_label_stops_with_file_and_line_or_is_counted(dota_folder, capsys):
    data_dir = dota_folder(lists={"train": ["scene_0"], "val": ["scene_1"]})
    path = data_dir / "labelTxt" / "scene_0.txt"
    count = len(path.read_text().splitlines())
    with path.open("a") as file:
        file.write("1 2 3 car 0\n1 1 9 1 9 9 1 9 plane 0\n")
    for flags in ([], ["--on_bad_label", "skip"]):
        config = parse_settings(["--data_dir", str(data_dir), *flags])
        folder = open_data(config)
        if not flags:
            with pytest.raises(LabelError, match=rf"scene_0\.txt:{count + 1}: "):
                read_split(config, folder, "train", ("car", "boat"))
            continue
        _, samples = read_split(config, folder, "train", ("car", "boat"))
        assert len(samples[0].labels) == count
        said = capsys.readouterr().err
        assert "2 bad labels left out" in said
        assert f"scene_0.txt:{count + 2}: unknown class 'plane'" in said


def test_a_picture_of_unknown_classes_alone_is_no_negative_example(dota_folder, capsys):
    """A class that was misspelt in all of its lines taught that what the picture shows is background."""
    data_dir = dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2"]})
    path = data_dir / "labelTxt" / "scene_0.txt"
    path.write_text(path.read_text().replace("car", "cra").replace("boat", "baot"))
    config = parse_settings(["--data_dir", str(data_dir), "--on_bad_label", "skip"])
    split, samples = read_split(config, open_data(config), "train", ("car", "boat"))
    assert split.names == [sample.name for sample in samples] == ["scene_1"]
    assert "scene_0.png is left out" in capsys.readouterr().err


def test_pictures_whose_label_file_cannot_be_read_are_left_out_and_counted(dota_folder, capsys):
    data_dir = dota_folder(lists={"train": ["scene_0", "scene_1", "scene_3"], "val": ["scene_2"]})
    (data_dir / "xml").mkdir()
    for name in ("scene_0", "scene_1", "scene_2", "scene_3"):
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>4</ymax></bndbox>"
        objects = f"<object><name>car</name>{box}</object>\n<object><name>car</name></object>"
        text = f"<annotation>{objects}</annotation>" if name == "scene_0" else ""
        (data_dir / "xml" / f"{name}.xml").write_text(text)
    flags = ["--data_dir", str(data_dir), "--dataset", "rolabelimg", "--on_bad_label", "skip"]
    config = parse_settings(flags)
    split, samples = read_split(config, open_data(config), "train", ("car", "boat"))
    assert split.names == [sample.name for sample in samples] == ["scene_0"]
    said = capsys.readouterr().err
    assert "warning: 1 bad labels left out" in said
    assert "warning: 2 pictures left out, of whose labels none can be used" in said
    assert "scene_1.xml:1: is not well-formed XML" in said
    with pytest.raises(ListError, match="none of the 1 pictures has labels that can be used"):
        read_split(config, open_data(config), "val", ("car", "boat"))


def test_label_files_without_a_picture_are_told_of_where_a_picture_without_one_is_empty(tmp_path, capsys):
    """A picture that was renamed after it was labelled was trained on as one without objects."""
    data_dir = yolo_folder(tmp_path / "data", {"train/a": YOLO_LINE, "train/b": None, "val/c": YOLO_LINE})
    (data_dir / "labels" / "train" / "old.txt").write_text(YOLO_LINE)
    config = parse_settings(["--data_dir", str(data_dir)])
    folder = open_data(config)
    for role in ("train", "val"):
        read_split(config, folder, role, data_classes(config, folder))
    said = capsys.readouterr().err
    assert said.count("warning: 1 label files have no picture, such as ") == 1
    assert "old.txt; was one renamed?" in said
    assert "1 of 2 pictures have no label file and are taken for pictures without objects, such as b" in said


def test_label_files_that_are_all_missing_stop(tmp_path):
    """In YOLO's form a missing file is a picture without objects, and a folder called Labels held none."""
    data_dir = yolo_folder(tmp_path / "data", {"train/a": YOLO_LINE, "val/c": None})
    config = parse_settings(["--data_dir", str(data_dir)])
    with pytest.raises(ListError, match=r"none of the 1 pictures has a label file, such as .*c\.txt"):
        read_split(config, open_data(config), "val", ("car", "船 船"))


def test_objects_that_stand_twice_are_told_of(dota_folder, capsys):
    data_dir = dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2"]})
    path = data_dir / "labelTxt" / "scene_1.txt"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + text.splitlines()[0] + "\n", encoding="utf-8")
    config = parse_settings(["--data_dir", str(data_dir)])
    folder = open_data(config)
    for role in ("train", "val"):
        read_split(config, folder, role, ("car", "boat"))
    said = capsys.readouterr().err
    assert said.count("1 objects stand twice, such as in scene_1; ") == said.count("warning") == 1


def test_repeated_lines_of_a_list_are_warned_of_once(dota_folder, capsys):
    data_dir = dota_folder(lists={"train": ["scene_0", "scene_1", "scene_0", "scene_0", "scene_2"]})
    config = parse_settings(["--data_dir", str(data_dir)])
    folder = open_data(config)
    class_names = data_classes(config, folder)
    for role in ("train", "val"):
        read_split(config, folder, role, class_names)
    said = capsys.readouterr().err
    assert said.count("2 lines repeat") == said.count("warning") == 1
    assert "train.txt" in said


def test_split_concerns_the_pictures_that_are_scored(dota_folder):
    lists = {"train": ["scene_0"], "val": ["scene_1"], "other": ["scene_2", "scene_3"]}
    config = parse_settings(["--data_dir", str(dota_folder(lists=lists)), "--split", "other"])
    folder = open_data(config)
    assert read_split(config, folder, "train", ("car", "boat"))[0].names == ["scene_0"]
    assert read_split(config, folder, "val", ("car", "boat"))[0].names == ["scene_2", "scene_3"]


def test_a_seed_that_parts_the_pictures_does_not_decide_on_the_classes(dota_folder):
    """The one picture with a van may be held out, and then no class would have its name."""
    data_dir = dota_folder()
    (data_dir / "classes.txt").unlink(missing_ok=True)
    with next(iter(sorted((data_dir / "labelTxt").iterdir()))).open("a", encoding="utf-8") as file:
        file.write("1 1 9 1 9 9 1 9 van 0\n")
    configs = [parse_settings(["--data_dir", str(data_dir), "--seed", str(seed)]) for seed in range(8)]
    found = {frozenset(data_classes(config, open_data(config))) for config in configs}
    assert found == {frozenset(("car", "boat", "van"))}
    assert (
        len(
            {tuple(read_split(config, open_data(config), "val", ("car", "boat", "van"))[0].names) for config in configs}
        )
        > 1
    )


def test_pictures_on_both_sides_are_warned_of(capsys):
    warn_of_shared_pictures(Split(["a", "b"], ""), Split(["c"], ""))
    assert capsys.readouterr().err == ""
    warn_of_shared_pictures(Split(["a", "b", "c"], ""), Split(["d", "c", "b"], ""))
    assert "2 of 3 validation pictures are trained on, too, such as b" in capsys.readouterr().err


def test_tiles_that_show_what_others_are_trained_on_are_warned_of(capsys):
    """A list of every fourth tile: all of them had been seen, in the tiles beside them, and nothing was said."""
    tiles = {tile.name: tile for tile in lay_tiles("a", 100, 400, 100, 20)}
    index, (first, second, *rest) = TileIndex(100, 20, ("car",), {"a": (100, 400)}, tiles), tiles
    warn_of_shared_pictures(Split([first], ""), Split(rest, ""), index)
    assert capsys.readouterr().err == ""
    warn_of_shared_pictures(Split([first, *rest], ""), Split([second], ""), index)
    assert f"1 of 1 validation tiles show what tiles that are trained on show, too, such as {second} and {first}" in (
        capsys.readouterr().err
    )


def test_flips_and_colours_are_switches():
    usual, flat = augmentation_of(Config()), augmentation_of(Config(augment_flip=0.0, augment_colour=0.0))
    assert (usual.flip, usual.gain, usual.offset) == (0.5, 0.2, 0.1)
    assert (flat.flip, flat.gain, flat.offset) == (0, 0, 0)
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(jitter_colours(np.random.default_rng(0), image, flat), image)


def test_truths_keep_what_a_label_says(dota_folder):
    data_dir = dota_folder()
    flags = ("car 0", "boat 1", "car 2", "DontCare 0")
    lines = [f"{10 * n} 1 {10 * n + 8} 1 {10 * n + 8} 9 {10 * n} 9 {flag}\n" for n, flag in enumerate(flags)]
    (data_dir / "labelTxt" / "scene_3.txt").write_text("".join(lines), encoding="utf-8")
    config = parse_settings(["--data_dir", str(data_dir), "--split", "all"])
    (data_dir / "all.txt").write_text("scene_0\nscene_3\n", encoding="utf-8")
    _, samples = read_split(config, open_data(config), "val", ("car", "boat"))
    truths = truths_of(samples)
    assert list(truths) == ["scene_0", "scene_3"]
    for sample in samples:
        for name in ("quads", "labels", "difficult"):
            assert np.array_equal(getattr(truths[sample.name], name), getattr(sample, name)), name
    flagged = truths["scene_3"]
    assert flagged.labels.tolist() == [0, 1, 0, EVERY_CLASS]
    assert flagged.difficult[:3].tolist() == [0, 1, 2]
    assert flagged.quads[:, 0].tolist() == [[0, 1], [10, 1], [20, 1], [30, 1]]


def test_chosen_classes_are_the_networks_and_objects_of_others_are_background(dota_folder):
    data_dir = dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2"]})
    (data_dir / "labelTxt" / "scene_0.txt").write_text(
        "1 1 9 1 9 9 1 9 car 0\n20 20 40 20 40 40 20 40 boat 0\n50 50 60 50 60 60 50 60 DontCare 0\n", encoding="utf-8"
    )
    config = parse_settings(["--data_dir", str(data_dir), "--classes", "boat"])
    folder = open_data(config)
    assert data_classes(config, folder) == ("boat",)
    sample = read_split(config, folder, "train", ("boat",))[1][0]
    assert sample.labels.tolist() == [0, -1]
    assert sample.quads[0, 0].tolist() == [20, 20]
    (data_dir / "labelTxt" / "scene_0.txt").write_text("1 1 9 1 9 9 1 9 caar 0\n", encoding="utf-8")
    with pytest.raises(LabelError, match="unknown class 'caar'"):  # a slip of the pen is still none of the classes
        read_split(config, folder, "train", ("boat",))
    both = parse_settings(["--data_dir", str(data_dir), "--classes", "boat", "car"])
    assert data_classes(both, folder) == ("boat", "car")  # in the order that was asked for


def test_a_class_that_the_data_do_not_have_is_refused(dota_folder):
    config = parse_settings(["--data_dir", str(dota_folder()), "--classes", "boat", "plane"])
    with pytest.raises(SettingsError, match="--classes plane: the data have the classes car, boat"):
        data_classes(config, open_data(config))
    config = parse_settings(["--data_dir", str(config.data_dir), "--classes", "Boats"])
    with pytest.raises(SettingsError, match="--classes Boats: did you mean 'boat'"):
        data_classes(config, open_data(config))


def test_a_split_without_any_object_has_no_classes_to_leave_out(tmp_path, capsys):
    """In roLabelImg's format the labels alone tell of classes; and what became background is counted."""
    xml = "<annotation><size><width>64</width><height>64</height></size>{}</annotation>"
    box = "<object><name>{}</name><robndbox><cx>20</cx><cy>20</cy><w>9</w><h>5</h><angle>0</angle></robndbox></object>"
    for name, objects in (("a", box.format("car") * 3 + box.format("boat")), ("b", "")):
        (tmp_path / f"{name}.png").write_bytes(PNG)
        (tmp_path / f"{name}.xml").write_text(xml.format(objects), encoding="utf-8")
        (tmp_path / ("train.txt" if name == "a" else "val.txt")).write_text(f"{name}\n", encoding="utf-8")
    config = parse_settings(["--data_dir", str(tmp_path), "--classes", "boat"])
    samples = [read_split(config, open_data(config), role, ("boat",))[1] for role in ("train", "val")]
    assert [[len(sample.labels) for sample in part] for part in samples] == [[1], [0]]
    assert "objects that are background (--classes): 3 car" in capsys.readouterr().out


def test_bands_of_pictures_that_have_none_to_choose_from_are_warned_of(dota_folder, capsys):
    """They were without effect, and nothing said so."""
    config = parse_settings(["--data_dir", str(dota_folder()), "--bands", "9", "9", "9"])
    data_module.reading_of(config, open_data(config))
    assert "--bands says which bands of TIFF files are read, and none of the pictures is one" in capsys.readouterr().err


def test_a_link_that_leads_back_to_itself_is_a_sentence(tmp_path, capsys):
    (tmp_path / "loop").symlink_to("loop")
    assert main.main(["--phase", "train", "--data_dir", str(tmp_path / "loop"), "--num_epoch", "1"]) == 1
    assert "error: a link leads back to itself" in capsys.readouterr().err
