"""Windows of a file are parts of the decoded picture, whatever it holds; and what OpenCV cannot read, GDAL does."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datasets.loader import tile_batches
from datasets.picture_files import picture_windows, tiff
from datasets.picture_files.images import ImageError, read_image
from datasets.picture_files.layouts import Reading
from datasets.picture_files.picture_windows import PictureWindows, open_picture
from datasets.picture_files.scaled_windows import ScaledWindows
from datasets.tiles import TileSet, scale_picture
from DOTA_devkit.tiling import lay_tiles

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
HW = (150, 210)


def raster(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """A TIFF file of (bands, H, W)."""
    bands, height, width = pixels.shape
    shape = {"height": height, "width": width, "count": bands, "dtype": pixels.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **options) as file:
        file.write(pixels)
    return path


def drawn(bands: int, kind: str = "uint8", hw: tuple[int, int] = HW) -> np.ndarray:
    """Random values (bands, H, W); signed ones on both sides of 0."""
    low, high = {"uint8": (0, 256), "int16": (-900, 900)}.get(kind, (0, 5000))
    return np.random.default_rng(0).integers(low, high, (bands, *hw)).astype(kind)


def part_of(path: Path, number: int) -> tuple[int, int]:
    """Where a tile of the file begins, and how long it is."""
    with path.open("rb") as file:
        tags = tiff.read_tags(file)
        return tuple(tiff.numbers(file, tags[tag])[number] for tag in (tiff.TILE_OFFSETS, tiff.TILE_LENGTHS))


@pytest.fixture
def in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pictures, too."""
    monkeypatch.setattr(picture_windows, "LEAST_PIXELS", 1)


