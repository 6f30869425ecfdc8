"""Which pictures train and which validate: list files in any state, and the split by seed where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.splits import ListError, choose_split, find_name, read_list, split_by_seed

TWENTY = [f"P{number:02}" for number in range(20)]


def pictures(names: list[str] | None = None) -> dict[str, Path]:
    return {name: Path("images") / f"{name}.png" for name in (TWENTY if names is None else names)}


def write_list(folder: Path, name: str, entries: list[str]) -> Path:
    path = folder / name
    path.write_text("".join(f"{entry}\n" for entry in entries), encoding="utf-8")
    return path


# -- list files


def test_a_list_is_read_in_its_order(tmp_path: Path) -> None:
    assert read_list(write_list(tmp_path, "a.txt", ["P03", "P01", "P02"]), pictures()) == ["P03", "P01", "P02"]


@pytest.mark.parametrize(
    "content", ["P01\nP02\n\n", "P01\n\n  \nP02", "\nP01\nP02", "P01 \n\tP02\n", "P01\nP02\nP01\n"]
)
def test_blank_lines_margins_and_repetitions_do_not_count(tmp_path: Path, content: str) -> None:
    """Defect 9: a blank last line in a list crashes the published code."""
    path = tmp_path / "a.txt"
    path.write_text(content, encoding="utf-8")
    assert read_list(path, pictures()) == ["P01", "P02"]


def test_lines_that_repeat_earlier_ones_are_counted(tmp_path: Path) -> None:
    """People repeat lines to weigh rare pictures, and were not told that it does nothing."""
    write_list(tmp_path, "train.txt", ["P01", "P02", "P01.png", "x/P01"])
    assert choose_split(tmp_path, pictures(), "train").num_repeated == 2  # less a tenth for validation
    assert choose_split(tmp_path, pictures(), "val").num_repeated == 0
    write_list(tmp_path, "val.txt", ["P03"])
    for where in ({}, {"split": "train"}, {"lists_dir": tmp_path}):
        split = choose_split(tmp_path, pictures(), "train", **where)
        assert (split.names, split.num_repeated) == (["P01", "P02"], 2)


@pytest.mark.parametrize(
    "content", [b"P01\r\nP02\r\n", b"\xef\xbb\xbfP01\nP02\n", b"\xef\xbb\xbfP01\r\nP02", b"P01\rP02"]
)
def test_line_ends_of_any_system_and_a_byte_order_mark_are_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert read_list(path, pictures()) == ["P01", "P02"]


@pytest.mark.parametrize(
    "entry",
    [
        "P01.png",
        "P01.JPG",
        "images/P01.png",
        "images/P01",
        "C:\\Users\\图\\images\\P01.jpg",
        "./P01",
        "/data/x.y/P01.tif",
    ],
)
def test_an_entry_may_carry_a_folder_and_a_suffix(tmp_path: Path, entry: str) -> None:
    assert read_list(write_list(tmp_path, "a.txt", [entry]), pictures()) == ["P01"]


@pytest.mark.parametrize("entry", ["Gerät", "Gera\u0308t", "images/Gera\u0308t.png"])
@pytest.mark.parametrize("name", ["Gerät", "Gera\u0308t"])
def test_an_entry_means_the_picture_however_its_umlaut_is_written(tmp_path: Path, name: str, entry: str) -> None:
    """Such a list was refused with a message in which both names look the same."""
    assert read_list(write_list(tmp_path, "a.txt", [entry]), pictures([name])) == [name]


@pytest.mark.parametrize("name", ["a.b", "图 1", "P01.png", "x__0.5__0___0", "my image"])
def test_a_name_may_hold_dots_blanks_and_any_script(tmp_path: Path, name: str) -> None:
    images = pictures([name, "P01"])
    assert read_list(write_list(tmp_path, "列表.txt", [name, f"{name}.png"]), images) == [name]


def test_an_entry_without_a_picture_is_named_with_file_and_line(tmp_path: Path) -> None:
    path = write_list(tmp_path, "train.txt", ["P01", "", "P99"])
    with pytest.raises(ListError, match=r"train\.txt:3: no picture named 'P99' in images"):
        read_list(path, pictures())


def test_a_list_with_nothing_in_it_is_an_error_and_so_is_one_for_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(ListError, match=r"empty\.txt: the list names no picture"):
        read_list(write_list(tmp_path, "empty.txt", []), pictures())
    with pytest.raises(ListError, match=r"a\.txt:1: no picture named 'P01'"):
        read_list(write_list(tmp_path, "a.txt", ["P01"]), {})


def test_a_line_ends_where_an_editor_ends_it(tmp_path: Path) -> None:
    """A separator within a name parted it, and a form feed shifted the numbers of the lines after it."""
    path = write_list(tmp_path, "a.txt", ["P\u202801", "P02\f", "lost"])
    with pytest.raises(ListError, match=r"a\.txt:3: no picture named 'lost'"):
        read_list(path, {"P\u202801": Path("1.png"), "P02": Path("2.png")})


def test_a_missing_list_and_one_that_is_not_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(ListError, match=r"lost\.txt: cannot be read"):
        read_list(tmp_path / "lost.txt", pictures())
    (tmp_path / "latin.txt").write_bytes(b"P\xe901\n")
    with pytest.raises(ListError, match=r"latin\.txt:1: the line is not UTF-8 text"):
        read_list(tmp_path / "latin.txt", pictures())


# -- the choice


ROLES = ("train", "val")


@pytest.mark.parametrize(
    ("lists", "train_list", "val_list"),
    [
        (["train.txt", "val.txt"], "train.txt", "val.txt"),
        (["trainval.txt", "test.txt"], "trainval.txt", "test.txt"),
        (["train.txt", "trainval.txt", "val.txt", "test.txt"], "train.txt", "val.txt"),
        (["train.txt", "test.txt"], "train.txt", "test.txt"),
        (["trainval.txt", "val.txt"], "trainval.txt", "val.txt"),
    ],
)
def test_lists_are_read_in_the_order_of_their_names(
    tmp_path: Path, lists: list[str], train_list: str, val_list: str
) -> None:
    for number, name in enumerate(lists):
        write_list(tmp_path, name, [f"P{number:02}", f"P{number + 10:02}"])
    for role, name in zip(ROLES, (train_list, val_list), strict=True):
        number = lists.index(name)
        chosen = choose_split(tmp_path, pictures(), role)
        assert chosen.names == [f"P{number:02}", f"P{number + 10:02}"]
        assert chosen.source == str(tmp_path / name)


def test_without_a_list_a_tenth_validates_and_the_rest_trains(tmp_path: Path) -> None:
    """User request 2: no hand-made lists."""
    train, val = (choose_split(tmp_path, pictures(), role, seed=5) for role in ROLES)
    assert len(val.names) == 2
    assert sorted(train.names + val.names) == TWENTY
    assert "seed 5" in train.source


def test_with_a_training_list_alone_a_tenth_of_it_validates(tmp_path: Path) -> None:
    write_list(tmp_path, "train.txt", TWENTY[:10])
    train, val = (choose_split(tmp_path, pictures(), role) for role in ROLES)
    assert len(val.names) == 1
    assert sorted(train.names + val.names) == TWENTY[:10]
    assert "train.txt" in train.source
    assert "train.txt" in val.source


def test_with_a_validation_list_alone_all_other_pictures_train(tmp_path: Path) -> None:
    write_list(tmp_path, "test.txt", ["P03", "P07"])
    train, val = (choose_split(tmp_path, pictures(), role) for role in ROLES)
    assert val.names == ["P03", "P07"]
    assert train.names == [name for name in TWENTY if name not in ("P03", "P07")]


def test_a_validation_list_of_all_pictures_leaves_none_to_train_on(tmp_path: Path) -> None:
    write_list(tmp_path, "val.txt", TWENTY)
    with pytest.raises(ListError, match=r"val\.txt: lists every picture"):
        choose_split(tmp_path, pictures(), "train")


@pytest.mark.parametrize("role", ROLES)
def test_a_named_list_is_taken_for_either_role(tmp_path: Path, role: str) -> None:
    write_list(tmp_path, "train.txt", TWENTY[:5])
    path = write_list(tmp_path, "夜.txt", ["P11"])
    elsewhere = write_list(tmp_path.parent, "elsewhere.txt", ["P12"])
    for named, expected in (("夜", ["P11"]), ("夜.txt", ["P11"]), (str(path), ["P11"]), (str(elsewhere), ["P12"])):
        assert choose_split(tmp_path, pictures(), role, split=named).names == expected


def test_a_named_list_that_is_not_there_tells_which_are(tmp_path: Path) -> None:
    with pytest.raises(ListError, match=r"night\.txt: no such list; the folder holds none; tools.split"):
        choose_split(tmp_path, pictures(), "val", split="night")
    write_list(tmp_path, "day.txt", ["P01"])
    with pytest.raises(ListError, match=r"night\.txt: no such list; the folder holds day\.txt;"):
        choose_split(tmp_path, pictures(), "val", split="night")


@pytest.mark.parametrize("role", ROLES)
def test_no_pictures_at_all_are_an_error_that_names_the_folder(tmp_path: Path, role: str) -> None:
    with pytest.raises(ListError, match="holds no picture"):
        choose_split(tmp_path, {}, role)


@pytest.mark.parametrize("role", ROLES)
def test_a_single_picture_serves_both(tmp_path: Path, role: str) -> None:
    assert choose_split(tmp_path, pictures(["only"]), role).names == ["only"]


# -- by seed


@given(names=st.sets(st.text(min_size=1, max_size=4), min_size=2, max_size=60), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_a_split_is_a_partition_that_does_not_depend_on_the_order(names: set[str], seed: int) -> None:
    train, val = split_by_seed(sorted(names), seed)
    assert sorted(train + val) == sorted(names)
    assert train
    assert len(val) == max(1, round(len(names) / 10))
    assert split_by_seed(sorted(names, reverse=True), seed) == (train, val)


def test_another_seed_gives_another_split_and_the_same_seed_the_same_on_every_machine() -> None:
    assert len({tuple(split_by_seed(TWENTY, seed)[1]) for seed in range(20)}) > 10
    # As numpy 2.4 draws it: a change would mix training and validation pictures of older runs.
    assert split_by_seed(TWENTY, 0)[1] == ["P04", "P19"]


def test_of_no_names_nothing_is_split() -> None:
    assert split_by_seed([], 0) == ([], [])


# -- a folder of lists


def test_a_folder_of_lists_counts_instead_of_those_in_the_data_folder(tmp_path: Path) -> None:
    for name in ("train.txt", "val.txt"):
        write_list(tmp_path, name, ["P00"])
    lists_dir = tmp_path / "列表 1"
    lists_dir.mkdir()
    write_list(lists_dir, "trainval.txt", TWENTY[:9])
    path = write_list(lists_dir, "test.txt", TWENTY[9:])
    train, val = (choose_split(tmp_path, pictures(), role, lists_dir=lists_dir) for role in ROLES)
    assert (train.names, val.names) == (TWENTY[:9], TWENTY[9:])
    assert val.source == str(path)
    assert choose_split(tmp_path, pictures(), "val", split="trainval", lists_dir=lists_dir).names == TWENTY[:9]


@pytest.mark.parametrize(("role", "needed"), [("train", "train.txt"), ("val", "val.txt")])
def test_a_folder_without_the_needed_list_is_an_error_that_names_it(tmp_path: Path, role: str, needed: str) -> None:
    write_list(tmp_path, needed, TWENTY)  # does not count
    lists_dir = tmp_path / "lists"
    with pytest.raises(ListError, match="lists: no such folder of lists"):
        choose_split(tmp_path, pictures(), role, lists_dir=lists_dir)
    lists_dir.mkdir()
    with pytest.raises(ListError, match=rf"{needed}: no such list; looked for {needed} or .*, found none"):
        choose_split(tmp_path, pictures(), role, lists_dir=lists_dir)
    write_list(lists_dir, "night.txt", TWENTY)
    with pytest.raises(ListError, match=r"found night\.txt$"):
        choose_split(tmp_path, pictures(), role, lists_dir=lists_dir)
    with pytest.raises(ListError, match=r"day\.txt: no such list; the folder holds night\.txt;"):
        choose_split(tmp_path, pictures(), role, split="day", lists_dir=lists_dir)


def test_the_split_that_a_format_knows_is_used_where_there_is_no_list(tmp_path: Path) -> None:
    images = {name: tmp_path / f"{name}.png" for name in "abcd"}
    known = {"train": ["a", "b"], "val": [], "test": ["c"]}
    assert choose_split(tmp_path, images, "train", known=known).names == ["a", "b"]
    assert choose_split(tmp_path, images, "val", known=known).names == ["c"]
    assert choose_split(tmp_path, images, "val", split="test", known=known).names == ["c"]
    (tmp_path / "val.txt").write_text("d\n", encoding="utf-8")
    assert choose_split(tmp_path, images, "val", known=known).names == ["d"]
    for role in ROLES:
        assert choose_split(tmp_path, images, role, split="test", known=known).names == ["c"]


@pytest.mark.parametrize("side", ROLES)
def test_a_format_that_knows_one_side_is_parted_from_it(tmp_path: Path, side: str) -> None:
    """Else the validation pictures would be among those that are trained on."""
    images = pictures()
    known = {side: TWENTY if side == "train" else TWENTY[:4]}
    train, val = (choose_split(tmp_path, images, role, known=known) for role in ROLES)
    assert sorted(train.names + val.names) == TWENTY
    assert len(val.names) == (2 if side == "train" else 4)
    assert {train.by_seed, val.by_seed} == {side == "train"}


def test_a_folder_of_lists_must_hold_the_named_one_though_the_format_knows_it(tmp_path: Path) -> None:
    lists_dir = tmp_path / "lists"
    lists_dir.mkdir()
    write_list(lists_dir, "val.txt", ["P01"])
    known = {"test": ["P02"]}
    with pytest.raises(ListError, match=r"test\.txt: no such list; the folder holds val\.txt;"):
        choose_split(tmp_path, pictures(), "val", split="test", lists_dir=lists_dir, known=known)
    write_list(lists_dir, "test.txt", ["P03"])
    assert choose_split(tmp_path, pictures(), "val", split="test", lists_dir=lists_dir, known=known).names == ["P03"]


def test_an_entry_of_a_list_may_carry_a_folder_and_a_suffix() -> None:
    images = {name: Path(f"{name}.png") for name in ("a", "a.b", "c.png")}
    entries = ("a", "x/a.PNG", "C:\\x\\a.b.jpg", "c.png", "./c.png.tif", "a.b.txt", "none")
    assert [find_name(entry, images) for entry in entries] == ["a", "a", "a.b", "c.png", "c.png", None, None]


@pytest.mark.parametrize("folder", ["ImageSets", "ImageSets/Main"])
def test_lists_of_voc_are_found_in_the_data_folder(tmp_path, folder):
    """Or nine of ten pictures would be trained on, those to be scored among them."""
    images = {name: tmp_path / f"{name}.jpg" for name in "abcd"}
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "trainval.txt").write_text("a\nb\n")
    (tmp_path / folder / "test.txt").write_text("c\nd\n")
    assert choose_split(tmp_path, images, "train").names == ["a", "b"]
    assert choose_split(tmp_path, images, "val").names == ["c", "d"]
    assert choose_split(tmp_path, images, "val", split="trainval").names == ["a", "b"]
    (tmp_path / "train.txt").write_text("d\n")
    assert choose_split(tmp_path, images, "train").names == ["d"]


def test_the_lists_of_hrsc2016_lie_beside_its_pictures(tmp_path):
    data_dir = tmp_path / "FullDataSet"
    data_dir.mkdir()
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "train.txt").write_text("a\n")
    (tmp_path / "ImageSets" / "test.txt").write_text("c\n")
    images = {name: data_dir / "AllImages" / f"{name}.bmp" for name in "abc"}
    assert choose_split(data_dir, images, "train").names == ["a"]
    assert choose_split(data_dir, images, "val").names == ["c"]


def test_a_list_of_the_data_folder_is_found_beside_image_sets(tmp_path):
    images = {name: tmp_path / f"{name}.jpg" for name in "ab"}
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "train.txt").write_text("a\n")
    (tmp_path / "few.txt").write_text("b\n")
    assert choose_split(tmp_path, images, "val", split="few").names == ["b"]


def test_pictures_of_one_name_in_two_folders_are_not_taken_for_one(tmp_path: Path) -> None:
    """Lists of two cameras trained and validated on the pictures of one of them, as repeated lines."""
    images = {"1": tmp_path / "cam1" / "1.png", "2": tmp_path / "cam1" / "2.png"}
    path = tmp_path / "val.txt"
    path.write_text("cam1/1.png\ncam1/2.png\ncam2\\1.png\n", encoding="utf-8")
    with pytest.raises(ListError, match=r"val\.txt:3: 'cam2\\1\.png' and a line before it name pictures of one name"):
        read_list(path, images)
    for line, is_told in (("cam2/1.png", True), ("/data/all/cam1/1.png", False), ("1", False), ("1.png", False)):
        path.write_text(f"2\n{line}\n{line}\n", encoding="utf-8")
        split = choose_split(tmp_path, images, "val")
        assert (split.names, split.num_repeated) == (["2", "1"], 1)
        assert split.elsewhere == (f"{path}:2: '{line}' was taken for {images['1']}" if is_told else "")


def test_one_picture_may_be_named_from_different_places(tmp_path: Path) -> None:
    images = {"1": tmp_path / "images" / "1.png"}
    path = tmp_path / "val.txt"
    path.write_text(f"images/1.png\n./images/1.png\n./1.png\nImages\\1.png\n{images['1']}\n1\n", encoding="utf-8")
    split = choose_split(tmp_path, images, "val")
    assert (split.names, split.num_repeated, split.elsewhere) == (["1"], 5, "")


def test_all_pictures_can_be_asked_for(tmp_path: Path) -> None:
    images = {name: tmp_path / f"{name}.png" for name in "abc"}
    (tmp_path / "val.txt").write_text("a\n", encoding="utf-8")
    assert choose_split(tmp_path, images, "val", "all").names == ["a", "b", "c"]
    (tmp_path / "all.txt").write_text("b\n", encoding="utf-8")
    assert choose_split(tmp_path, images, "val", "all").names == ["b"]
