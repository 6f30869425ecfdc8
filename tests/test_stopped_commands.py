"""Commands that Ctrl-C or SIGTERM stops: 130 or 143 in every one of them, and no half-written file is left."""

from __future__ import annotations

import ast
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import main as program
from datasets.videos import Video
from DOTA_devkit.task_files import ResultWriter
from tests.conftest import REPOSITORY
from tests.video_clips import write_clip
from tools.convert_labels import main as convert
from tools.detect_video import main as detect_video
from tools.detection.results import ResultFiles, read_origin
from tools.export_onnx import main as export
from tools.infer_onnx import main as infer_onnx
from tools.merge_results import main as merge
from tools.onnx_detector import OnnxDetector
from tools.split_tiles import main as split

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
COMMANDS = sorted(
    path
    for path in (REPOSITORY / "tools").glob("*.py")
    if '"__main__"' in path.read_text("utf-8") and path.stem != "__main__"  # which only lists the others
)


@pytest.fixture(autouse=True)
def heeded_signals() -> Iterator[None]:
    """A shell that starts the tests in the background has Ctrl-C ignored in all of them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def signal_in_the_second(owner: type, name: str, number: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the second call of a method, and no other, send this process the signal; returns the list of calls."""
    method, calls = getattr(owner, name), []

    def signalling(*parts: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), number)
        return method(*parts, **options)

    monkeypatch.setattr(owner, name, signalling)
    return calls


