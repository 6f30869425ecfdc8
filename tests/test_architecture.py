"""The architecture that a checkpoint tells: it comes back from its record, and flags that contradict it are errors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models import IMAGENET
from tools.architecture import Architecture, check_flags
from tools.config import settings_from
from tools.running.command_line import SettingsError
from tools.setting_flags import parse_settings

ARCHITECTURE = Architecture("resnet18", "batch", ("ship",), (96, 160), IMAGENET)
LIGHT = replace(ARCHITECTURE, backbone="mobilenetv2", neck="fpn", neck_width=24, head_width=40)


@pytest.mark.parametrize(
    "architecture",
    [
        ARCHITECTURE,
        LIGHT,
        replace(ARCHITECTURE, class_names=("小车", "large vehicle"), picture_hw=(1080, 1920)),
        replace(ARCHITECTURE, preprocessing=replace(IMAGENET, value_range=(7315.0, 8315.0))),
    ],
)
def test_an_architecture_comes_back_from_its_record(architecture):
    assert Architecture.from_dict(architecture.to_dict()) == architecture


@pytest.mark.parametrize(("was", "now"), [(True, "batch"), (False, "none")])
def test_a_record_from_before_there_were_kinds_of_norms_is_understood(was: bool, now: str):
    assert Architecture.from_dict(ARCHITECTURE.to_dict() | {"head_norm": was}).head_norm == now
    assert settings_from({"head_norm": was}).head_norm == now


@pytest.mark.parametrize(
    "flags", [["--backbone", "resnet34"], ["--head_norm", "none"], ["--input_h", "608"], ["--input_w", "32"]]
)
def test_a_flag_that_contradicts_the_checkpoint_is_an_error(flags, tmp_path):
    with pytest.raises(SettingsError, match="contradicts the checkpoint"):
        check_flags(parse_settings(flags), ARCHITECTURE, tmp_path)


@pytest.mark.parametrize(
    ("flags", "of", "sentence"),
    [
        (["--neck", "fpn"], ARCHITECTURE, "--neck fpn contradicts .* which says combination"),
        (["--neck_width", "32"], LIGHT, "--neck_width 32 contradicts .* which says 24"),
        (["--neck_width", "32"], ARCHITECTURE, "contradicts .* which says --neck combination, which has none"),
        (["--head_width", "256"], LIGHT, "--head_width 256 contradicts .* which says 40"),
    ],
)
def test_a_flag_that_contradicts_the_neck_or_a_width_is_an_error(flags, of, sentence, tmp_path):
    with pytest.raises(SettingsError, match=sentence):
        check_flags(parse_settings(["--phase", "test", *flags]), of, tmp_path)


def test_flags_that_agree_and_defaults_are_fine(tmp_path):
    check_flags(parse_settings(["--phase", "test", "--neck", "fpn", "--neck_width", "24"]), LIGHT, tmp_path)
    check_flags(parse_settings(["--input_h", "96", "--head_norm", "batch"]), ARCHITECTURE, tmp_path)
    check_flags(parse_settings([]), Architecture("resnet50", "none", ("a",), (32, 32), IMAGENET), tmp_path)


def test_a_range_of_values_that_contradicts_is_an_error(tmp_path):
    flags = parse_settings(["--phase", "test", "--value_range", "0", "10000"])
    with pytest.raises(SettingsError, match=r"--value_range 0 10000 contradicts .* each picture has its own range"):
        check_flags(flags, ARCHITECTURE, tmp_path)
    thermal = replace(ARCHITECTURE, preprocessing=replace(IMAGENET, value_range=(7315.0, 8315.0)))
    with pytest.raises(SettingsError, match=r"--value_range 0 10000 contradicts .* which says 7315 8315"):
        check_flags(flags, thermal, tmp_path)
