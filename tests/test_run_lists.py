"""A run knows which pictures it was trained on and which it has held out, wherever the data are now."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from datasets.splits import Split
from tests.label_documents import write
from tools import split_tiles
from tools.data import open_data, split_of
from tools.run_lists import check_lists, keep_lists, pictures_of_tiles, warn_of_known_pictures
from tools.setting_flags import parse_settings


def a_run(run_dir: Path, **lists: Sequence[str]) -> None:
    """The folder of a run with these lists."""
    write(run_dir / "settings.toml", "")
    keep_lists(run_dir, **lists)


def test_lists_are_kept_in_the_run_folder(tmp_path: Path):
    keep_lists(tmp_path, train=["图 1", "b"], val=[])
    assert (tmp_path / "lists" / "train.txt").read_text(encoding="utf-8") == "图 1\nb\n"
    assert (tmp_path / "lists" / "val.txt").read_text(encoding="utf-8") == ""


@pytest.mark.parametrize(
    ("now", "scored", "said"),
    [
        ("abcdef", "ef", "those of .*val.txt"),  # moved, or another seed
        ("abcdefghijklmnop", "ef", "those of .*val.txt"),  # grown: the seed would choose others, and known ones
        ("abcdegh", "e", r"val.txt \(1 are gone\); --split all takes all 7"),
        ("abxyz", "xyz", "all that the run was not trained on"),
        ("uvwxyz", "uvwxyz", "all that the run was not trained on"),  # another folder: nothing of it is known
    ],
)
def test_what_a_run_has_held_out_is_scored_whatever_the_seed_would_choose_now(
    dota_folder, tmp_path, now: str, scored: str, said: str
):
    a_run(tmp_path / "run", train="abcd", val="ef")
    data_dir = dota_folder(names=tuple(now), lists={})
    config = parse_settings(["--phase", "eval", "--data_dir", str(data_dir), "--seed", "3"])
    split = split_of(config, open_data(config, tmp_path / "run"), "val")
    assert sorted(split.names) == sorted(scored)
    assert re.search(said, split.source)


def test_the_seeds_split_stays_where_it_is_the_runs(dota_folder, tmp_path):
    data_dir = dota_folder(lists={})
    config = parse_settings(["--data_dir", str(data_dir)])
    train, val = (split_of(config, open_data(config), role).names for role in ("train", "val"))
    a_run(tmp_path / "run", train=train, val=val)
    assert "split by seed" in split_of(config, open_data(config, tmp_path / "run"), "val").source
    assert "split by seed" in split_of(config, open_data(config, tmp_path / "no run"), "val").source


def test_pictures_that_were_trained_on_are_told_of_when_they_are_scored(dota_folder, tmp_path, capsys):
    a_run(tmp_path / "run", train=["scene_0", "scene_1"], val=["scene_2"])
    data_dir = dota_folder(lists={"train": ["scene_0"], "val": ["scene_1", "scene_2"]})
    for flags, known in (((), 1), (("--split", "all"), 2), (("--split", "train"), 1)):
        config = parse_settings(["--phase", "eval", "--data_dir", str(data_dir), *flags])
        data = open_data(config, tmp_path / "run")
        split = split_of(config, data, "val")
        warn_of_known_pictures(split, data.run_dir)
        said = capsys.readouterr().err
        assert f"warning: {known} of the {len(split.names)} pictures of {split.source} have names that" in said
        warn_of_known_pictures(split, None)
        assert not capsys.readouterr().err


def test_lists_beside_a_checkpoint_that_is_no_runs_are_not_taken_for_its_own(dota_folder, tmp_path, capsys):
    """`cp best.pth runs/`, where runs/lists are those of tools.split_train_val: pictures were said to be known, and one
    of 24 was scored."""
    keep_lists(tmp_path, train=["scene_1"], val=["scene_0"])
    data_dir = dota_folder("data", lists={})
    config = parse_settings(["--phase", "eval", "--data_dir", str(data_dir)])
    split = split_of(config, open_data(config, tmp_path), "val")
    assert "split by seed" in split.source
    warn_of_known_pictures(split._replace(names=["scene_1"]), tmp_path)
    assert not capsys.readouterr().err


def test_lists_and_files_may_spell_an_umlaut_in_two_ways(dota_folder, tmp_path, capsys):
    """A run on Linux whose data lie on a Mac since: pictures that were trained on were scored as new ones."""
    a_run(tmp_path / "run", train=["Stra\u00dfe \u00e4"], val=["H\u00f6he", "b"])
    check_lists(tmp_path / "run", train=["Stra\u00dfe a\u0308"], val=["Ho\u0308he", "b"])
    data_dir = dota_folder(names=("Stra\u00dfe a\u0308", "Ho\u0308he", "b"), lists={})
    config = parse_settings(["--phase", "eval", "--data_dir", str(data_dir)])
    data = open_data(config, tmp_path / "run")
    assert sorted(split_of(config, data, "val").names) == ["Ho\u0308he", "b"]
    warn_of_known_pictures(split_of(config, data, "val"), data.run_dir)
    assert not capsys.readouterr().err
    config = parse_settings(["--phase", "eval", "--data_dir", str(data_dir), "--split", "all"])
    warn_of_known_pictures(split_of(config, data, "val"), data.run_dir)
    assert "warning: 1 of the 3 pictures" in capsys.readouterr().err


def test_tiles_of_pictures_that_were_trained_on_are_known_and_so_are_the_pictures(dota_folder, tmp_path, capsys):
    """A run on tiles was scored on the pictures that these are of, or on other tiles of them, as on new ones."""
    whole = dota_folder("whole", names=("a", "b"), hw=(150, 150), lists={"train": ["a"], "val": ["b"]})
    for size in (96, 64):
        words = [str(whole), str(tmp_path / f"tiles{size}"), "--size", str(size), "--overlap", "32", "--workers", "0"]
        assert split_tiles.main(words) == 0
    tiles = tmp_path / "tiles96"
    train = (tiles / "train.txt").read_text().split()
    assert pictures_of_tiles(tiles, train) == ["a"]
    assert pictures_of_tiles(whole, ["a"]) == []
    a_run(tmp_path / "run", train=train, val=(tiles / "val.txt").read_text().split(), train_pictures=["a"])
    for folder, split, known in ((whole, "train", 1), (whole, "val", 0), (tmp_path / "tiles64", "train", 16)):
        config = parse_settings(["--phase", "eval", "--data_dir", str(folder), "--split", split])
        data = open_data(config, tmp_path / "run")
        capsys.readouterr()
        chosen = split_of(config, data, "val")
        warn_of_known_pictures(chosen, data.run_dir, data.data_dir)
        said = capsys.readouterr().err
        assert said.startswith(f"warning: {known} of the") if known else not said
    # A picture that was parted by place is on both sides, and its tiles are not.
    a_run(tmp_path / "parted", train=train[:2], val=train[-2:], train_pictures=["a"])
    warn_of_known_pictures(Split(train[-2:], "the list"), tmp_path / "parted", tiles)
    assert not capsys.readouterr().err


def test_a_folder_that_holds_few_of_the_held_out_pictures_is_asked_about(dota_folder, tmp_path, capsys):
    """Other data of which four of fifty names were the same were scored on these four."""
    a_run(tmp_path / "run", train=["x"], val=["a", "b", "c"])
    config = parse_settings(["--phase", "eval", "--data_dir", str(dota_folder(names=("a", "d", "e"), lists={}))])
    assert split_of(config, open_data(config, tmp_path / "run"), "val").names == ["a"]
    assert "has 1 of the 3 pictures that the run has held out, by their names; is it" in capsys.readouterr().err
