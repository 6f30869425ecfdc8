"""The command line as a user meets it: exit codes, one sentence an error, no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def _run(*arguments: str, module: str | None = None) -> subprocess.CompletedProcess:
    program = ["-m", module] if module else [str(REPOSITORY / "main.py")]
    return subprocess.run(
        [sys.executable, *program, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def test_a_mistyped_flag_ends_with_2_and_names_the_nearest():
    done = _run("--backbones", "resnet18")
    assert done.returncode == 2
    assert done.stderr == "error: unknown flag --backbones; nearest: --backbone; python main.py --help lists all\n"


def test_the_beginning_of_flags_names_them():
    assert "unknown flag --data; nearest: --data_dir, --dataset;" in _run("--data", "x").stderr
    assert "unknown flag --conf; nearest: --conf_thresh, --config;" in _run("--conf", "0.1").stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--phase", "train", "--data_dir", "no/such/folder"], "no/such/folder: no such data folder"),
        (["--phase", "train", "--dataset", "dota"], "--dataset dota needs --data_dir"),
        (["--phase", "test", "--resume", "no.pth"], "no.pth: no such file"),
    ],
)
def test_a_wrong_path_is_one_sentence_without_a_traceback(arguments, message):
    done = _run(*arguments)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_unknown_backbone_lists_the_known_ones(dota_folder, tmp_path):
    done = _run("--backbone", "resnet19", "--data_dir", str(dota_folder()), "--out", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "--backbone: unknown backbone 'resnet19'; known: [" in done.stderr
    assert not (tmp_path / "run" / "last.pth").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["data", "--help"], ["train", "--help"]])
def test_the_benchmark_explains_itself(arguments):
    done = _run(*arguments, module="tools.benchmark")
    assert done.returncode == 0
    assert "usage: python -m tools.benchmark" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)]
)
def test_a_signal_in_the_middle_of_an_epoch_saves_and_leaves(dota_folder, tmp_path, number, code):
    run_dir = tmp_path / "run"
    flags = ["--data_dir", str(dota_folder()), "--out", str(run_dir), "--pretrained", "none", "--num_epoch", "5000"]
    training = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "main.py"), *flags, "--input_h", "64", "--input_w", "64"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (run_dir / "last.pth").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    training.send_signal(number)
    out, err = training.communicate(timeout=60)
    assert training.returncode == code, err
    assert f"go on with: python main.py --phase train --resume_train {run_dir}" in out
    assert "Traceback" not in err


@pytest.mark.long
def test_kill_in_the_middle_leaves_a_checkpoint_that_loads(dota_folder, tmp_path):
    """Killed again and again while it writes checkpoints as fast as it can: what is there is always whole."""
    from tools.checkpoint import load_checkpoint

    run_dir = tmp_path / "run"
    flags = ["--data_dir", str(dota_folder()), "--pretrained", "none", "--num_epoch", "5000", "--num_workers", "0"]
    command = [sys.executable, str(REPOSITORY / "main.py"), "--input_h", "32", "--input_w", "64"]
    for attempt in range(2):
        more = ["--resume_train", str(run_dir)] if attempt else [*flags, "--out", str(run_dir)]
        training = subprocess.Popen([*command, *more], cwd=tmp_path, stdout=subprocess.DEVNULL)
        before = (run_dir / "last.pth").stat().st_mtime_ns if attempt else 0
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if (run_dir / "last.pth").exists() and (run_dir / "last.pth").stat().st_mtime_ns != before:
                break
            time.sleep(0.05)
        time.sleep(0.3 + 0.37 * attempt)
        training.kill()
        training.wait()
        assert load_checkpoint(run_dir / "last.pth")[2]["progress"]["num_images"] > 0


def test_the_commands_can_be_listed():
    done = _run(module="tools")
    assert done.returncode == 0
    lines = {line.split(maxsplit=1)[0]: line for line in done.stdout.splitlines() if line.startswith("  ")}
    assert lines["convert_labels"].endswith("  turns the labels of one program into those of another")
    for path in (REPOSITORY / "tools").glob("*.py"):
        is_command = '__name__ == "__main__"' in path.read_text(encoding="utf-8") and path.name != "__main__.py"
        assert (path.stem in lines) == is_command, path
