"""Checkpoints: what goes in comes out; what is no checkpoint of ours, or only half of one, is refused by name."""

from __future__ import annotations

import errno
import io
import pickle
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import CTRBOX, IMAGENET, PUBLISHED
from tools.architecture import Architecture
from tools.checkpoint import (
    CheckpointError,
    check_run_state,
    load_checkpoint,
    load_file,
    restoring,
    save_checkpoint,
    weights_of,
)
from tools.detection.results import file_hash

ARCHITECTURE = Architecture("resnet18", "batch", ("小车", "large vehicle"), (96, 160), IMAGENET)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "best.pth"
    model = ARCHITECTURE.build()
    save_checkpoint(path, model, ARCHITECTURE, epoch=3, settings={"seed": 1})
    return path, model


@pytest.mark.slow
def test_weights_architecture_and_state_come_back(saved):
    path, model = saved
    again, architecture, content = load_checkpoint(path)
    assert architecture == ARCHITECTURE
    assert content["epoch"] == 3
    assert content["settings"] == {"seed": 1}
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_a_folder_is_told_from_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder; name a file in it"):
        load_file(tmp_path)
    with pytest.raises(CheckpointError, match=r"no\.pth: no such file"):
        load_file(tmp_path / "no.pth")


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
    with pytest.raises(CheckpointError, match=r"more than tensors and plain values \((__builtin__\.)?print\)"):
        load_file(path)
    assert "ran" not in capsys.readouterr().out


@settings(deadline=None, max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), damage=st.binary(min_size=1, max_size=40), is_old=st.booleans())
def test_no_damage_ends_in_a_traceback(tmp_path_factory, place, damage, is_old):
    """Values may come out changed, for a byte of a weight is a byte; names, shapes and the rest are read or refused."""
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    content = {"epoch": 3, "model_state_dict": {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2).half()}}
    torch.save(content, path, _use_new_zipfile_serialization=not is_old)
    data = bytearray(path.read_bytes())
    start = int(place * len(data))
    data[start : start + len(damage)] = damage
    path.write_bytes(data)
    with suppress(CheckpointError):
        weights_of(load_file(path), path)


STRANGE = [
    [1, 2],
    {"model_state_dict": 3},
    {"model_state_dict": {"a": 1}},
    {"model_state_dict": {1: torch.ones(1)}},
    {1: torch.ones(1)},
    {"n_averaged": torch.ones(1)},
    {"hm.2.weight": torch.ones(())},
    {"model_state_dict": None},
    {},
]


@pytest.mark.parametrize("content", STRANGE)
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


@pytest.mark.slow
def test_weights_of_another_network_are_refused_with_counts(tmp_path):
    """Defect 11: strict=False took a checkpoint with no matching key, and the boxes were random."""
    path = tmp_path / "other.pth"
    other = CTRBOX(2, "mobilenetv2", head_norm="batch")
    save_checkpoint(path, other, ARCHITECTURE)
    with pytest.raises(CheckpointError, match=r"other\.pth: no CTRBOX on resnet18: .* missing"):
        load_checkpoint(path)


