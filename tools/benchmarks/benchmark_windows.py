"""What it takes to cut a big TIFF file into tiles: read in windows, and decoded whole."""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from datasets.demo_scenes import draw_scene
from datasets.picture_files.images import read_image
from datasets.picture_files.picture_windows import PictureWindows
from datasets.tiles import TileSet
from DOTA_devkit.tiling import lay_tiles
from tools.benchmarks.benchmark_devkit import peak_mib

SIZE, OVERLAP, BLOCK = 600, 100, 256  # pixels


def run(options: argparse.Namespace) -> None:
    """Measure as the flags of `python -m tools.benchmark windows` say."""
    benchmark_windows(options.side)


def benchmark_windows(side: int) -> dict[str, float]:
    """Print and return the seconds and the most memory, in MiB, of a process that cuts a drawn file of side x side
    pixels, colours in deflated blocks, into all of its tiles: in windows, and whole."""
    numbers: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        path = Path(folder, "survey.tif")
        draw_survey(path, side)
        size = path.stat().st_size / 2**20
        print(f"a TIFF file of {side:,} x {side:,} pixels, {size:,.0f} MiB, in tiles of {SIZE} pixels")
        for name, is_whole in (("in windows", False), ("whole", True)):
            with multiprocessing.get_context("spawn").Pool(1) as pool:  # whose memory is its own
                seconds, mib = pool.apply(_cut, (path, is_whole))
            numbers |= {f"{name} s": seconds, f"{name} MiB": mib}
            print(f"  {name:10}  {seconds:7.1f} s  {mib:8,.0f} MiB")
    return numbers


def draw_survey(path: Path, side: int) -> Path:
    """Write a file of demo scenes, side by side, a row of blocks at a time; returns its path."""
    import rasterio
    from rasterio.windows import Window

    scenes = [np.moveaxis(draw_scene(np.random.default_rng(seed))[0], 2, 0)[::-1] for seed in range(8)]
    shape = {"height": side, "width": side, "count": 3, "dtype": "uint8", "photometric": "rgb", "BIGTIFF": "IF_SAFER"}
    blocks = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "zlevel": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NotGeoreferencedWarning
        with rasterio.open(path, "w", driver="GTiff", **shape, **blocks) as file:
            for row, top in enumerate(range(0, side, BLOCK)):
                height = min(BLOCK, side - top)
                strip = np.concatenate([scenes[(row + column) % 8] for column in range(-(-side // BLOCK))], axis=2)
                file.write(strip[:, :height, :side], window=Window(0, top, side, height))
    return path


def _cut(path: Path, is_whole: bool) -> tuple[float, float]:
    started = time.perf_counter()
    picture = read_image(path) if is_whole else PictureWindows(path)
    tiles = lay_tiles("survey", *picture.shape[:2], SIZE, OVERLAP)
    tile_set = TileSet(picture, tiles, SIZE, (SIZE, SIZE), (0.0, 0.0, 0.0))
    for row in range(len(tiles)):
        tile_set.crop(row)
    return time.perf_counter() - started, peak_mib(0)
