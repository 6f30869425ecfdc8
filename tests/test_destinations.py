"""Where commands write: not into the data, not beside inputs, not over what is somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.running.command_line import SettingsError
from tools.running.destinations import refuse_data_folder, refuse_inputs, refuse_to_replace, require_free


@pytest.mark.parametrize("out", ["data", "data/run", "data/../data", "link/run"])
def test_nothing_is_written_into_the_data(tmp_path, out):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    with pytest.raises(SettingsError, match=r"^--fix .* lies in the data folder, .*data, where nothing is written"):
        refuse_data_folder(tmp_path / out, tmp_path / "data", "--fix")


def test_a_folder_beside_the_data_is_fine(tmp_path):
    refuse_data_folder(tmp_path / "data2", tmp_path / "data")


def test_drawings_never_land_on_the_pictures_they_are_of(tmp_path):
    pictures = tmp_path / "run" / "drawings"
    pictures.mkdir(parents=True)
    (pictures / "a.png").touch()
    for inputs in (pictures, pictures / "a.png"):
        with pytest.raises(SettingsError, match="name another"):
            refuse_inputs(tmp_path / "run", inputs)
    refuse_inputs(tmp_path / "elsewhere", pictures)
    refuse_inputs(pictures / "runs" / "x", pictures / "a.png")  # a picture in the folder one works in


def test_a_copy_goes_to_a_new_or_empty_folder(tmp_path):
    require_free(tmp_path / "new")
    require_free(tmp_path)
    (tmp_path / "file").touch()
    for used in (tmp_path, tmp_path / "file"):
        with pytest.raises(SettingsError, match=rf"^{used} is in use; name a new or empty folder or a new file$"):
            require_free(used, or_file=" or a new file")


@pytest.mark.parametrize("kind", ["other", "folder"])
def test_a_file_of_somebody_else_is_not_replaced(tmp_path, kind):
    """A plot took the place of a training picture, and scores that of a checkpoint."""
    path = tmp_path / "a.json"
    refuse_to_replace(None, "--json", ['{"mine'])
    refuse_to_replace(path, "--json", ['{"mine'])
    path.mkdir() if kind == "folder" else path.write_text('{"yours": {"mine": 1}}')  # a mark within is no head
    with pytest.raises(SettingsError, match=r"^--json .*a.json is there, and was not written by this command"):
        refuse_to_replace(path, "--json", ['{"mine'], ["other"])


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="Windows has none")
def test_a_device_is_not_replaced():
    with pytest.raises(SettingsError, match=r"^--json /dev/null is a device, and no file"):
        refuse_to_replace(Path("/dev/null"), "--json")


@pytest.mark.parametrize("text", ["", '{"mine": 1}', '\ufeff{"mine": 1}', "a plot that bears the mark"])
def test_an_earlier_file_of_ours_and_an_empty_one_are_replaced(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    refuse_to_replace(tmp_path / "a.json", "--json", ['{"mine'], ["the mark"])
