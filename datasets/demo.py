"""The embedded data set: oriented objects in aerial scenes that the project draws itself, written in DOTA's layout.

Three classes seen from above, in scenes of 256 x 256 px, which `datasets/demo_scenes` draws. The same seed and the same
versions of numpy and OpenCV give the same bytes.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from datasets.demo_scenes import CLASS_NAMES, SCENE_SIZE, draw_scene

__all__ = ["CLASS_NAMES", "SCENE_SIZE", "draw_scene", "ensure_demo", "write_demo"]

_SPLITS = ("train", "val")


def ensure_demo(data_dir: Path) -> Path:
    """The demo set's folder, drawn first where it is not there yet: 300 training and 60 validation scenes, seed 0.

    Raises FileExistsError if the folder holds something else or only a part of the set, and OSError if it cannot be
    written.
    """
    data_dir = Path(data_dir)
    if not _is_vacant(data_dir):
        _check_complete(data_dir)
        return data_dir
    write_demo(data_dir)
    return data_dir


def write_demo(data_dir: Path, num_train: int = 300, num_val: int = 60, seed: int = 0) -> None:
    """Draw the set into data_dir, new or empty: images/, labelTxt/, classes.txt, train.txt, val.txt.

    The folder appears whole or not at all. A scene depends on the seed, its split and its number alone, not on how
    many are drawn. Where another process finishes the same folder first, its set stays.
    Raises FileExistsError if data_dir holds anything, and OSError if it cannot be written.
    """
    data_dir = Path(data_dir)
    if not _is_vacant(data_dir):
        raise FileExistsError(
            f"{data_dir}: the demo set is drawn into a new folder, and this one is in use; remove it or name another"
        )
    try:
        with _folder_for(data_dir) as folder:
            (folder / "images").mkdir()
            (folder / "labelTxt").mkdir()
            (folder / "classes.txt").write_bytes(_lines(CLASS_NAMES))
            for split_number, (split, count) in enumerate(zip(_SPLITS, (num_train, num_val), strict=True)):
                names = [f"{split}_{index:04d}" for index in range(count)]
                (folder / f"{split}.txt").write_bytes(_lines(names))
                for index, name in enumerate(names):
                    _write_scene(folder, name, np.random.default_rng([seed, split_number, index]))
    except OSError as error:
        reason = error.strerror or error
        raise type(error)(
            f"{data_dir}: the demo set cannot be written here ({reason}); it needs write permission and room for 60 MB"
        ) from error
    _check_complete(data_dir)


@contextmanager
def _folder_for(data_dir: Path) -> Iterator[Path]:
    """A new folder beside data_dir that takes its place when the block ends well, and is removed otherwise."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    folder = data_dir.with_name(f".{data_dir.name}.{secrets.token_hex(6)}.partial")
    folder.mkdir()
    try:
        yield folder
        try:
            folder.rename(data_dir)
        except OSError:
            # Taken meanwhile: another process was faster, and its set is as good as ours.
            if _is_vacant(data_dir):
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_scene(folder: Path, name: str, rng: np.random.Generator) -> None:
    image, quads, labels, difficult = draw_scene(rng)
    # Encoded here and written by Python: cv2.imwrite does not say why it fails.
    _, code = cv2.imencode(".png", image)
    (folder / "images" / f"{name}.png").write_bytes(code.tobytes())
    rows = [
        " ".join(f"{value:.2f}" for value in quad.ravel()) + f" {CLASS_NAMES[label]} {flag}"
        for quad, label, flag in zip(quads, labels, difficult, strict=True)
    ]
    (folder / "labelTxt" / f"{name}.txt").write_bytes(_lines(rows))


def _lines(rows: list[str] | tuple[str, ...]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def _is_vacant(folder: Path) -> bool:
    """Whether there is nothing at that path, or a folder with nothing in it."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False


def _check_complete(data_dir: Path) -> None:
    """Raise FileExistsError, naming the first missing file, unless data_dir holds a whole demo set."""
    wanted = [Path("classes.txt"), *(Path(f"{split}.txt") for split in _SPLITS)]
    for split in _SPLITS:
        if (data_dir / f"{split}.txt").is_file():
            for name in (data_dir / f"{split}.txt").read_text(encoding="utf-8").split():
                wanted += [Path("images", f"{name}.png"), Path("labelTxt", f"{name}.txt")]
    missing = next((path for path in wanted if not (data_dir / path).is_file()), None)
    if missing is not None:
        raise FileExistsError(
            f"{data_dir}: holds no whole demo set, {missing} is missing; remove the folder, and the set is drawn anew"
        )