@pytest.mark.usefixtures("in_windows")
@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize(
    "options", [{}, {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate", "nodata": 7}]
)
def test_a_window_is_that_part_of_the_decoded_picture(
    tmp_path: Path, kind: str, bands: int, options: dict[str, object]
) -> None:
    colours = {"photometric": "rgb"} if bands > 1 else {}
    path = raster(tmp_path / "图.tif", drawn(bands, kind), **options, **colours)
    for channels in (1, 3, 4):
        if channels != 3 and channels != bands and (channels, bands) != (1, 3):
            with pytest.raises(ImageError) as decoded:
                read_image(path, channels)
            with pytest.raises(ImageError) as opened:
                open_picture(path, channels)
            assert str(opened.value) == str(decoded.value)
            continue
        for value_range in (None, (100, 4000)) if kind != "uint8" else (None,):
            whole, windows = (read(path, channels, Reading(value_range)) for read in (read_image, open_picture))
            assert isinstance(windows, PictureWindows)
            assert (windows.shape, windows.dtype) == (whole.shape, whole.dtype)
            for window in (np.s_[0:40, 0:210], np.s_[31:97, 60:61], np.s_[100:999, 180:999]):
                assert np.array_equal(windows[window], whole[window])


@pytest.mark.usefixtures("in_windows")
@pytest.mark.parametrize("told", ["-9999", "65536", "nan", "1500"])
def test_what_is_no_data_is_told_by_the_file_alone(tmp_path: Path, told: str) -> None:
    """rasterio passes over a value that the file's kind cannot hold, and takes that of a file beside it."""
    pixels = drawn(1, "uint16") % 1000 + 1000
    pixels[:, :9] = 0
    tags = {"tiffinfo": {42113: told}}
    Image.fromarray(pixels[0]).save(tmp_path / "a.tif", **tags)
    aside = "<PAMDataset><PAMRasterBand band='1'><NoDataValue>1200</NoDataValue></PAMRasterBand></PAMDataset>"
    (tmp_path / "a.tif.aux.xml").write_text(aside, encoding="utf-8")
    whole = read_image(tmp_path / "a.tif")
    assert np.array_equal(open_picture(tmp_path / "a.tif")[0:150, 0:210], whole)


@pytest.mark.usefixtures("in_windows")
@pytest.mark.parametrize(("kind", "start"), [("uint32", 3_000_000_000), ("int32", -1_000_000_000)])
def test_integers_of_32_bits_keep_their_levels(tmp_path: Path, kind: str, start: int) -> None:
    """A float of 32 bits holds 24 of them: of 256 levels two were left."""
    values = (np.arange(256, dtype=kind) + np.dtype(kind).type(start)).reshape(1, 16, 16)
    levels = PictureWindows(raster(tmp_path / "a.tif", values), 1, Reading((start, start + 255)))[0:16, 0:16]
    assert levels.ravel().tolist() == list(range(256))


@pytest.mark.usefixtures("in_windows")
def test_the_percentiles_of_a_large_deep_picture_are_those_of_the_decoded_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So large that they are estimated by every so many pixels; strips of the file are not a multiple of that."""
    monkeypatch.setattr("datasets.picture_files.layouts.MOST_SAMPLES", 300)
    monkeypatch.setattr(picture_windows, "PIXELS_AT_ONCE", 16 * HW[1])
    pixels = drawn(3, "uint16")
    pixels[:, 50:90] //= 3
    path = raster(tmp_path / "a.tif", pixels, photometric="rgb")
    assert np.array_equal(open_picture(path)[0:150, 0:210], read_image(path))


@pytest.mark.slow
@given(scale=st.floats(0.05, 3.0), data=st.data())
def test_a_scaled_window_is_that_part_of_the_scaled_picture(
    tmp_path_factory: pytest.TempPathFactory, scale: float, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "scaled.tif"
    if not path.exists():
        raster(path, drawn(3), photometric="rgb")
    whole = scale_picture(read_image(path), scale)
    windows = scale_picture(PictureWindows(path), scale)
    assert windows.shape == whole.shape
    if scale == 1:
        return
    assert isinstance(windows, ScaledWindows)
    starts = [data.draw(st.integers(0, side - 1)) for side in whole.shape[:2]]
    window = tuple(slice(start, start + data.draw(st.integers(1, 90))) for start in starts)
    np.testing.assert_allclose(windows[window].astype(int), whole[window], atol=1)


@pytest.mark.usefixtures("in_windows")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_tiles_are_cut_by_workers_too_and_a_damaged_part_is_told_by_the_file(tmp_path: Path, num_workers: int) -> None:
    path = raster(
        tmp_path / "a.tif", drawn(3), photometric="rgb", tiled=True, blockxsize=32, blockysize=32, compress="deflate"
    )
    tiles = lay_tiles("a", *HW, 64, 16, (1.0, 0.5))

    def inputs() -> list[torch.Tensor]:
        tile_set = TileSet(open_picture(path), tiles, 64, (64, 64), (0.0, 0.0, 0.0))
        tile_set[0]  # read here, too: the worker may not use the handle of this process
        return [images for images, _ in tile_batches(tile_set, 2, num_workers)]

    expected = TileSet(read_image(path), tiles, 64, (64, 64), (0.0, 0.0, 0.0))
    for number, image in enumerate(torch.cat(inputs())):
        np.testing.assert_allclose(image.numpy(), expected[number][0], atol=1)
    offset, length = part_of(path, 34)
    data = bytearray(path.read_bytes())
    data[offset : offset + length] = b"\xff" * length
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.tif: cannot be read \(.*\); copy it again") as told:
        inputs()
    assert "Traceback" not in str(told.value)


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("in_windows")
def test_a_forked_worker_does_not_wait_for_threads_of_gdal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """People who work with GDAL have this variable set; the threads of a process do not come along with its fork."""
    monkeypatch.setenv("GDAL_NUM_THREADS", "4")
    blocks = {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"}
    picture = open_picture(raster(tmp_path / "a.tif", drawn(3), photometric="rgb", **blocks))
    picture[0:150, 0:210]
    tile_set = TileSet(picture, lay_tiles("a", *HW, 64, 16), 64, (64, 64), (0.0, 0.0, 0.0))
    assert sum(len(rows) for _, rows in tile_batches(tile_set, 2, 1)) == len(tile_set)


@pytest.mark.usefixtures("in_windows")
@pytest.mark.parametrize("place", ["begins", "ends"])
def test_a_part_that_begins_or_ends_with_zeros_is_of_a_copy_that_broke_off(tmp_path: Path, place: str) -> None:
    blocks = {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"}
    path = raster(tmp_path / "a.tif", drawn(3), photometric="rgb", **blocks)
    offset, length = part_of(path, 6)
    data = bytearray(path.read_bytes())
    start = offset if place == "begins" else offset + length - 20
    data[start : start + 20] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.tif: part 7 of the 35 in which it is stored is not whole"):
        open_picture(path)


@pytest.mark.usefixtures("in_windows")
def test_a_rasterio_that_cannot_be_imported_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed, but a library is missing: it was a traceback, also for pictures that OpenCV reads."""
    path = raster(tmp_path / "a.tif", drawn(3), photometric="rgb")
    for name in [name for name in sys.modules if name.split(".")[0] == "rasterio"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "rasterio").mkdir()
    (tmp_path / "rasterio" / "__init__.py").write_text("raise ImportError('libexpat.so.1 is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(open_picture(path), np.ndarray)
    path.write_bytes(path.read_bytes()[:999])
    with pytest.raises(ImageError, match=r"cut off before its end.* requirements-geo.* libexpat"):
        open_picture(path)


def test_noise_that_ends_with_no_data_is_whole(tmp_path: Path) -> None:
    """ZSTD stores what it cannot make smaller as it is, zeros at the end and all."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64), dtype=np.uint8)
    noise[0, -1, -20:] = 0
    path = raster(tmp_path / "a.tif", noise, compress="zstd")
    with path.open("rb") as file:
        tags = tiff.read_tags(file)
        (offset,), (length,) = (tiff.numbers(file, tags[tag]) for tag in (tiff.STRIP_OFFSETS, tiff.STRIP_LENGTHS))
    assert not any(path.read_bytes()[offset + length - 16 : offset + length])
    assert np.array_equal(open_picture(path, 1)[0:64, 0:64], np.moveaxis(noise, 0, 2))


@pytest.mark.usefixtures("in_windows")
def test_a_name_that_gdal_cannot_be_told_is_left_to_opencv(tmp_path: Path) -> None:
    path = tmp_path / "\udcff.tif"
    try:
        raster(tmp_path / "a.tif", drawn(3), photometric="rgb").rename(path)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    assert isinstance(open_picture(path), np.ndarray)


def test_a_window_is_two_slices_without_steps(tmp_path: Path) -> None:
    picture = PictureWindows(raster(tmp_path / "a.tif", drawn(1, "uint16")), 1)
    for key in (np.s_[::2, 0:9], np.s_[0:9, 0:9, 0:1]):
        with pytest.raises(IndexError, match="a window is"):
            picture[key]
    for windows in (picture, ScaledWindows(picture, 0.5)):
        assert windows[5:5, 0:9].shape == (0, 9, 1)
        assert windows[0:9, 400:500].shape[1] == 0


def test_a_small_scale_is_made_of_strips_with_the_same_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = ScaledWindows(PictureWindows(raster(tmp_path / "a.tif", drawn(3), photometric="rgb")), 0.13)
    at_once = scaled[0:20, 3:25]
    monkeypatch.setattr(picture_windows, "PIXELS_AT_ONCE", 999)
    assert np.array_equal(scaled[0:20, 3:25], at_once)


def test_of_a_file_in_strips_the_rows_of_a_tile_are_kept(tmp_path: Path) -> None:
    """Else each tile of a row would decode the whole row anew."""
    wide = PictureWindows(raster(tmp_path / "wide.tif", drawn(4, "uint16", (4, 60_000)), photometric="rgb"))
    assert wide._cache >= 1200 * 60_000 * 8
    blocks = {"tiled": True, "blockxsize": 32, "blockysize": 32}
    tiled = PictureWindows(raster(tmp_path / "tiled.tif", drawn(4, "uint16", (4, 60_000)), photometric="rgb", **blocks))
    assert tiled._cache == picture_windows.CACHE


def test_a_relative_name_is_a_file_also_where_it_looks_like_a_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster(tmp_path / "a.tif", drawn(1)).rename(tmp_path / "http:a.tif")
    monkeypatch.chdir(tmp_path)
    assert PictureWindows(Path("http:a.tif"), 1)[0:2, 0:2].shape == (2, 2, 1)


def test_a_picture_that_travels_to_another_process_opens_its_file_anew(tmp_path: Path) -> None:
    picture = PictureWindows(raster(tmp_path / "a.tif", drawn(1, "uint16")), 1)
    assert np.array_equal(pickle.loads(pickle.dumps(picture))[3:9, 4:8], picture[3:9, 4:8])


@pytest.mark.parametrize(
    ("kind", "options", "what"),
    [
        ("uint8", {"photometric": "minisblack"}, "not called colours"),
        ("uint16", {"interleave": "band"}, "one after the other"),
        ("uint8", {"compress": "zstd", "photometric": "rgb"}, "compressed by ZSTD"),
        ("uint32", {"photometric": "rgb"}, "integers of 32 bits"),
    ],
)
def test_what_opencv_cannot_read_gdal_does_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: dict[str, object], what: str
) -> None:
    pixels = drawn(3, kind)
    path = raster(tmp_path / "a.tif", pixels, **options)
    bgr = np.moveaxis(pixels[::-1], 0, 2).astype(np.float64)
    expected = bgr if kind == "uint8" else (bgr - bgr.min()) / np.ptp(bgr) * 255
    assert np.abs(open_picture(path)[0:150, 0:210] - expected).max() < 3
    with pytest.raises(ImageError, match=what):
        read_image(path)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ImageError, match=rf"{what}.* pip install -r requirements-geo"):
        open_picture(path)


@pytest.mark.usefixtures("in_windows")
@pytest.mark.parametrize(
    ("bands", "options"), [(1, {"photometric": "miniswhite"}), (1, {"photometric": "palette"}), (3, {"count": 2})]
)
def test_what_gdal_gives_otherwise_is_decoded_by_opencv(tmp_path: Path, bands: int, options: dict[str, object]) -> None:
    if "count" in options:
        path = raster(tmp_path / "a.tif", drawn(2))
        with pytest.raises(ImageError, match="has 2 bands"):
            open_picture(path)
        return
    path = raster(tmp_path / "a.tif", drawn(bands), **options)
    assert isinstance(open_picture(path), np.ndarray)


@pytest.mark.usefixtures("in_windows")
def test_a_file_that_is_cut_off_empty_or_missing_is_a_sentence(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif", drawn(3), photometric="rgb")
    data = path.read_bytes()
    for kept in (0, 5, 60, len(data) // 2):
        path.write_bytes(data[:kept])
        with pytest.raises(ImageError, match=r"a\.tif: "):
            open_picture(path)[0:150, 0:210]
    path.unlink()
    with pytest.raises(ImageError, match=r"a\.tif: cannot be read"):
        open_picture(path)


def test_an_overview_shows_the_whole_picture_at_the_scale_that_it_tells(tmp_path: Path) -> None:
    ramp = (np.add.outer(np.arange(150), np.arange(210)) // 2).astype(np.uint8)[None]
    picture = PictureWindows(raster(tmp_path / "a.tif", ramp), 3)
    small, scale = picture.overview(70)
    assert small.shape == (50, 70, 3)
    assert scale == pytest.approx(1 / 3)
    np.testing.assert_allclose(small[:, :, 0], ramp[0, 1::3, 1::3], atol=2)
    assert picture.overview(999)[0].shape == (150, 210, 3)


@pytest.mark.slow
@pytest.mark.usefixtures("in_windows")
def test_real_geotiffs_are_the_same_in_windows(real_folder: Callable[[str], Path]) -> None:
    seen = 0
    for path in sorted(real_folder("geotiff").glob("*.tif")):
        picture = open_picture(path)
        if isinstance(picture, PictureWindows):
            seen += 1
            away = np.abs(picture[0 : picture.shape[0], 0 : picture.shape[1]].astype(int) - read_image(path))
            is_jpeg = path.name == "car_park.tif"  # half as many colours as pixels, which the two enlarge in their ways
            assert (away > 10).mean() < 1e-4 if is_jpeg else not away.any(), path
    assert seen >= 3
