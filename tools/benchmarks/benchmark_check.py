"""How fast `tools.check_data` goes through label files, of which it draws as many as asked for."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import struct
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

from datasets.class_lists import DOTA_CLASSES
from DOTA_devkit.boxes import boxes_to_quads
from tools import check_data
from tools.benchmarks.benchmark_devkit import peak_mib

SIDE = 1024  # pixels of a picture
MOST_OBJECTS = 20  # of a picture; ten on average


def run(options: argparse.Namespace) -> None:
    """Measure as the flags of `python -m tools.benchmark check` say: the time of `tools.check_data` for label files
    that are drawn for it. Raises ValueError where it finds something wrong in them."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        data_dir = Path(folder, "data")
        make_label_files(data_dir, options.files)
        started, busy = time.perf_counter(), sum(os.times()[:4])
        with contextlib.redirect_stdout(io.StringIO()) as said:
            code = check_data.main([str(data_dir), "--workers", str(options.workers), "--no-near_duplicates"])
        seconds, busy = time.perf_counter() - started, sum(os.times()[:4]) - busy
    if code:
        raise ValueError(f"tools.check_data ended with {code}: {said.getvalue().strip()}")
    what = f"check_data, {options.files:,} label files, {options.workers} processes"
    print(f"{what}: {seconds:.1f} s, {options.files / seconds:,.0f} a second")
    # The seconds are those of a machine without other work; what the processors did does not depend on it so much.
    print(
        f"of the processors {busy:.1f} s; memory of all processes together at most {peak_mib(options.workers):,.0f} MiB"
    )


def make_label_files(data_dir: Path, num_files: int, seed: int = 0) -> None:
    """Write a data folder in DOTA's layout: `num_files` label files of 0 to 20 boxes at any angle, and as many pictures
    of 1024 x 1024 black pixels, which are one file under many names (hard links), or copies where there are none."""
    images, labels = data_dir / "images", data_dir / "labelTxt"
    images.mkdir(parents=True)
    labels.mkdir()
    rng = np.random.default_rng(seed)
    names = DOTA_CLASSES["1.0"]
    picture = _black_png(SIDE)
    previous: Path | None = None
    for number in range(num_files):
        num_objects = int(rng.integers(MOST_OBJECTS + 1))
        centres, sides = rng.uniform(64, SIDE - 64, (num_objects, 2)), rng.uniform(8, 60, (num_objects, 2))
        boxes = np.column_stack([centres, sides, rng.uniform(0, np.pi, num_objects)])
        rows = boxes_to_quads(boxes, "rolabelimg").reshape(-1, 8).tolist()
        lines = [
            f"{' '.join(f'{value:.1f}' for value in row)} {names[label]} 0\n"
            for row, label in zip(rows, rng.integers(len(names), size=num_objects).tolist(), strict=True)
        ]
        (labels / f"P{number:06d}.txt").write_text("".join(lines), encoding="utf-8")
        path = images / f"P{number:06d}.png"
        # A file has 65,000 names at most (ext4), so that a new one is begun now and then.
        if previous is None or number % 10_000 == 0 or not _link(previous, path):
            path.write_bytes(picture)
            previous = path


def _link(source: Path, path: Path) -> bool:
    try:
        path.hardlink_to(source)
    except OSError:
        return False
    return True


def _black_png(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 1) * side), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
