"""A backbone from a user's own file: named, it trains, tests, resumes and exports; unnamed, it is not run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import main
from models import CTRBOX, IMAGENET, build_backbone
from models.backbones import _OWN
from tests.video_clips import write_clip
from tools import own_backbone
from tools.architecture import Architecture
from tools.backbone_checks import check_onnx
from tools.check_backbone import main as check
from tools.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from tools.detect_video import main as detect_video
from tools.export_onnx import main as export
from tools.inspect_checkpoint import main as inspect
from tools.own_backbone import register_from_file, run_named_file, same_backbone
from tools.running.command_line import SettingsError
from tools.setting_flags import parse_settings
from tools.training.weights import start_from

# The README's example; the first lines are a block of one's own.
OWN = """from torch import nn
from models import Backbone, register_backbone

def block(c_in, c_out):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, 2, 1), nn.BatchNorm2d(c_out), nn.ReLU())

@register_backbone
class MyNet(Backbone):
    out_channels = (7, 11, 13, 17)

    def __init__(self):
        super().__init__(block(3, 5), block(5, 7), block(7, 11), block(11, 13), block(13, 17))
"""
SHORT = ["--num_epoch", "1", "--input_h", "64", "--input_w", "64", "--pretrained", "none", "--num_workers", "0"]


@pytest.fixture(autouse=True)
def forgotten():
    """Every test begins without classes of users."""
    _OWN.clear()
    yield
    _OWN.clear()


@pytest.fixture
def own_file(tmp_path):
    """A function that writes a file of one's own into a folder of a foreign script, and names its class."""

    def write(source: str = OWN, kind: str = "MyNet") -> str:
        path = tmp_path / "数据 1" / "my net.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")
        return f"{path}:{kind}"

    return write


@pytest.mark.long
def test_a_backbone_of_its_own_channels_trains_tests_evaluates_resumes_and_exports(
    own_file, dota_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    name = own_file()
    data_dir = dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2"]})
    flags = ["--data_dir", str(data_dir), "--backbone", name]
    assert main.main([*flags, "--freeze", "2", *SHORT]) == 0, capsys.readouterr().err
    run = next((tmp_path / "runs").iterdir())
    assert re.fullmatch(r"data-MyNet-\d+-\d+", run.name)

    moved = Path(name.rpartition(":")[0]).rename(tmp_path / "moved.py")
    for phase in (["--phase", "test"], ["--phase", "eval"], ["--resume_train", str(run), "--num_epoch", "2"]):
        _OWN.clear()
        more = [] if "--resume_train" in phase else ["--resume", str(run), "--num_workers", "0"]
        capsys.readouterr()
        assert main.main([*phase, *more]) == 1
        error = capsys.readouterr().err
        assert f"its backbone is {name}, a file of one's own, which is run only if you name it" in error
        assert not _OWN
        assert main.main([*phase, *more, "--backbone", name]) == 2
        assert "the file is not there; name the place where it is now" in capsys.readouterr().err
        assert main.main([*phase, *more, "--backbone", f"{moved}:MyNet"]) == 0, capsys.readouterr().err

    _OWN.clear()
    onnx_path = tmp_path / "own.onnx"
    flags = ["--resume", str(run), "--output", str(onnx_path)]
    assert export(flags) == 1
    assert "which is run only if you name it" in capsys.readouterr().err
    assert export([*flags, "--backbone", "resnet18"]) in (1, 2)
    assert export([*flags, "--backbone", f"{moved}:MyNet"]) == 0, capsys.readouterr().err
    assert onnx_path.stat().st_size > 1000

    _OWN.clear()
    command = [str(run), str(write_clip(tmp_path / "a.mp4", 2)), str(tmp_path / "found")]
    assert detect_video(command) == 1
    assert "which is run only if you name it" in capsys.readouterr().err
    assert detect_video([*command, "--backbone", f"{moved}:MyNet"]) == 0, capsys.readouterr().err

    model, architecture, content = load_checkpoint(run / "last.pth")
    assert (architecture.backbone, content["epoch"]) == (name, 2)
    assert model.base_network.out_channels == (7, 11, 13, 17)
    assert check_onnx(model.base_network, name).endswith("onnxruntime agrees")
    start = start_from(run / "best.pth", ("car",), (96, 96))
    assert start.architecture.backbone == name
    assert not list(tmp_path.rglob("__pycache__")), "nothing is written beside inputs"


def test_no_checkpoint_makes_the_program_run_a_file(own_file, tmp_path, capsys):
    """The file would leave a mark; whoever loads or inspects a checkpoint that names it must not find one."""
    mark = tmp_path / "mark"
    name = own_file(OWN + f"\nopen({str(mark)!r}, 'w').write('run')\n")
    register_from_file(name)
    assert mark.read_text() == "run"
    architecture = Architecture(name, "batch", ("car",), (64, 64), IMAGENET)
    save_checkpoint(tmp_path / "best.pth", architecture.build(), architecture)
    mark.unlink()
    _OWN.clear()
    with pytest.raises(CheckpointError, match=r"best.pth: its backbone is .*my net.py:MyNet, a file of one's own"):
        load_checkpoint(tmp_path / "best.pth")
    assert inspect([str(tmp_path / "best.pth")]) == 0
    assert "my net.py:MyNet" in capsys.readouterr().out
    assert main.main(["--phase", "test", "--resume", str(tmp_path / "best.pth"), "--input", str(tmp_path)]) == 1
    assert not mark.exists()


def test_a_file_is_run_when_the_settings_file_names_it_and_not_for_other_names(own_file, tmp_path, monkeypatch):
    run = []
    monkeypatch.setattr(own_backbone, "register_from_file", run.append)
    (tmp_path / "settings.toml").write_text(f"backbone = {own_file()!r}\n", encoding="utf-8")
    run_named_file(parse_settings(["--config", str(tmp_path / "settings.toml")]))
    run_named_file(parse_settings([]))
    assert run == [own_file()]
    monkeypatch.undo()
    register_from_file("resnet18")
    register_from_file("timm/dla34")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("(7, 11, 13, 17)", "(7, 11, 12, 17)"), r"py: backbone '.*': C3 has 13 channels; out_channels promises 12"),
        (("def block(c_in, c_out):", "def block(c_in, c_out)"), r"my net.py, line 4: expected ':': def block\("),
        (("from torch import nn", "from torch import nm"), r"net.py, line 1: ImportError in `from torch import nm`: "),
        (("block(3, 5)", "blok(3, 5)"), r"line 12: NameError in `super\(\).__init__\(blok.*`: name 'blok' is not"),
        (("block(5, 7)", "block(6, 7)"), r"my net.py: RuntimeError: Given groups=1, weight of size \[7, 6, 3, 3\]"),
        (("block(3, 5), ", ""), r"MyNet is made of 4 stages; it takes 5"),
        (("@register_backbone\n", ""), r"class MyNet is not registered; write @register_backbone "),
        (("class MyNet", "class MyNets"), r"holds no backbone 'MyNet'; did you mean .*my net.py:MyNets\?"),
        (("(Backbone)", "(nn.Module)"), r"@register_backbone is for a class made from models.Backbone, which MyNet is"),
        (("from torch import nn", "import sys; sys.exit(3)"), r"line 1: SystemExit in `import sys; sys.exit\(3\)`: 3"),
        ((OWN, ""), "holds no backbone 'MyNet'; write a class made from models.Backbone"),
    ],
)  # fmt: skip
def test_an_error_in_the_file_is_told_in_a_sentence_with_its_line(own_file, change, sentence):
    with pytest.raises(SettingsError, match=sentence) as caught:
        register_from_file(own_file(OWN.replace(*change)))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_holds_no_class_of_that_name_is_told(own_file, tmp_path):
    name = own_file()
    with pytest.raises(SettingsError, match=r"no.py: the file is not there"):
        register_from_file(f"{tmp_path / 'no.py'}:MyNet")
    with pytest.raises(SettingsError, match=r"holds no backbone ''; did you mean .*my net.py:MyNet\?"):
        register_from_file(name.removesuffix(":MyNet"))
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(SettingsError, match=r"folder.py: the file cannot be read \(Is a directory\)"):
        register_from_file(f"{tmp_path / 'folder.py'}:MyNet")
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"bytes.py"):
        register_from_file(f"{tmp_path / 'bytes.py'}:MyNet")


