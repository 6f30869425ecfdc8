"""The README stays true: every command and every piece of Python in it is run (make's are checked to exist)."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rasterio.transform import from_origin

import main
from datasets.demo import write_demo
from tests.camera_servers import camera_server
from tests.label_documents import DATA_YAML, YOLO_LINE, source, yolo_folder
from tests.test_geojson import collection, feature
from tests.test_georeference import geotiff
from tests.video_clips import clip_frames, write_clip
from tools import data as data_module
from tools.convert_labels import main as convert
from tools.setting_flags import parse_settings

REPOSITORY = Path(__file__).resolve().parent.parent
SHORT = ["--num_epoch", "1", "--input_h", "64", "--input_w", "64", "--pretrained", "none", "--tensorboard", "off"]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
GUIDES = {path: path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "tools" / "guides").glob("*.md"))}


def _blocks(language: str) -> list[str]:
    """Those of the README, then those of the guides."""
    return re.findall(rf"```{language}\n(.*?)```", "\n".join([README, *GUIDES.values()]), flags=re.DOTALL)


def _blocks_with(*words: str) -> list[str]:
    return [block for block in _blocks("bash") if any(word in block for word in words)]


def _commands(first_words: str) -> list[list[str]]:
    apart = (*TILE_BLOCKS, *ROAD_BLOCKS, *DEPLOY_BLOCKS, *MAP_BLOCKS, *FORMAT_BLOCKS, *REVIEW_BLOCKS, *FOLD_BLOCKS)
    blocks = [block for block in _blocks("bash") if block not in (*apart, *VIDEO_BLOCKS)]
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`((?:make|python) [^`\n]+)`", README)  # in tables and in the text
    return [shlex.split(line) for line in lines if line.startswith(first_words)]


TILE_BLOCKS = _blocks_with("tools.split_tiles", "tools.merge_results")
ROAD_BLOCKS = _blocks_with("--from labelme", "tools.review_labels runs/mine_all", "tools.cut_objects")
FOLD_BLOCKS = _blocks_with("--folds")
DEPLOY_BLOCKS = _blocks_with("tools.export_onnx")
MAP_BLOCKS = _blocks_with("--to geojson")
VIDEO_BLOCKS = _blocks_with("tools.detect_video", "tools.extract_frames")
REVIEW_BLOCKS = _blocks_with("tools.benchmark review")
FORMAT_BLOCKS = _blocks_with("--from yolo_obb")


def test_every_guide_is_named_by_the_readme_and_all_links_lead_somewhere():
    assert all(f"(tools/guides/{path.name}" in README for path in GUIDES)
    texts = {REPOSITORY / "README.md": README, REPOSITORY / "tools" / "recipes.md": "", **GUIDES}
    heads = {path: set(map(_anchor, re.findall("^#+ .*", text, re.MULTILINE))) for path, text in texts.items()}
    for path, text in texts.items():
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            place, _, anchor = link.partition("#")
            target = (path.parent / place).resolve() if place else path
            assert target.exists(), (path, link)
            assert not anchor or anchor in heads[target], (path, link)


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).replace(" ", "-")


def test_it_opens_with_a_sentence_a_picture_and_two_commands():
    opening = README.split("## ")[0]
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", opening)
    assert len(pictures) == 1
    assert all((REPOSITORY / picture).is_file() for picture in re.findall(r"!\[.*?\]\((.*?)\)", README))
    assert [line.split()[:2] for line in _blocks("bash")[0].splitlines()] == [["make", "demo"], ["make", "test"]]


def test_every_command_is_of_a_kind_that_is_run_here():
    lines = [line for block in _blocks("bash") for line in block.splitlines() if line.strip()]
    kinds = ("make ", "python main.py ", "python -m tools.", "torchrun ")
    assert lines
    assert all(line.startswith(kinds) for line in lines), lines


@pytest.mark.parametrize("command", _commands("make "), ids=" ".join)
def test_make_knows_its_targets(command):
    done = subprocess.run([*command, "-n"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("code", _blocks("python"))
def test_python_blocks_run(code, finding_checkpoint, exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(exported(nms=True), "model.onnx")
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    shutil.copy(finding_checkpoint, tmp_path / "runs" / "demo" / "best.pth")
    cv2.imwrite("picture.png", np.zeros((60, 90, 3), np.uint8))
    write_clip(Path("north.mp4"), 6)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})  # each block brings its own imports


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [c for c in _commands("python -m tools.") if "backbone" in c[2] and ".py:" not in c[3]], ids=" ".join
)
def test_commands_about_backbones_run(command, thin_backbones, capsys):
    more = ["--no_timing"] if "tools.list_backbones" in command else []
    assert importlib.import_module(command[2]).main([*command[3:], *more]) == 0, capsys.readouterr().err


@pytest.mark.slow
def test_the_commands_for_videos_run_one_after_the_other(finding_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    shutil.copy(finding_checkpoint, tmp_path / "runs" / "mine" / "best.pth")
    (tmp_path / "flights").mkdir()
    for name in ("north", "south"):
        write_clip(tmp_path / "flights" / f"{name}.mp4", 25, hw=(360, 640))
    # The network is not trained; and somebody must press Ctrl-C.
    further = {"tools.convert_labels": ["--min_score", "0.05"], "tools.detect_camera": ["--seconds", "1"]}
    with camera_server(clip_frames(25, hw=(360, 640))) as camera:
        for line in _lines(VIDEO_BLOCKS):
            text = line.split("  #")[0].replace("/data/", f"{tmp_path}/").replace("rtsp://10.0.0.7/live", camera)
            words = shlex.split(text)
            flags = [*words[3:], *further.get(words[2], [])]
            assert importlib.import_module(words[2]).main(flags) == 0, (line, capsys.readouterr().err)
    assert (tmp_path / "runs" / "gate" / "latest.jpg").is_file()
    assert "not in --images" not in capsys.readouterr().err  # the same frames were looked at
    files = [tmp_path / "runs" / "drawn_lists" / name for name in ("train.txt", "val.txt")]
    lists = [{line.split("_")[0] for line in path.read_text().split()} for path in files]
    assert [len(videos) for videos in lists] == [1, 1]
    assert lists[0] != lists[1]
    assert (tmp_path / "runs" / "north" / "north_found.mp4").is_file()


@pytest.mark.slow
def test_the_commands_for_deployment_run_one_after_the_other(
    thin_backbones, dota_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    folder = dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2", "scene_3"]})
    assert main.main(["--data_dir", str(folder), "--out", "runs/demo", "--num_workers", "0", *SHORT]) == 0
    for line in _lines(DEPLOY_BLOCKS):
        text = line.split("  #")[0].replace("/data/new_pictures", str(folder / "images"))
        words = shlex.split(text.replace("/data/mine", str(folder)))
        code = importlib.import_module(words[2]).main(words[3:])
        assert code == 0, (line, capsys.readouterr().err)
    assert any((tmp_path / "runs" / "found" / "drawings").iterdir())
    assert (tmp_path / "runs" / "tiled" / "results" / "detections.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in _commands("python -m tools.") if "backbone" not in c[2]], ids=" ".join)
def test_commands_of_benchmarks_run(command, thin_backbones, dota_folder, tmp_path, monkeypatch):
    """On a small run; the benchmarks without the work that they measure."""
    from tools import benchmark

    monkeypatch.chdir(tmp_path)
    for name in ("data", "train", "network", "deploy", "devkit", "check", "windows"):
        monkeypatch.setattr(f"tools.benchmarks.benchmark_{name}.run", lambda options: None)
    assert command[2] == "tools.benchmark"
    if "--resume" in command:
        flags = ["--data_dir", str(dota_folder()), "--out", command[-1], "--num_workers", "0"]
        assert main.main([*flags, *SHORT]) == 0
    if "--help" in command:
        with pytest.raises(SystemExit):
            benchmark.main(command[3:])
    else:
        assert benchmark.main(command[3:]) == 0


@pytest.mark.slow
def test_the_commands_of_main_run_in_the_order_of_the_readme(
    thin_backbones, dota_folder, tmp_path, monkeypatch, capsys
):
    """On a demo set of eight scenes, one epoch and a thin network; folders of pictures become folders drawn here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data_module, "ensure_demo", _small_demo)
    lists = {"train": ["scene_0", "scene_1"], "val": ["scene_2", "scene_3"], "test": ["scene_1"]}
    assert main.main(["--out", "runs/demo", "--num_workers", "0", *SHORT]) == 0  # what `make demo` leaves
    commands = [command[2:] for command in _commands("python main.py")]
    assert len(commands) >= 8
    for number, command in enumerate(commands):
        if "--help" in command:
            with pytest.raises(SystemExit):
                main.main(command)
            continue
        for flag in {"--data_dir", "--input"} & set(command):
            folder = dota_folder(f"data_{number}", lists=lists)
            command[command.index(flag) + 1] = str(folder / "images" if flag == "--input" else folder)
        is_new_run = "train" in command and "--resume_train" not in command
        if "--num_images" in command:
            command[command.index("--num_images") + 1] = "3"
        window = ["--window_h", "32", "--window_w", "64"] if "--window_h" in command else []
        short = SHORT[2:] if "--num_images" in command else SHORT  # which of the two tells how long
        arguments = [*command, "--num_workers", "0", *(short + window if is_new_run else [])]
        assert main.main(arguments) == 0, (arguments, capsys.readouterr().err)


