"""What a file of weights tells: ours, published ones, backbones, others, and files that are none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models import CTRBOX, IMAGENET, PUBLISHED, build_backbone
from tools.architecture import Architecture
from tools.checkpoint import load_file, save_checkpoint
from tools.detection.results import file_hash
from tools.inspect_checkpoint import inspect_file, main

REPOSITORY = Path(__file__).resolve().parent.parent
ARCHITECTURE = Architecture("mobilenetv2", "batch", ("小车", "large vehicle"), (96, 160), IMAGENET)
PARTS = ["base_network", "dec_c4", "dec_c3", "dec_c2", "hm", "wh", "reg", "cls_theta"]


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    path = tmp_path_factory.mktemp("数据") / "last 1.pth"
    model = ARCHITECTURE.build()
    state = {"epoch": 3, "progress": {"epoch": 3, "step": 7, "best_map": 0.5}, "settings": {"seed": 1, "K": 300}}
    optimizer = {"state": {0: {"exp_avg": torch.zeros(5)}}, "param_groups": []}
    save_checkpoint(path, model, ARCHITECTURE, **state, optimizer_state_dict=optimizer, ema_state_dict=None)
    return path, model


def test_a_checkpoint_of_ours_tells_all_it_knows(ours, capsys):
    path, model = ours
    found = inspect_file(path)
    assert (found["kind"], found["backbone"], found["epoch"]) == ("ours", "mobilenetv2", 3)
    assert found["architecture"] == ARCHITECTURE.to_dict()
    assert found["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert (found["sha256"], found["bytes"]) == (file_hash(path), path.stat().st_size)
    assert [part["name"] for part in found["parts"]] == PARTS
    assert found["progress"] == {"epoch": 3, "step": 7, "best_map": 0.5}
    assert found["other_keys"]["optimizer_state_dict"] == "1 tensors, 5 values"
    assert found["problems"] == []
    assert main([str(path)]) == 0
    text = capsys.readouterr().out
    for words in ("a checkpoint of this program, mobilenetv2", "2 classes: 小车, large vehicle", "96 x 160", "K=300"):
        assert words in text
    assert "progress: epoch=3, step=7, best_map=0.5" in text
    assert "RGB, (pixel * 0.00392157 - mean) / std, mean 0.485 0.456 0.406, std 0.229 0.224 0.225" in text


def test_the_range_of_values_is_told(tmp_path, capsys):
    architecture = replace(ARCHITECTURE, preprocessing=replace(IMAGENET, value_range=(-20.0, 60.5)))
    save_checkpoint(tmp_path / "best.pth", architecture.build(), architecture)
    assert main([str(tmp_path / "best.pth")]) == 0
    assert "std 0.229 0.224 0.225; of more than 8 bits from 0 to 255 -20 to 60.5" in capsys.readouterr().out


def test_of_a_run_folder_the_best_checkpoint_is_inspected(ours, tmp_path, capsys):
    shutil.copy(ours[0], tmp_path / "best.pth")
    assert main([str(tmp_path)]) == 0
    assert "a checkpoint of this program, mobilenetv2" in capsys.readouterr().out


@pytest.mark.slow
def test_json_is_the_same_in_any_terminal(ours):
    done = subprocess.run(
        [sys.executable, "-m", "tools.inspect_checkpoint", str(ours[0]), "--json"],
        cwd=REPOSITORY, capture_output=True, check=True, env={"PYTHONIOENCODING": "ascii", "PATH": ""},
    )  # fmt: skip
    assert json.loads(done.stdout) == json.loads(json.dumps(inspect_file(ours[0])))


def test_help_needs_no_torch():
    code = "import sys; from tools.inspect_checkpoint import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint('torch' in sys.modules)"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "usage: python -m tools.inspect_checkpoint" in done.stdout
    assert done.stdout.endswith("False\n")


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_a_published_file_is_known_by_its_names(tmp_path, prefix, capsys):
    weights = {prefix + name: value for name, value in CTRBOX(15, "mobilenetv2").state_dict().items()}
    torch.save({"epoch": 50, "model_state_dict": weights} if prefix else weights, tmp_path / "model_50.pth")
    found = inspect_file(tmp_path / "model_50.pth")
    assert (found["kind"], found["backbone"], found["epoch"]) == ("published", "mobilenetv2", 50 if prefix else None)
    assert found["architecture"]["preprocessing"] == PUBLISHED.to_dict()
    assert len(found["architecture"]["class_names"]) == 15
    assert found["problems"] == []
    assert main([str(tmp_path / "model_50.pth")]) == 0
    assert "taken for what published files are" in capsys.readouterr().out


def test_a_backbone_file_is_named(tmp_path):
    torch.save({"state_dict": build_backbone("resnet18").state_dict()}, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found["kind"], found["backbone"], found["architecture"]) == ("backbone", "resnet18", None)


def test_the_real_mobilenet_file_is_a_backbone(real_folder, capsys):
    path = real_folder("weights") / "mobilenet_v2_imagenet.pth"
    assert main([str(path)]) == 0
    text = capsys.readouterr().out
    assert "a backbone, mobilenetv2" in text
    assert "3.50 M parameters" in text  # torchvision's MobileNetV2: 3,504,872


def test_any_other_state_dict_is_told_by_its_parts(tmp_path, capsys):
    weights = {
        "net.first.weight": torch.ones(3, 4, dtype=torch.bfloat16),
        "net.first.steps": torch.tensor(3),
        "net.second.weight": torch.tensor([1.0, float("nan"), float("inf")]),
        "net.second.float8": torch.ones(2, dtype=torch.float8_e4m3fn),
    }
    torch.save(weights, tmp_path / "x.pth")
    found = inspect_file(tmp_path / "x.pth")
    assert (found["kind"], found["backbone"]) == ("other", None)
    first, second = found["parts"]
    assert first == {
        "name": "net.first", "tensors": 2, "parameters": 13, "dtypes": ["bfloat16", "int64"], "not_finite": 0,
    }  # fmt: skip
    assert (second["name"], second["not_finite"], second["dtypes"]) == ("net.second", 2, ["float32", "float8_e4m3fn"])
    assert main([str(tmp_path / "x.pth")]) == 0
    assert "problem: it holds values that are not finite" in capsys.readouterr().out


def test_a_single_tensor_and_empty_ones_are_told(tmp_path):
    torch.save({"weight": torch.zeros(0)}, tmp_path / "x.pth")
    assert inspect_file(tmp_path / "x.pth")["parts"] == [
        {"name": "weight", "tensors": 1, "parameters": 0, "dtypes": ["float32"], "not_finite": 0}
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"architecture": {"backbone": "resnet18"}}, "does not describe a network"),
        ({"architecture": ARCHITECTURE.to_dict() | {"backbone": "resnet34"}}, "does not fit its network: "),
        ({"settings": "lost"}, "its settings is of the kind str"),
        ({"ema_state_dict": {"a": torch.tensor(float("nan"))}}, "average (ema_state_dict) holds values that are not"),
        ({"progress": {"best_map": float("nan"), "strange": {1, 2}}}, None),
    ],
)
def test_an_edited_checkpoint_is_told_with_its_problems(ours, tmp_path, change, sentence, capsys):
    torch.save(load_file(ours[0]) | change, tmp_path / "edited.pth")
    assert main([str(tmp_path / "edited.pth")]) == 0
    text = capsys.readouterr().out
    assert ("problem: " in text) == (sentence is not None)
    assert (sentence or "") in text
    assert main([str(tmp_path / "edited.pth"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "ours"


@pytest.mark.parametrize("content", [None, b"", b"not weights", {"settings": {"seed": 1}}, [torch.ones(1)], {}])
def test_a_file_without_weights_is_one_sentence_and_exit_code_1(tmp_path, content, capsys):
    path = tmp_path / "数据.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    assert main([str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {path}: ")
    assert err.count("\n") == 1


def test_a_wrong_flag_ends_with_2(capsys):
    assert main(["x.pth", "--xml"]) == 2
    assert "unrecognized arguments: --xml" in capsys.readouterr().err
