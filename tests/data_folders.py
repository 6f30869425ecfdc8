"""Data folders of one or a few pictures, in each of the formats that are trained on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from datasets.readers import (
    Sample,
    list_images,
    read_samples,
)

SQUARE = "10 10 30 10 30 30 10 30"


CLASSES = ("car", "boat")


PNG = cv2.imencode(".png", np.zeros((40, 50, 3), np.uint8))[1].tobytes()


def dota(folder: Path, labels: dict[str, str | None], classes: str | None = "car\nboat\n") -> Path:
    """A DOTA folder in a foreign script; a picture whose label is None has no label file."""
    data_dir = folder / "数据"
    (data_dir / "images").mkdir(parents=True)
    (data_dir / "labelTxt").mkdir()
    if classes is not None:
        (data_dir / "classes.txt").write_text(classes, encoding="utf-8")
    for name, text in labels.items():
        (data_dir / "images" / f"{name}.png").write_bytes(PNG)
        if text is not None:
            (data_dir / "labelTxt" / f"{name}.txt").write_text(text, encoding="utf-8")
    return data_dir


def rolabelimg(folder: Path, labels: dict[str, list[str]], xml: str = "xml", images: str = "images") -> Path:
    """A roLabelImg folder in a foreign script; each picture holds a square of each of the names."""
    data_dir = folder / "数据"
    (data_dir / images).mkdir(parents=True, exist_ok=True)
    (data_dir / xml).mkdir(parents=True, exist_ok=True)
    box = "<robndbox><cx>20</cx><cy>20</cy><w>10</w><h>10</h><angle>0</angle></robndbox>"
    for name, names in labels.items():
        (data_dir / images / f"{name}.png").write_bytes(PNG)
        objects = "\n".join(f"<object><name>{each}</name>{box}</object>" for each in names)
        (data_dir / xml / f"{name}.xml").write_text(f"<annotation>\n{objects}\n</annotation>", encoding="utf-8")
    return data_dir


def hrsc(folder: Path) -> Path:
    data_dir = folder / "数据"
    (data_dir / "AllImages").mkdir(parents=True)
    (data_dir / "Annotations").mkdir()
    (data_dir / "AllImages" / "图 1.bmp").write_bytes(
        cv2.imencode(".bmp", np.zeros((40, 50, 3), np.uint8))[1].tobytes()
    )
    box = "<mbox_cx>20</mbox_cx><mbox_cy>20</mbox_cy><mbox_w>10</mbox_w><mbox_h>6</mbox_h><mbox_ang>0</mbox_ang>"
    text = f"<HRSC_Image><HRSC_Objects><HRSC_Object>{box}</HRSC_Object></HRSC_Objects></HRSC_Image>"
    (data_dir / "Annotations" / "图 1.xml").write_text(text, encoding="utf-8")
    return data_dir


def read_one(data_dir: Path, **settings: object) -> Sample:
    """The only picture of a DOTA folder."""
    names = list(list_images("dota", data_dir))
    assert len(names) == 1
    return read_samples("dota", data_dir, names, CLASSES, **settings)[0]
