"""Run folders: names, the newest one, and where results of a checkpoint from elsewhere go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools import run_folder
from tools.config import Config
from tools.run_folder import (
    BEST,
    LAST,
    SETTINGS,
    Log,
    checkpoint_path,
    new_run_dir,
    newest_run,
    results_dir,
)  # fmt: skip
from tools.running.command_line import SettingsError


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _make_run(name: str, time: int) -> Path:
    path = Path("runs") / name / BEST
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (time, time))
    return path


def test_a_new_run_never_takes_an_existing_folder():
    first = new_run_dir(Config(), "demo")
    assert first.is_dir()  # at once, so that a run of the same second finds it
    assert new_run_dir(Config(), "demo") != first
    assert first.name.startswith("demo-resnet18-")


def test_the_newest_run_is_that_of_the_newest_checkpoint_not_of_the_name():
    newer = _make_run("a", 2000)
    _make_run("z", 1000)
    assert newest_run(BEST) == newer
    assert checkpoint_path(None) == newer


def test_no_run_is_a_sentence():
    for name, flag in ((BEST, "--resume RUN_FOLDER"), (LAST, "--resume_train RUN_FOLDER")):
        with pytest.raises(SettingsError, match=f"train first .*, or name the run, {flag}"):
            newest_run(name)


def test_resume_takes_a_file_or_a_folder():
    assert checkpoint_path(Path("x/last.pth")) == Path("x/last.pth")
    path = _make_run("a", 1000)
    assert checkpoint_path(path.parent) == path


def test_results_go_to_the_run_but_never_beside_a_foreign_checkpoint(tmp_path):
    own = _make_run("a", 1000)
    (own.parent / SETTINGS).touch()
    assert results_dir(Config(), own) == own.parent
    assert results_dir(Config(), tmp_path / "downloads" / "model_50.pth") == Path("runs/test-model_50")
    assert results_dir(Config(out=Path("here")), own) == Path("here")


def test_the_log_prints_and_keeps(capsys):
    log = Log(Path("runs/x"))
    log("eins")
    log("zwei")
    assert capsys.readouterr().out == "eins\nzwei\n"
    assert [line.split("  ")[1] for line in log.path.read_text(encoding="utf-8").splitlines()] == ["eins", "zwei"]


@pytest.mark.parametrize("out", ["data", "data/run", "data/../data"])
def test_nothing_is_written_beside_inputs(tmp_path, out):
    (tmp_path / "data").mkdir()
    with pytest.raises(SettingsError, match="lies in the data folder"):
        new_run_dir(Config(out=tmp_path / out, data_dir=tmp_path / "data"), "data")


def test_a_folder_with_the_settings_of_a_run_is_free_where_locks_tell_that_none_works_there(tmp_path, monkeypatch):
    (tmp_path / SETTINGS).touch()
    assert new_run_dir(Config(out=tmp_path), "demo") == tmp_path
    monkeypatch.setattr(run_folder, "HAS_LOCKS", False)
    with pytest.raises(SettingsError, match="already holds a run"):
        new_run_dir(Config(out=tmp_path), "demo")
    monkeypatch.undo()
    (tmp_path / LAST).touch()
    with pytest.raises(SettingsError, match="already holds a run"):
        new_run_dir(Config(out=tmp_path), "demo")