@pytest.mark.slow
def test_published_weights_load_as_they_are(tmp_path):
    """A file as the published code writes it: `module.` prefix, epoch and optimizer, no architecture inside."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in CTRBOX(15, "resnet101").state_dict().items()}
    # One value a tensor makes a small file.
    weights = {f"module.{name}": torch.tensor(float(row)).expand(shapes[name]) for row, name in enumerate(shapes)}
    path = tmp_path / "model_50.pth"
    torch.save({"epoch": 50, "model_state_dict": weights, "optimizer_state_dict": {"state": {}}}, path)
    again, architecture, _ = load_checkpoint(path)
    assert (architecture.backbone, architecture.head_norm, architecture.input_hw) == ("resnet101", "none", (608, 608))
    assert architecture.preprocessing == PUBLISHED
    assert architecture.class_names[0] == "plane"
    assert torch.equal(again.hm[2].weight, weights["module.hm.2.weight"])


@pytest.mark.slow
@pytest.mark.parametrize("head_norm", ["none", "batch", "layer"])
def test_files_of_the_fork_load_by_backbone_and_head_norm_is_seen(tmp_path, head_norm: str):
    model = CTRBOX(3, "resnet18", head_norm=head_norm)
    path = tmp_path / "fork.pth"
    torch.save(model.state_dict(), path)
    _, architecture, _ = load_checkpoint(path, "resnet18")
    assert (architecture.head_norm, len(architecture.class_names)) == (head_norm, 3)
    with pytest.raises(CheckpointError, match="its backbone is resnet18: give --backbone resnet18"):
        load_checkpoint(path)


LIGHT = replace(ARCHITECTURE, backbone="mobilenetv2", neck="fpn", neck_width=24, head_width=40)


def test_neck_and_widths_come_back_and_a_checkpoint_without_them_is_of_the_published_ones(tmp_path):
    path, old = tmp_path / "light.pth", ARCHITECTURE.to_dict()
    save_checkpoint(path, LIGHT.build(), LIGHT)
    model, architecture, _ = load_checkpoint(path)
    assert architecture == LIGHT
    assert (model.hm[0].in_channels, model.hm[0].out_channels) == (24, 40)
    for name in ("neck", "neck_width", "head_width"):
        del old[name]
    assert Architecture.from_dict(old) == ARCHITECTURE
    assert (ARCHITECTURE.neck, ARCHITECTURE.head_width) == ("combination", 256)


def test_a_light_network_without_an_architecture_inside_is_told_by_its_weights(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(LIGHT.build().state_dict(), path)
    _, architecture, _ = load_checkpoint(path, "mobilenetv2")
    assert (architecture.neck, architecture.neck_width, architecture.head_width) == ("fpn", 24, 40)


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


@pytest.mark.slow
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


def test_a_second_ctrl_c_within_the_write_is_a_stop_and_no_full_disk(saved, tmp_path, monkeypatch):
    """torch fails to end its archive then, and says so as on a full disk."""
    save = torch.save

    class Interrupted(io.BytesIO):
        def write(self, data):
            if self.tell() > 0:
                raise KeyboardInterrupt
            return super().write(data)

    monkeypatch.setattr(torch, "save", lambda content, file: save(content, Interrupted()))
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path / "last.pth", saved[1], ARCHITECTURE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"architecture": [1]}, "class_names is missing"),
        ({"class_names": "car"}, "class_names is 'car', of the kind str"),
        ({"class_names": []}, r"class_names are \[\], not names"),
        ({"class_names": ["car", 3]}, "not names"),
        ({"input_hw": "96"}, "input_hw is '96', of the kind str"),
        ({"input_hw": [96, "160"]}, "not height and width"),
        ({"input_hw": [96, 100]}, "multiples of 32"),
        ({"backbone": ["resnet18"]}, r"backbone is \['resnet18'\], of the kind list"),
        ({"backbone": "resnet19"}, "unknown backbone 'resnet19'"),
        ({"head_norm": "yes"}, "head_norm is 'yes', none of layer, batch, none"),
        ({"preprocessing": None}, "preprocessing is None"),
        ({"preprocessing": {"mean": "grey", "std": [1, 1, 1]}}, "mean is 'grey'"),
        ({"preprocessing": IMAGENET.to_dict() | {"std": ["a", "b", "c"]}}, "something else than numbers"),
        ({"preprocessing": IMAGENET.to_dict() | {"std": [1.0, 1.0]}}, "a value each for every channel"),
        ({"preprocessing": IMAGENET.to_dict() | {"gamma": 1.0}}, "expected the entries"),
        ({"neck": "pafpn"}, "unknown neck 'pafpn'; known: combination, fpn"),
        ({"neck": "fpn", "neck_width": -1}, "width of the neck must be at least 1, not -1"),
        ({"head_width": "wide"}, "head_width is 'wide', of the kind str"),
    ],
)
def test_an_edited_architecture_is_refused_in_a_sentence(saved, tmp_path, change, sentence):
    content = load_file(saved[0])
    content["architecture"] = change.get("architecture", content["architecture"] | change)
    torch.save(content, tmp_path / "edited.pth")
    with pytest.raises(
        CheckpointError, match=rf"edited\.pth: does not describe a network of this project \(.*{sentence}"
    ):
        load_checkpoint(tmp_path / "edited.pth")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"settings": [1]}, "its settings is of the kind list"),
        ({"settings": {"batch_size": "many"}}, "its settings are not of this program .*batch_size is 'many'"),
        ({"progress": 3}, "its progress is of the kind int"),
        ({"epoch": "3"}, "its epoch is of the kind str"),
        ({"optimizer_state_dict": "lost"}, "its optimizer_state_dict is of the kind str"),
        ({"torch_rng_state": [0, 1]}, "its torch_rng_state is of the kind list, not Tensor"),
    ],
)
def test_state_of_a_wrong_kind_is_refused_in_a_sentence(saved, tmp_path, change, sentence):
    torch.save(load_file(saved[0]) | change, tmp_path / "edited.pth")
    with pytest.raises(CheckpointError, match=rf"edited\.pth: {sentence}"):
        load_checkpoint(tmp_path / "edited.pth")


STATE = {
    "architecture": ARCHITECTURE.to_dict(),
    "optimizer_state_dict": {"state": {}, "param_groups": []},
    "progress": {"epoch": 1, "best_map": 0.5},
    "settings": {"seed": 1},
    "torch_rng_state": torch.get_rng_state(),
}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"optimizer_state_dict": None}, None),
        ({"progress": None}, "progress missing"),
        ({"torch_rng_state": None, "settings": None}, "settings, torch_rng_state missing"),
        ({"progress": {"epoch": "two"}}, "its progress is damaged, epoch is 'two', not a number"),
    ],
)
def test_half_a_training_run_does_not_go_on(tmp_path, change, sentence):
    check_run_state(STATE, tmp_path)
    content = {name: value for name, value in (STATE | change).items() if value is not None}
    if sentence is None:
        sentence = "holds weights but no training run to go on with; start from it with --resume"
    with pytest.raises(CheckpointError, match=sentence):
        check_run_state(content, tmp_path)


@pytest.mark.parametrize("state", [{}, {"state": {}, "param_groups": []}, {"state": 1, "param_groups": [{}]}, 3, None])
def test_an_optimizer_state_that_is_not_its_own_is_a_sentence(tmp_path, state):
    optimizer = torch.optim.AdamW(torch.nn.Linear(1, 1).parameters())
    refused = pytest.raises(CheckpointError, match="its optimizer_state_dict does not fit this run")
    with refused, restoring(tmp_path / "last.pth", "optimizer_state_dict"):
        optimizer.load_state_dict(state)


def test_a_random_state_that_is_none_is_a_sentence(tmp_path):
    for state in (torch.zeros(3), torch.zeros(3, dtype=torch.uint8), None):
        refused = pytest.raises(CheckpointError, match="its torch_rng_state does not fit")
        with refused, restoring(tmp_path / "last.pth", "torch_rng_state"):
            torch.set_rng_state(state)


@pytest.mark.slow
def test_the_average_of_the_weights_is_taken_when_asked_for(saved, tmp_path):
    """As torch's AveragedModel writes it, with its wrapper's prefix and its own counter."""
    _, model = saved
    average = {f"module.{name}": torch.zeros_like(value) for name, value in model.state_dict().items()}
    average["n_averaged"] = torch.tensor(7)
    path = tmp_path / "last.pth"
    save_checkpoint(path, model, ARCHITECTURE, ema_state_dict=average)
    assert torch.equal(load_checkpoint(path)[0].hm[0].weight, model.hm[0].weight)
    assert not load_checkpoint(path, averaged=True)[0].hm[0].weight.any()
    save_checkpoint(path, model, ARCHITECTURE, ema_state_dict=None)  # a run without an average
    assert torch.equal(load_checkpoint(path, averaged=True)[0].hm[0].weight, model.hm[0].weight)
