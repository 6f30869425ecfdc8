"""The command as a user meets it: exit codes, files, nothing written beside the data, no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.check_data import main
from tools.draw_labels import main as draw_main

REPOSITORY = Path(__file__).resolve().parent.parent


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_clean_folder_ends_with_0(dota_folder, capsys):
    assert main([str(dota_folder()), "--workers", "0"]) == 0
    out = capsys.readouterr().out
    assert "4 pictures, 4 label files (1 without objects)" in out
    assert out.rstrip().endswith("0 errors, 0 warnings, 0 notes")


def test_errors_end_with_1_and_everything_is_written_where_it_was_named(dota_folder, tmp_path, capsys):
    data_dir = dota_folder("数据", names=("图 1", "b"), lists={"train": ["图 1"], "val": ["b"]})
    with (data_dir / "labelTxt" / "图 1.txt").open("a", encoding="utf-8") as file:
        file.write("10 10 40 30 40 10 10 30 car 0\n")
    before = tree(data_dir)
    out = tmp_path / "结果"
    arguments = ["--html", str(out / "r.html"), "--json", str(out / "r.json"), "--fix", str(out / "mended")]
    assert main([str(data_dir), "--workers", "0", *arguments]) == 1
    printed = capsys.readouterr().out
    assert f"{data_dir / 'labelTxt' / '图 1.txt'}:" in printed
    assert tree(data_dir) == before
    report = json.loads((out / "r.json").read_text(encoding="utf-8"))
    assert (report["counts"]["self-crossing"], report["errors"]) == (1, 1)
    page = (out / "r.html").read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in page
    assert "图 1.txt" in page
    assert main([str(out / "mended"), "--workers", "0"]) == 0


def test_warnings_alone_end_with_0(dota_folder):
    data_dir = dota_folder()
    (data_dir / "labelTxt" / "orphan.txt").write_text("")
    assert main([str(data_dir), "--workers", "0"]) == 0


def test_pictures_are_left_alone_when_asked(dota_folder, capsys):
    data_dir = dota_folder()
    (data_dir / "images" / "scene_0.png").write_bytes(b"")
    for flag in ("--no-images", "--no_images"):
        assert main([str(data_dir), "--workers", "0", flag]) == 0
    assert "not looked for" in capsys.readouterr().out
    assert main([str(data_dir), "--workers", "0"]) == 1


def test_near_duplicates_across_lists_are_found_unasked(dota_folder, capsys):
    data_dir = dota_folder(lists={"train": ["scene_0"], "val": ["scene_1"]})
    (data_dir / "images" / "scene_1.png").write_bytes((data_dir / "images" / "scene_0.png").read_bytes())
    main([str(data_dir), "--workers", "0"])
    assert "near-twin in the other list, 1 in all" in capsys.readouterr().out
    main([str(data_dir), "--workers", "0", "--no-near_duplicates"])
    assert "near-twin in" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no/such/folder"], "no/such/folder: no such data folder"),
        (["{data}", "--K", "0"], "--K is 0; it must be at least 1"),
        (["{data}", "--workers", "-1"], "--workers is -1"),
        (["{data}", "--fix", "{data}/fixed"], "lies in the data folder"),
        (["{data}", "--decode", "--no-images"], "give one of them"),
        (["{data}", "--htlm", "x"], "--help lists all flags"),
    ],
)
def test_a_wrong_setting_ends_with_2(dota_folder, capsys, arguments, message):
    data_dir = str(dota_folder())
    assert main([argument.replace("{data}", data_dir) for argument in arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", [main, draw_main])
def test_an_unknown_format_is_one_sentence_and_exit_code_2(dota_folder, tmp_path, capsys, command):
    assert command([str(dota_folder()), *([str(tmp_path / "out")] * (command is draw_main)), "--dataset", "dotta"]) == 2
    err = capsys.readouterr().err
    assert "--dataset: invalid choice: 'dotta'" in err
    assert "'rolabelimg'" in err


@pytest.mark.parametrize("flag", ["--html", "--json"])
def test_a_report_replaces_nothing_but_a_report(dota_folder, tmp_path, capsys, flag):
    """It was written over anything, and beside the data."""
    data_dir, report = dota_folder("数据"), tmp_path / "结果" / "r"
    precious = data_dir / "labelTxt" / "scene_0.txt"
    before = tree(data_dir)
    for path, sentence in ((precious, "lies in the data folder"), (data_dir / "new", "lies in the data folder")):
        assert main([str(data_dir), "--workers", "0", flag, str(path)]) == 2
        assert sentence in capsys.readouterr().err
    assert tree(data_dir) == before
    (tmp_path / "notes").write_text("mine")
    for path in (tmp_path / "notes", tmp_path):
        assert main([str(data_dir), "--workers", "0", flag, str(path)]) == 2
        out, err = capsys.readouterr()
        assert (out, "was not written by this command; name another file" in err) == ("", True)
    assert (tmp_path / "notes").read_text() == "mine"
    for _ in range(2):
        assert main([str(data_dir), "--workers", "0", flag, str(report)]) == 0


@pytest.mark.parametrize("flags", [("--html", "--json"), ("--json", "--fix"), ("--html", "--fix")])
def test_what_is_written_to_one_place_is_refused_before_anything_is_written(dota_folder, tmp_path, capsys, flags):
    """The page took the place of the report in JSON."""
    data_dir, path = dota_folder(), tmp_path / "r"
    other = tmp_path / "x" / ".." / "r"
    assert main([str(data_dir), "--workers", "0", flags[0], str(path), flags[1], str(other)]) == 2
    assert f"{flags[0]} and {flags[1]} name one place, {path}; name two" in capsys.readouterr().err
    assert not path.exists()


def test_an_empty_folder_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_the_commands_explain_themselves_without_torch():
    code = (
        "import sys; from tools import check_data, draw_labels\n"
        "for command in (check_data, draw_labels):\n"
        "    try: command.main(['--help'])\n"
        "    except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("check_data", "draw_labels"):
        assert f"usage: python -m tools.{command}" in done.stdout


def test_yolo_folders_are_checked_and_drawn(real_folder, tmp_path, capsys):
    from datasets.readers import FORMATS

    if "yolo_obb" not in FORMATS:
        pytest.skip("yolo_obb is not among the formats")
    folder = str(real_folder("dota8"))
    assert main([folder, "--workers", "0", "--fix", str(tmp_path / "mended")]) == 0
    assert "8 pictures, 8 label files" in capsys.readouterr().out
    assert draw_main([folder, str(tmp_path / "drawn")]) == 0
    assert len(list((tmp_path / "drawn").iterdir())) == 8
