"""Settings: contradictions name the flag, and what was written reads back the same."""

from __future__ import annotations

import os
from dataclasses import fields

import pytest

from tools.config import Config, settings_from, settings_toml
from tools.running.command_line import SettingsError
from tools.setting_flags import parse_settings


def test_tiles_are_not_for_training_which_would_shrink_the_pictures_in_silence():
    with pytest.raises(SettingsError, match=r"--tile is for --phase test and eval.*tools\.split_tiles"):
        parse_settings(["--tile", "600"])
    assert parse_settings(["--phase", "eval", "--tile", "600"]).tile == 600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--accumulate", "9", "--batch_size", "4"],
            "--accumulate is 9; a batch of 4 pictures has at most as many parts",
        ),
        (["--input_h", "602"], "multiple of 32, such as 608"),
        (["--batch_size", "-1"], "at least 0"),
        (["--conf_thresh", "1.5"], "between 0 and 1"),
        (["--nms_thresh", "nan"], "between 0 and 1"),
        (["--init_lr", "nan"], "above 0"),
        (["--init_lr", "0"], "above 0"),
        (["--phase", "trian"], "trian"),
        (["--batch_size", "four"], "invalid .* value: 'four'"),
        (["--tile", "100", "--overlap", "100"], "below --tile 100"),
        (["--scales", "1", "0"], "each must be at least 0.01"),
        (["--scales", "1", "inf"], "each must be at least 0.01 and finite"),
        (["--augment_rotate", "inf"], "--augment_rotate is inf; it must lie between 0 and 180"),
        (["--weight_decay", "inf"], "--weight_decay is inf; it must lie between 0 and 1"),
        (["--phase", "test", "--scales", "0.5"], "--scales goes with --tile"),
        (["--line_width", "40000"], "--line_width is 40000; it must lie between 0 and 1000"),
        (["--classes", "a", "b", "a"], "--classes a b a: give one name or more, each once"),
        (["--input", "x.png", "--phase", "eval"], "--input is for --phase test"),
        (["--resume", "a.pth", "--resume_train", "b"], "one of them"),
        (["--dataset", "demo", "--data_dir", "x"], "draws its own data"),
        (["--box_weight", "inf"], "--box_weight is inf; it must be finite"),
        (["--seed", "99999999999999999999"], "--seed is 9+; it must lie between 0 and"),
        (["--phase", "eval", "--resume_train", "x"], "--phase eval takes a run by --resume"),
        (["--phase", "test", "--overlap", "5"], "--overlap goes with --tile"),
        (["--phase", "test", "--input", "x", "--split", "val"], "--input names the pictures, and --split others"),
        (["--num_epoch", "1", "--num_images", "3"], "both tell how long to train"),
        (["--out", ""], "--out is empty; give it, or leave the flag out"),
        (["--split", " "], "--split is empty"),
        (["--resume_train", ""], "--resume_train is empty"),
    ],
)
def test_contradictions_name_the_flag(arguments, message):
    with pytest.raises(SettingsError, match=message):
        parse_settings(arguments)


def test_a_path_that_is_no_text_is_refused_before_the_work():
    """It was noticed when the settings were written, after data and network had been read."""
    with pytest.raises(SettingsError, match=r"--data_dir 'a.udce4' is not UTF-8 text"):
        parse_settings(["--data_dir", os.fsdecode(b"a\xe4")])


@pytest.mark.parametrize("line", ['out = ""', 'split = " "', 'data_dir = "a\\u0000b"'])
def test_an_empty_text_in_a_file_is_refused(tmp_path, line):
    file = tmp_path / "run.toml"
    file.write_text(line, encoding="utf-8")
    with pytest.raises(SettingsError, match=rf"run\.toml: {line.split()[0]} is .*; give it, or leave the line out"):
        parse_settings(["--config", str(file)])


def test_what_a_file_holds_of_other_work_is_no_contradiction(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('overlap = 50\nresume_train = "x"', encoding="utf-8")
    config = parse_settings(["--config", str(file), "--phase", "test", "--resume", "y"])
    assert (config.overlap, config.resume_train) == (50, None)
    with pytest.raises(SettingsError, match="takes a run by --resume"):
        parse_settings(["--config", str(file), "--phase", "test"])


def test_epochs_as_a_flag_come_above_pictures_in_the_file(tmp_path):
    """The flag was given, and passed over without a word."""
    file = tmp_path / "run.toml"
    file.write_text("num_images = 20", encoding="utf-8")
    config = parse_settings(["--config", str(file), "--num_epoch", "5"])
    assert (config.num_epoch, config.num_images) == (5, None)
    assert parse_settings(["--config", str(file)]).num_images == 20


def test_settings_file_reads_back_the_same(tmp_path):
    config = parse_settings(
        [
            "--data_dir",
            '数据/a "b"',
            "--init_lr",
            "3e-5",
            "--head_norm",
            "none",
            "--seed",
            "7",
            "--scales",
            "0.5",
            "1",
            "--classes",
            "船",
            "2",
        ]
    )
    file = tmp_path / "settings.toml"
    file.write_text(settings_toml(config), encoding="utf-8")
    again = parse_settings(["--config", str(file)])
    names = [item.name for item in fields(Config) if item.name != "explicit"]
    assert [getattr(again, name) for name in names] == [getattr(config, name) for name in names]


def test_what_toml_writes_otherwise_than_json_comes_back(tmp_path):
    """Infinity and DEL were written as JSON has them, and the file could not be read again."""
    config = parse_settings(["--clip_norm", "inf", "--out", "a\x7f = Infinity\n图"])
    file = tmp_path / "settings.toml"
    file.write_text(settings_toml(config), encoding="utf-8")
    again = parse_settings(["--config", str(file)])
    assert (again.clip_norm, again.out) == (config.clip_norm, config.out)


def test_settings_of_another_version_are_left_out():
    assert settings_from({"seed": 3, "gone": 1}).seed == 3


def test_a_width_for_a_neck_that_has_none_is_refused_and_the_fpn_has_one():
    with pytest.raises(
        SettingsError, match="--neck_width is for --neck fpn; --neck combination has the backbone's own"
    ):
        parse_settings(["--neck_width", "32"])
    assert parse_settings(["--neck", "fpn", "--neck_width", "32"]).neck_width == 32
    assert parse_settings(["--phase", "test", "--neck_width", "32"]).neck_width == 32  # of a checkpoint's fpn


@pytest.mark.parametrize("scale", ["0", "-1", "inf", "nan"])
def test_a_rate_of_the_backbone_must_be_above_zero(scale):
    with pytest.raises(SettingsError, match="--backbone_lr_scale is"):
        parse_settings(["--backbone_lr_scale", scale])


@pytest.mark.parametrize("value", ["inf", "nan", "8", "-1"])
def test_colours_are_not_changed_so_far_that_pictures_are_inverted(value):
    with pytest.raises(SettingsError, match="--augment_colour is"):
        parse_settings(["--augment_colour", value])
