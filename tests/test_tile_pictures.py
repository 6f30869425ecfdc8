"""One picture and its tiles: kinds of pictures, exact scales, bands; a worker in another process."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio

from datasets.picture_files import picture_windows
from datasets.picture_files.images import ImageError, read_image
from tools import tile_pictures
from tools.running.processes import run_tasks
from tools.running.stop_request import StopRequest
from tools.tile_pictures import PictureTask, SplitSettings, finished_record, read_picture, split_picture

SETTINGS = SplitSettings(64, 40, (1.0,), 0.7, 0.0, "auto", 3, None, None, "error", "error", None)


def write_tiff(path: Path, pixels: np.ndarray, photometric: int = 1, planar: int = 1) -> None:
    """A plain TIFF of (H, W, bands), as GDAL writes pictures of many bands; OpenCV writes no more than four."""
    height, width, bands = pixels.shape
    bits, form = pixels.dtype.itemsize * 8, {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 0), (277, bands)]
    tags += [(278, height), (279, pixels.nbytes), (284, planar)]
    tags += [(338, 0)] * (bands > (3 if photometric == 2 else 1)) + [(339, form)]
    start = 8 + 2 + 12 * len(tags) + 4
    arrays, entries = b"", b""
    for tag, value in tags:
        count = {258: bands, 338: bands - (3 if photometric == 2 else 1), 339: bands}.get(tag, 1)
        kind = 4 if tag in (256, 257, 273, 278, 279) else 3
        if count > 2:
            entries += struct.pack("<HHII", tag, kind, count, start + len(arrays))
            arrays += struct.pack(f"<{count}H", *[value] * count)
        elif kind == 3:
            entries += struct.pack("<HHIHH", tag, kind, count, value, value if count == 2 else 0)
        else:
            entries += struct.pack("<HHII", tag, kind, count, value)
    entries = entries.replace(struct.pack("<HHII", 273, 4, 1, 0), struct.pack("<HHII", 273, 4, 1, start + len(arrays)))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    path.write_bytes(head + entries + struct.pack("<I", 0) + arrays + pixels.tobytes())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".jp2", ".webp"])
def test_pictures_of_8_bits_are_read_as_they_are(tmp_path, suffix):
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8), (0, 0), 2)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(cv2.imencode(suffix, image)[1].tobytes())
    assert (read_picture(path) == read_image(path)).all()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_grey_stays_grey(tmp_path, suffix):
    image = np.tile(np.arange(200, dtype=np.uint8), (40, 1))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(cv2.imencode(suffix, image)[1].tobytes())
    assert read_picture(path).shape == (40, 200, 1)


def test_a_fourth_band_is_left_out(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 4), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    assert (read_picture(tmp_path / "a.png") == image[:, :, :3]).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bands", [1, 3])
def test_16_bits_are_spread_between_their_percentiles(tmp_path, suffix, bands):
    """A 12-bit sensor: divided by 256, as OpenCV does it, the picture would be nearly black."""
    values = np.linspace(1000, 3000, 100 * 120).reshape(100, 120).astype(np.uint16)
    image = values if bands == 1 else np.stack([values, values // 2, values // 4], axis=-1)
    image[:10] = 0  # no data
    path = tmp_path / f"a{suffix}"
    path.write_bytes(cv2.imencode(suffix, image)[1].tobytes())
    picture = read_picture(path)
    assert picture.dtype == np.uint8
    assert picture.shape == (100, 120, bands)
    assert picture.max() == 255
    assert (picture[:10] == 0).all()
    assert 110 < np.median(picture[10:].reshape(-1, bands)[:, 0]) < 190
    first = picture.reshape(-1, bands)[1200:, 0].astype(int)
    assert (np.diff(first) >= 0).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_bands_that_are_not_called_colours_are_read_as_colours(tmp_path, dtype):
    """Of a TIFF with several bands marked as grey OpenCV reads the first alone, and says nothing."""
    pixels = np.random.default_rng(0).integers(1, 200, (30, 40, 4)).astype(dtype)
    write_tiff(tmp_path / "a.tif", pixels)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.shape == (30, 40, 3)
    assert (np.abs(picture / 255 - (pixels[:, :, 2::-1] - 1.0) / 198) < 0.02).all()


@pytest.mark.parametrize("bands", [2, 5])
def test_bands_that_are_no_colours_are_refused_with_the_name_of_the_file(tmp_path, bands):
    write_tiff(tmp_path / "a.tif", np.ones((8, 8, bands), np.uint16))
    with pytest.raises(ImageError, match=rf"a\.tif: has {bands} bands; .* gdal_translate"):
        read_picture(tmp_path / "a.tif")


def test_a_picture_without_contrast_is_read(tmp_path):
    write_tiff(tmp_path / "a.tif", np.zeros((8, 9, 1), np.uint16))
    assert read_picture(tmp_path / "a.tif").shape == (8, 9, 1)


@pytest.mark.parametrize("head", [b"\x89PNG", b"II*\0\x08\0\0\0", b"MM\0*", b"\0\0\0\x0cjP  ihdr\0", b"x"])
def test_a_file_that_ends_in_its_header_is_refused(tmp_path, head):
    (tmp_path / "a.tif").write_bytes(head)
    with pytest.raises(ImageError, match=r"a\.tif"):
        read_picture(tmp_path / "a.tif")


def test_real_geotiffs_are_read(real_folder):
    shapes = {path.name: read_picture(path).shape for path in sorted(real_folder("geotiff").glob("*.tif"))}
    assert shapes["car_park.tif"] == (2048, 2048, 3)
    assert shapes["rgba_uint16.tif"] == (411, 634, 1)  # its three colours are one constant
    assert shapes["rotated.tif"] == (15, 10, 1)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_picture_that_is_read_in_windows_has_the_tiles_of_a_decoded_one(tmp_path, monkeypatch, bands, kind):
    pixels = np.random.default_rng(0).integers(0, 250, (bands, 130, 90)).astype(kind) * (1 if kind == "uint8" else 7)
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", height=130, width=90, count=bands, dtype=kind) as file:
        file.write(pixels)
    settings = replace(SETTINGS, scales=(1.0, 0.4, 1.5))
    split_picture(PictureTask(path, None, tmp_path / "decoded", settings, 0.0))
    monkeypatch.setattr(picture_windows, "LEAST_PIXELS", 1)
    split_picture(PictureTask(path, None, tmp_path / "in_windows", settings, 0.0))
    tiles = sorted(path.name for path in (tmp_path / "decoded" / "images").iterdir())
    assert len(tiles) == 41
    assert tiles == sorted(path.name for path in (tmp_path / "in_windows" / "images").iterdir())
    for name in tiles:
        first, second = (
            cv2.imread(str(tmp_path / folder / "images" / name), cv2.IMREAD_UNCHANGED)
            for folder in ("decoded", "in_windows")
        )
        assert first.shape == ((64, 64) if bands == 1 else (64, 64, 3))
        np.testing.assert_allclose(first.astype(int), second, atol=0 if "__1__" in name else 1)


def test_a_worker_takes_its_task_from_another_process(dota_folder, tmp_path):
    src = dota_folder()
    task = PictureTask(src / "images/scene_0.png", src / "labelTxt/scene_0.txt", tmp_path / "tiles", SETTINGS, 0.0)
    (record,) = run_tasks(split_picture, [task], 1, StopRequest())
    assert record["height"] == 128
    assert task.marker.is_file()


def test_labels_that_change_while_their_picture_is_cut_are_cut_again(tmp_path, monkeypatch) -> None:
    """The marker was of the file as it was afterwards, and the tiles of it as it was before."""
    image, label = tmp_path / "a.png", tmp_path / "a.txt"
    cv2.imwrite(str(image), np.zeros((64, 64, 3), np.uint8))
    label.write_text("1 1 9 1 9 9 1 9 ship 0\n")
    task = PictureTask(image, label, tmp_path / "tiles", SETTINGS, 0.0)
    for folder in ("images", "labelTxt", ".split/pictures"):
        (task.dst / folder).mkdir(parents=True)
    read = tile_pictures.read_picture

    def read_and_label(*how):
        label.write_text("1 1 9 1 9 9 1 9 ship 0\n20 20 29 20 29 29 20 29 ship 0\n")
        return read(*how)

    monkeypatch.setattr(tile_pictures, "read_picture", read_and_label)
    split_picture(task)
    assert finished_record(task) is None
    monkeypatch.undo()
    assert split_picture(task)["num_objects"] == 2
    assert finished_record(task) is not None