def assert_nothing_half_written(folder: Path) -> None:
    left = [path.name for path in folder.rglob("*") if path.is_file()]
    assert not [name for name in left if name.endswith(".tmp") or name.startswith(".")]
    assert "origin.json" not in left


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("command", ["test", "test --tile 96 --overlap 32", "eval", "infer_onnx"])
def test_detection_that_is_stopped_keeps_the_pictures_so_far_and_is_not_scored(
    finding_checkpoint, exported: Callable, dota_folder, tmp_path, monkeypatch, command: str, number: int, code: int
) -> None:
    """A night of pictures was lost to a stop in the morning."""
    data_dir, out = dota_folder(lists={"val": [f"scene_{n}" for n in range(4)], "train": []}), tmp_path / "out"
    work, *flags = command.split()
    if work == "infer_onnx":
        main, arguments = infer_onnx, [str(exported(nms=True)), str(data_dir / "images"), str(out)]
    else:
        main = program.main
        arguments = ["--phase", work, "--resume", str(finding_checkpoint), "--data_dir", str(data_dir)]
        arguments += ["--out", str(out), "--num_workers", "0", *flags]
    with monkeypatch.context() as patch:
        calls = signal_in_the_second(ResultFiles, "write", number, patch)
        assert main(arguments) == code
    assert len(calls) == 2
    if work == "eval":
        assert_nothing_half_written(out)
        assert not list((out / "results").glob("*"))
    else:
        assert not [path for path in out.rglob("*") if path.name.startswith(".") or path.suffix == ".tmp"]
        origin = read_origin(out / "results")
        assert (origin["images"], origin["stopped"]) == (["scene_0", "scene_1"], True)
        assert len(json.loads((out / "results" / "detections.json").read_text("utf-8"))) == 2
    assert main(arguments) == 0
    origin = read_origin(out / "results")
    assert (len(origin["images"]), "stopped" in origin) == (4, False)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_second_signal_stops_at_once_and_writes_nothing(
    finding_checkpoint, dota_folder, tmp_path, monkeypatch, number: int, code: int
) -> None:
    out, images = tmp_path / "out", dota_folder() / "images"
    write = ResultFiles.write

    def twice(*parts: object) -> None:
        for _ in range(2):
            os.kill(os.getpid(), number)
        write(*parts)

    monkeypatch.setattr(ResultFiles, "write", twice)
    flags = ["--resume", str(finding_checkpoint), "--input", str(images), "--num_workers", "0", "--out", str(out)]
    assert program.main(["--phase", "test", *flags]) == code
    assert not list((out / "results").glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_detection_in_videos_that_is_stopped_keeps_the_frames_so_far(
    finding_checkpoint, tmp_path, monkeypatch, number: int, code: int
) -> None:
    """A flight of twenty minutes takes hours on a CPU."""
    out, clips = tmp_path / "out", [str(write_clip(tmp_path / name, 4)) for name in ("a.mp4", "b.mp4")]
    signal_in_the_second(ResultFiles, "write", number, monkeypatch)
    tables = [out / "tracks.csv", out / "objects.csv", out / "crossings.csv"]
    flags = ["--draw_score", "0.05", "--track_frames", "1", "--count_line", "0", "40", "128", "40"]
    assert detect_video([str(finding_checkpoint), *clips, str(out), *flags]) == code
    assert {row.split(",")[1] for row in tables[0].read_text().splitlines()[1:]} == {"a.mp4"}
    assert all(map(Path.is_file, tables))
    assert not [path for path in out.rglob("*") if path.name.startswith(".") or path.suffix == ".tmp"]
    origin = read_origin(out / "results")
    assert (origin["images"], origin["stopped"]) == (["a_000000", "a_000001"], True)
    assert (out / "counts.csv").read_text().count("\n") == 3
    with Video(out / "a_found.mp4") as video:
        assert video.num_frames == 2
    assert not (out / "b_found.mp4").exists()
    assert detect_video([str(finding_checkpoint), *clips, str(out)]) == 0
    assert len(read_origin(out / "results")["images"]) == 8


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_merging_that_is_stopped_leaves_whole_classes(
    finding_checkpoint, dota_folder, tmp_path, monkeypatch, number: int, code: int
) -> None:
    pictures, tiles = dota_folder(lists={"train": ["scene_3"], "val": ["scene_0", "scene_1"]}), tmp_path / "tiles"
    assert split([str(pictures), str(tiles), "--size", "96", "--overlap", "48", "--workers", "0"]) == 0
    flags = ["--resume", str(finding_checkpoint), "--data_dir", str(tiles), "--out", str(tmp_path / "run")]
    assert program.main(["--phase", "test", *flags, "--num_workers", "0"]) == 0
    command = [str(tmp_path / "run" / "results"), "--index", str(tiles), "--workers", "0"]
    assert merge([command[0], str(tmp_path / "whole"), *command[1:]]) == 0
    signal_in_the_second(ResultWriter, "write", number, monkeypatch)
    assert merge([command[0], str(tmp_path / "merged"), *command[1:]]) == code
    assert_nothing_half_written(tmp_path / "merged")
    written = list((tmp_path / "merged").iterdir())
    assert len(written) < 2
    for path in written:
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("form", ["dota", "rolabelimg", "yolo_obb", "coco"])
def test_a_conversion_that_is_stopped_leaves_whole_files(
    dota_folder, tmp_path, monkeypatch, form: str, number: int, code: int
) -> None:
    """The signal comes when the second file is written, and not yet moved to its place."""
    data_dir, dst = dota_folder(lists={"train": ["scene_0"], "val": ["scene_1"]}), tmp_path / "converted"
    calls = signal_in_the_second(Path, "replace", number, monkeypatch)
    flags = ["--from", "dota", "--to", form, "--images", str(data_dir / "images")]
    assert convert([str(data_dir), str(dst), *flags]) == code
    assert len(calls) == 2
    assert_nothing_half_written(dst)
    assert len([path for path in dst.rglob("*") if path.is_file()]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_an_export_that_is_stopped_leaves_no_file(
    finding_checkpoint, tmp_path, monkeypatch, number: int, code: int
) -> None:
    calls = signal_in_the_second(OnnxDetector, "rows", number, monkeypatch)
    (tmp_path / "out").mkdir()
    assert export(["--resume", str(finding_checkpoint), "--output", str(tmp_path / "out" / "model.onnx")]) == code
    assert len(calls) == 2
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("path", [*COMMANDS, REPOSITORY / "main.py"], ids=lambda path: path.stem)
def test_every_command_leaves_its_exit_code_to_exit_code(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    main = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    returned = [node.value for node in ast.walk(main) if isinstance(node, ast.Return) and node in main.body]
    assert [isinstance(call, ast.Call) and call.func.id == "exit_code" for call in returned] == [True]
    assert ast.unparse(tree.body[-1].body) in ("sys.exit(main())", "sys.exit(main(sys.argv[1:]))")
