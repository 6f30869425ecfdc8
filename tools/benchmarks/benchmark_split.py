"""How near `tools.split_tiles` comes to its limit, the coding of pictures."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from datasets.demo_scenes import draw_scene
from datasets.picture_files.images import read_image
from DOTA_devkit.labels import write_labels
from DOTA_devkit.tiling import lay_tiles
from tools import split_tiles
from tools.picture_coding import JPEG_QUALITY

SIZE, OVERLAP = 600, 100
NUM_OBJECTS = 600  # a picture


def benchmark_split(
    num_pictures: int = 6, hw: tuple[int, int] = (3000, 3500), workers: int = 2, rounds: int = 2
) -> dict[str, float]:
    """Print and return, for PNG and JPEG, the throughput of `split_tiles` (pictures and labels in, tiles, labels, lists
    and index out) as a fraction of that of a bare loop that decodes the pictures and encodes the same tiles with the
    same number of processes, and writes nothing."""
    numbers: dict[str, float] = {}
    print(f"split_tiles, {num_pictures} pictures of {hw[1]} x {hw[0]}, {NUM_OBJECTS} objects each, {workers} processes")
    for suffix in (".png", ".jpg"):
        with tempfile.TemporaryDirectory() as folder:
            src = _draw_folder(Path(folder, "src"), num_pictures, hw, suffix)
            bare, ours = [], []
            for number in range(rounds):
                bare.append(_seconds(lambda src=src: _code_all(src, workers)))
                dst = Path(folder, f"dst{number}")
                ours.append(_seconds(lambda src=src, dst=dst: _split(src, dst, workers)))
        share = min(bare) / min(ours)
        numbers |= {f"split {suffix}": min(ours), f"split {suffix} bare": min(bare), f"split {suffix} share": share}
        print(f"  {suffix}  {min(ours):7.2f} s   bare coding {min(bare):7.2f} s   {share:.0%} of its throughput")
    return numbers


def _draw_folder(src: Path, num_pictures: int, hw: tuple[int, int], suffix: str) -> Path:
    """Pictures that look like pictures, to a coder: a drawn scene, repeated and shifted."""
    rng = np.random.default_rng(0)
    scene = draw_scene(rng)[0]
    repeats = (*(-(-side // 256) for side in hw), 1)
    (src / "images").mkdir(parents=True)
    for number in range(num_pictures):
        picture = np.roll(np.tile(scene, repeats)[: hw[0], : hw[1]], 97 * number, axis=1)
        noise = rng.integers(-6, 7, picture.shape[:2], dtype=np.int16)[..., None]
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
        (src / "images" / f"p{number}{suffix}").write_bytes(_encode(picture, suffix))
        corners = rng.uniform(0, np.array(hw[::-1]) - 60, (NUM_OBJECTS, 1, 2))
        sides = rng.uniform(8, 60, (NUM_OBJECTS, 1, 2))
        quads = corners + sides * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        write_labels(src / "labelTxt" / f"p{number}.txt", quads, ["ship"] * NUM_OBJECTS, [0] * NUM_OBJECTS)
    return src


def _encode(picture: np.ndarray, suffix: str) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
    return cv2.imencode(suffix, picture, options)[1].tobytes()


def _code_all(src: Path, workers: int) -> None:
    paths = sorted((src / "images").iterdir())
    cv2.setNumThreads(0)  # they would not survive the fork
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_code_picture, paths))


def _code_picture(path: Path) -> None:
    picture = read_image(path)
    for tile in lay_tiles(path.stem, *picture.shape[:2], SIZE, OVERLAP):
        _encode(picture[tile.y : tile.y + SIZE, tile.x : tile.x + SIZE], path.suffix)


def _split(src: Path, dst: Path, workers: int) -> None:
    flags = [str(src), str(dst), "--size", str(SIZE), "--overlap", str(OVERLAP), "--workers", str(workers)]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = split_tiles.main(flags)
    if code:
        raise ValueError(f"split_tiles ended with {code}: {said.getvalue().strip()}")


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