@pytest.mark.slow
def test_the_commands_for_tiles_run_one_after_the_other(thin_backbones, dota_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lists = {"train": ["scene_0", "scene_1"], "val": ["scene_2", "scene_3"]}
    whole = dota_folder("whole", hw=(700, 640), lists=lists)
    for line in _lines(TILE_BLOCKS):
        text = line.split("  #")[0].replace("/data/dota_tiles", "tiles").replace("/data/dota", str(whole))
        words = shlex.split(text)
        if words[1] == "main.py":
            more = [*SHORT, "--num_workers", "0"] if "train" in words else ["--num_workers", "0"]
            code = main.main([*words[2:], *more])
        else:
            code = importlib.import_module(words[2]).main(words[3:])
        assert code == 0, (line, capsys.readouterr().err)
    assert (tmp_path / "runs" / "merged" / "metrics.json").is_file()
    assert len(list((tmp_path / "tiles" / "images").iterdir())) > 8


@pytest.mark.slow
def test_the_commands_for_maps_run_one_after_the_other(thin_backbones, dota_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main.main(["--data_dir", str(dota_folder()), "--out", "runs/x", "--num_workers", "0", *SHORT]) == 0
    geotiff(tmp_path / "geotiffs" / "图 1.tif", from_origin(500_000, 5_400_000, 0.1, 0.1), hw=(700, 640))
    ring = [[9.00001, 48.7529], [9.00003, 48.7529], [9.00003, 48.7528], [9.00001, 48.7528]]
    (tmp_path / "outlines.geojson").write_text(collection(feature(ring, label="car")), encoding="utf-8")
    for line in _lines(MAP_BLOCKS):
        words = shlex.split(line.replace("/data/", f"{tmp_path}/"))
        more = ["--num_workers", "0"] if words[1] == "main.py" else []
        command = main.main if words[1] == "main.py" else importlib.import_module(words[2]).main
        assert command([*words[2 if more else 3 :], *more]) == 0, (line, capsys.readouterr().err)
    assert (tmp_path / "runs" / "outlined" / "labelTxt" / "图 1.txt").read_text("utf-8").endswith(" car 0\n")


def test_the_commands_for_other_formats_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yaml = DATA_YAML.replace("船 船", "truck")
    yolo_folder(tmp_path / "yolo", {"train/图 1": YOLO_LINE, "val/b": YOLO_LINE}, yaml)
    xml = source(tmp_path, "rolabelimg")
    for line in _lines(FORMAT_BLOCKS):
        line = line.replace("/data/xml", str(xml / "Annotations")).replace("/data/images", str(xml / "images"))
        words = shlex.split(line.replace("/data/", f"{tmp_path}/"))
        assert importlib.import_module(words[2]).main(words[3:]) == 0
    assert "vehicle" in (tmp_path / "runs" / "vehicles" / "classes.txt").read_text("utf-8").splitlines()


@pytest.mark.slow
def test_the_commands_for_folds_run_one_after_the_other(thin_backbones, dota_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = dota_folder()
    for line in _lines(FOLD_BLOCKS):
        words = shlex.split(line.split("  #")[0].replace("/data/mine", str(folder)))
        if words[1] == "main.py":
            code = main.main([*words[2:], "--num_workers", "0", *(SHORT if "train" in words[3:4] else [])])
        else:
            code = importlib.import_module(words[2]).main(words[3:])
        assert code == 0, (line, capsys.readouterr().err)
    said = capsys.readouterr()
    assert "no detection" not in said.err
    assert len(list((tmp_path / "runs" / "joined" / "results").glob("Task1_*.txt"))) == 2


@pytest.mark.slow
def test_the_commands_for_wrong_labels_run_one_after_the_other(thin_backbones, tmp_path, monkeypatch, capsys):
    """On a demo set of eight scenes, and a thin network that learns nothing of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tools.benchmarks.benchmark_review.ensure_demo", _small_demo)
    for line in _lines(REVIEW_BLOCKS):
        words = shlex.split(line)
        if words[1] == "main.py":
            code = main.main([*words[2:], "--num_workers", "0", *(SHORT if "train" in words[3:4] else [])])
        else:
            code = importlib.import_module(words[2]).main(words[3:])
        assert code == 0, (line, capsys.readouterr().err)
    assert "right among as many as were spoiled" in capsys.readouterr().out


def test_the_commands_of_the_recipes_have_known_settings():
    """They take hours: what they train is in tools/recipes.md, and here only that they can be given."""
    text = (REPOSITORY / "tools" / "recipes.md").read_text(encoding="utf-8")
    commands = [shlex.split(line)[2:] for line in text.splitlines() if line.startswith("python main.py ")]
    assert len(commands) > 5
    assert {parse_settings(command).phase for command in commands} == {"train"}


@pytest.mark.long  # the fast tests of tests/test_distributed.py start such a job too
@pytest.mark.parametrize("command", _commands("torchrun "), ids=" ".join)
def test_the_command_for_several_processes_runs(command, dota_folder, tmp_path):
    data_dir = dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2"]})
    program = [sys.executable, "-m", "torch.distributed.run", *command[1:]]
    program[program.index("main.py")] = str(REPOSITORY / "main.py")
    more = ["--data_dir", str(data_dir), "--out", str(tmp_path / "run"), "--num_workers", "0", *SHORT]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*program, *more], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "best.pth").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["drawn", "hit-uav"])
def test_the_road_from_labels_to_a_score_runs_line_by_line(
    kind, request, thin_backbones, dota_folder, tmp_path, monkeypatch, capsys
):
    """From labelme's JSON of drawn scenes, or with real pictures from roLabelImg's XML."""
    monkeypatch.chdir(tmp_path)
    labelled, new = tmp_path / "数据" / "labelled", tmp_path / "数据" / "new_pictures"
    if kind == "drawn":
        drawn = dota_folder(names=tuple(f"图 {number}" for number in range(8)))
        assert convert([str(drawn), str(labelled), "--from", "dota", "--to", "labelme", "--copy_images"]) == 0
    else:
        real = request.getfixturevalue("real_folder")("hit-uav")
        for folder in ("images", "xml"):
            (labelled / folder).mkdir(parents=True)
        for picture in sorted((real / "images").iterdir())[::34][:40]:
            shutil.copy(picture, labelled / "images")
            shutil.copy(real / "xml" / f"{picture.stem}.xml", labelled / "xml")
    for line in _lines(ROAD_BLOCKS):
        words = shlex.split(line.split(" #")[0].replace("labelme", "labelme" if kind == "drawn" else "rolabelimg"))
        words = [word.replace("/data/", f"{tmp_path}/数据/") for word in words]
        if words[1] == "main.py":
            few = SHORT if "train" in words else ["--conf_thresh", "0.001"] if "--input" in words else []
            code = main.main([*words[2:], "--num_workers", "0", *few])
        else:
            few = ["--num", "3"] if "tools.draw_targets" in words else []  # large pictures, slow to write
            if "--against" in words:
                shutil.copytree("runs/mine", words[words.index("--against") + 1])
            code = importlib.import_module(words[2]).main([*words[3:], *few])
        assert code == 0, (line, capsys.readouterr().err)
        if not new.exists():
            shutil.copytree(tmp_path / "数据" / "mine" / "images", new)
    assert (tmp_path / "runs" / "mine" / "metrics.json").is_file()
    assert (tmp_path / "runs" / "report.html").stat().st_size > 2000
    assert (tmp_path / "runs" / "page" / "results.html").is_file()
    assert any((tmp_path / "runs" / "labels").glob("*.jpg"))


def _lines(blocks: list[str]) -> list[str]:
    return [line for block in blocks for line in block.splitlines()]


def _small_demo(folder: Path) -> Path:
    if not folder.exists():
        write_demo(folder, num_train=6, num_val=2)
    return folder


def test_no_path_of_the_readme_is_missing():
    named = set(re.findall(r"`((?:datasets|models|tools|DOTA_devkit|tests)/[\w/]*\.py)`", README))
    assert named
    assert [path for path in named if not (REPOSITORY / path).is_file()] == []
    assert shutil.which("make")
