"""Settings from flags and files: order of sources, names, kinds, and a --help that does not wait for torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from tools import setting_flags
from tools.config import Config, setting_fields, settings_toml
from tools.running.command_line import SettingsError
from tools.setting_flags import parse_settings, split_settings

PUBLISHED_FLAGS = (
    "phase backbone dataset data_dir num_epoch batch_size num_workers init_lr input_h input_w K conf_thresh resume "
    "resume_train pretrained device out seed split nms_thresh head_norm"
).split()
REPOSITORY = Path(__file__).resolve().parent.parent


def test_every_published_flag_is_a_setting():
    assert set(PUBLISHED_FLAGS) <= {item.name for item in fields(Config)}


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('backbone = "resnet34"\nbatch-size = 3\ninit_lr = 1\n', encoding="utf-8")
    config = parse_settings(["--config", str(file), "--batch_size", "5"])
    assert (config.backbone, config.batch_size, config.init_lr, config.seed) == ("resnet34", 5, 1.0, 0)
    assert config.explicit == {"backbone", "batch_size", "init_lr"}


@pytest.mark.parametrize("flag", ["--data-dir", "--data_dir"])
def test_dash_and_underscore_are_the_same(flag):
    assert parse_settings([flag, "some/path"]).data_dir == Path("some/path")
    assert parse_settings([f"{flag}=other"]).data_dir == Path("other")


@pytest.mark.parametrize("flag", ["--no-sparse-heads", "--no_sparse_heads"])
def test_a_switch_is_turned_off_by_no(flag):
    assert parse_settings([]).sparse_heads is True
    assert parse_settings([flag]).sparse_heads is False


def test_unknown_flag_names_the_nearest():
    with pytest.raises(SettingsError, match="--backbon; nearest: --backbone"):
        parse_settings(["--backbon", "resnet18"])


def test_unknown_file_key_names_file_and_nearest(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("batchsize = 3\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"run\.toml: unknown setting 'batchsize'; nearest: batch_size"):
        parse_settings(["--config", str(file)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('batch_size = "many"\n', "batch_size is 'many', not of the kind int"),
        ("sparse_heads = 1\n", "not of the kind bool"),
        ("head_norm = 1\n", "not of the kind str"),
        ("seed = true\n", "not of the kind int"),
        ("seed = \n", "is not TOML"),
        ("down_ratio = 2\n", "no setting"),
    ],
)
def test_bad_file_is_refused_with_its_name(tmp_path, text, message):
    file = tmp_path / "run.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=message):
        parse_settings(["--config", str(file)])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.toml: cannot be read"):
        parse_settings(["--config", str(tmp_path / "none.toml")])


@pytest.mark.parametrize("arguments", [["--down_ratio", "2"], ["--down-ratio=2"], ["--down_ratio"]])
def test_down_ratio_explains_why_it_is_fixed(arguments):
    with pytest.raises(SettingsError, match="a quarter of the input"):
        parse_settings(arguments)


def test_resume_train_without_a_value_means_the_newest_run():
    assert parse_settings(["--resume_train"]).resume_train == "newest"
    assert parse_settings(["--resume_train", "runs/x"]).resume_train == "runs/x"


def test_help_shows_defaults_and_units_and_does_not_import_torch():
    code = (
        "import sys, main\n"
        "try:\n    main.main(['--help'])\nexcept SystemExit as leave:\n    assert leave.code == 0\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[default: resnet18]" in done.stdout
    assert "pixels" in done.stdout


def test_the_settings_of_a_training_do_not_send_other_work_to_where_it_began(tmp_path):
    """Else eval would score the checkpoint that the run started from, and write over the run's own results."""
    file = tmp_path / "settings.toml"
    began = ["--resume", "runs/a/best.pth", "--out", "runs/b", "--nms_thresh", "0.2"]
    file.write_text(settings_toml(parse_settings(began)), encoding="utf-8")
    for flags in (["--phase", "eval"], ["--phase", "test"], ["--resume_train", "runs/b"]):
        config = parse_settings(["--config", str(file), *flags])
        assert (config.resume, config.out, config.nms_thresh) == (None, None, 0.2)
    again = parse_settings(["--config", str(file)])  # such a training once more
    assert (str(again.resume), str(again.out)) == ("runs/a/best.pth", "runs/b")
    config = parse_settings(["--config", str(file), "--phase", "eval", "--resume", "runs/c", "--out", "x"])
    assert (str(config.resume), str(config.out)) == ("runs/c", "x")


def test_settings_are_told_from_the_arguments_of_a_command_of_its_own():
    given = "a --input-h 64 b --cache c --no_cache --seed=1 --scales 0.5 -1 d --dataset x --num 3 --resume_train --seed"
    settings, rest = split_settings(given.split(), others=("dataset",))
    assert settings == "--input-h 64 --cache --no_cache --seed=1 --scales 0.5 -1 --resume_train --seed".split()
    assert rest == "a b c d --dataset x --num 3".split()
    assert split_settings([]) == ([], [])
    given = "in out --classes a 1 --seed 2".split()  # names go on until the next flag
    assert split_settings(given) == (given[2:], given[:2])


@pytest.mark.parametrize(
    ("flag", "ours"),
    [
        ("--imgsz", "--input_h, --input_w"),
        ("--lr0", "--init_lr"),
        ("--weights", "--resume, --pretrained"),
    ],
)
def test_a_flag_that_has_another_name_elsewhere_is_told_ours(flag: str, ours: str) -> None:
    """--imgsz was told to be near --num_images."""
    with pytest.raises(SettingsError, match=f"unknown flag {flag}; here that is {ours};"):
        parse_settings([flag, "640"])


def test_every_name_of_ours_that_is_told_is_a_flag() -> None:
    ours = {name for names in setting_flags.ELSEWHERE.values() for name in names}
    assert ours <= {item.name for item in setting_fields()}
    assert not setting_flags.ELSEWHERE.keys() & {item.name for item in setting_fields()}
