"""Checkpoints: what goes in comes out; what is no checkpoint of ours, or only half of one, is refused by name."""

from __future__ import annotations

import errno
import pickle

import pytest
import torch

from models import CTRBOX, IMAGENET, PUBLISHED
from tools.checkpoint import (
    Architecture,
    CheckpointError,
    check_flags,
    file_hash,
    load_checkpoint,
    load_file,
    save_checkpoint,
)
from tools.config import SettingsError, parse_settings

ARCHITECTURE = Architecture("resnet18", True, ("小车", "large vehicle"), (96, 160), IMAGENET)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "best.pth"
    model = ARCHITECTURE.build()
    save_checkpoint(path, model, ARCHITECTURE, epoch=3, settings={"seed": 1})
    return path, model


def test_weights_architecture_and_state_come_back(saved):
    path, model = saved
    again, architecture, content = load_checkpoint(path)
    assert architecture == ARCHITECTURE
    assert content["epoch"] == 3
    assert content["settings"] == {"seed": 1}
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_a_file_cut_anywhere_is_refused_by_name(saved, tmp_path):
    data = saved[0].read_bytes()
    for length in (0, 1, 100, len(data) // 2, len(data) - 1):
        cut = tmp_path / "cut.pth"
        cut.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"cut\.pth"):
            load_file(cut)


class _Attack:
    def __reduce__(self):
        return (print, ("code from a checkpoint ran",))


def test_a_pickle_with_code_is_not_run(tmp_path, capsys):
    path = tmp_path / "attack.pth"
    torch.save({"model_state_dict": _Attack()}, path)
    with pytest.raises(CheckpointError, match="more than tensors"):
        load_file(path)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [[1, 2], {"model_state_dict": 3}, {"model_state_dict": {"a": 1}}, {}])
def test_a_file_without_a_state_dict_is_refused(tmp_path, content):
    path = tmp_path / "strange.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"strange\.pth"):
        load_checkpoint(path)


def test_a_bare_pickle_is_refused(tmp_path):
    path = tmp_path / "bare.pth"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match=r"bare\.pth"):
        load_checkpoint(path)


def test_weights_of_another_network_are_refused_with_counts(tmp_path):
    """Defect 11: strict=False took a checkpoint with no matching key, and the boxes were random."""
    path = tmp_path / "other.pth"
    other = CTRBOX(2, "mobilenetv2", head_norm=True)
    save_checkpoint(path, other, ARCHITECTURE)
    with pytest.raises(CheckpointError, match=r"other\.pth: no CTRBOX on resnet18: .* missing"):
        load_checkpoint(path)


def test_published_weights_load_as_they_are(tmp_path):
    """A file as the published code writes it: `module.` prefix, epoch and optimizer, no architecture inside."""
    torch.manual_seed(0)
    model = CTRBOX(15, "resnet101")
    weights = {f"module.{name}": value for name, value in model.state_dict().items()}
    path = tmp_path / "model_50.pth"
    torch.save({"epoch": 50, "model_state_dict": weights, "optimizer_state_dict": {"state": {}}}, path)
    again, architecture, _ = load_checkpoint(path)
    assert (architecture.backbone, architecture.head_norm, architecture.input_hw) == ("resnet101", False, (608, 608))
    assert architecture.preprocessing == PUBLISHED
    assert architecture.class_names[0] == "plane"
    assert torch.equal(again.hm[2].weight, model.hm[2].weight)


def test_files_of_the_fork_load_by_backbone_and_head_norm_is_seen(tmp_path):
    model = CTRBOX(3, "resnet18", head_norm=True)
    path = tmp_path / "fork.pth"
    torch.save(model.state_dict(), path)
    _, architecture, _ = load_checkpoint(path, "resnet18")
    assert (architecture.head_norm, len(architecture.class_names)) == (True, 3)
    with pytest.raises(CheckpointError, match="name its backbone with --backbone"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "flags", [["--backbone", "resnet34"], ["--no_head_norm"], ["--input_h", "608"], ["--input_w", "32"]]
)
def test_a_flag_that_contradicts_the_checkpoint_is_an_error(flags, tmp_path):
    with pytest.raises(SettingsError, match="contradicts the checkpoint"):
        check_flags(parse_settings(flags), ARCHITECTURE, tmp_path)


def test_flags_that_agree_and_defaults_are_fine(tmp_path):
    check_flags(parse_settings(["--input_h", "96", "--head_norm"]), ARCHITECTURE, tmp_path)
    check_flags(parse_settings([]), Architecture("resnet50", False, ("a",), (32, 32), IMAGENET), tmp_path)


def test_a_full_disk_keeps_the_old_file(saved, tmp_path, monkeypatch):
    path = tmp_path / "last.pth"
    path.write_bytes(saved[0].read_bytes())
    before = file_hash(path)

    def fail(content, file):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, saved[1], ARCHITECTURE)
    assert file_hash(path) == before
    assert [item.name for item in tmp_path.iterdir()] == ["last.pth"]


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = ARCHITECTURE.build()
    torch.nn.init.constant_(model.hm[0].bias, float("nan"))
    save_checkpoint(tmp_path / "nan.pth", model, ARCHITECTURE)
    with pytest.raises(CheckpointError, match=r"nan\.pth: holds weights that are not finite"):
        load_checkpoint(tmp_path / "nan.pth")


def test_a_write_that_torch_reports_in_its_own_words_is_a_sentence(saved, tmp_path, monkeypatch):
    """On a full disk torch.save says `unexpected pos`, in a RuntimeError."""

    def fail(content, file):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"last\.pth: cannot be written .* is the disk full\?"):
        save_checkpoint(tmp_path / "last.pth", saved[1], ARCHITECTURE)
    assert list(tmp_path.iterdir()) == []