def test_neighbours_can_be_imported_and_the_search_path_stays(own_file, tmp_path):
    name = own_file(
        "from own_blocks_of_a_neighbour import block\n" + OWN.replace(OWN[OWN.index("def ") : OWN.index("@")], "")
    )
    neighbour = Path(name.rpartition(":")[0]).parent / "own_blocks_of_a_neighbour.py"
    neighbour.write_text("from torch import nn\n" + OWN[OWN.index("def ") : OWN.index("@")], encoding="utf-8")
    before = list(sys.path)
    register_from_file(name)
    assert sys.path == before
    assert CTRBOX(2, build_backbone(name)).base_network.out_channels == (7, 11, 13, 17)
    assert not list(tmp_path.rglob("__pycache__"))


def test_the_readmes_example_is_a_backbone_in_six_lines(tmp_path):
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    shown = [block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "@register_backbone" in block]
    if not shown:
        pytest.skip("the README shows no backbone of one's own")
    (tmp_path / "readme.py").write_text(shown[0], encoding="utf-8")
    assert len(shown[0][shown[0].index("@register_backbone") :].strip().splitlines()) <= 6
    kind = re.search(r"class (\w+)", shown[0])[1]
    register_from_file(f"{tmp_path / 'readme.py'}:{kind}")
    check_onnx(build_backbone(f"readme.py:{kind}"), kind)


def test_of_files_the_class_counts_and_of_aliases_timms_name():
    assert same_backbone("efficientnet_b0", "timm/efficientnet_b0")
    assert same_backbone("a/net.py:MyNet", "b/other.py:MyNet")
    assert not same_backbone("a/net.py:MyNet", "a/net.py:Other")
    assert same_backbone("resnet18", "resnet18")
    assert not same_backbone("resnet18", "a.py:resnet18")


def test_the_check_command_tells_what_a_file_breaks(own_file, capsys):
    broken = OWN.replace("(7, 11, 13, 17)", "(7, 11, 12, 17)") + "        self.unused = nn.Linear(2, 2)\n"
    assert check([own_file(broken), "--no_compile"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert "channels 7, 11, 12, 17 at strides 4, 8, 16, 32" in out[0]
    assert [line[:2] for line in out[1:]] == ["no", "no", "no", "ok", "no", "no", "--"]
    assert "C3 has 13 channels; out_channels promises 12" in out[1]
    assert "2 of 22 parameters have no part in the four maps, such as unused.weight" in out[3]
    assert "unused.weight is in no stage" in out[5]
