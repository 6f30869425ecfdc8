"""One turned box, worked out by hand, in the words of every label format; and the files of each for the tests.

Centre (100, 100), 100 x 50, turned clockwise on the screen by atan2(3, 4) = 36.87 degrees: half sides (40, 30) and
(-15, 20), so that all corners are whole numbers. The picture is 200 x 160.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import cv2
import numpy as np

from tools.convert_labels import main

QUAD = [[75, 50], [155, 110], [125, 150], [45, 90]]
UPRIGHT = [[10, 20], [40, 20], [40, 60], [10, 60]]
WIDTH, HEIGHT = 200, 160
DEGREES = math.degrees(math.atan2(3, 4))
PNG = cv2.imencode(".png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
YOLO_LINE = "1 0.375 0.3125 0.775 0.6875 0.625 0.9375 0.225 0.5625\n"
DATA_YAML = "train: images/train\nval: images/val\nnames:\n  0: car\n  1: 船 船\n"


def turned_jpeg(orientation: int, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """A black picture that EXIF turns."""
    jpeg = cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1].tobytes()
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0, 0, 0, 0, 0])  # TIFF 6.0
    return jpeg[:2] + b"\xff\xe1" + (len(tiff) + 8).to_bytes(2, "big") + b"Exif\0\0" + tiff + jpeg[2:]


def labelme(**changes: object) -> dict:
    """A shape of labelme's, a polygon around the turned box."""
    return {"label": "船 船", "points": QUAD, "group_id": None, "shape_type": "polygon", "flags": {}} | changes


def labelme_text(*shapes: object, **changes: object) -> str:
    """A file of labelme's, of which the first shape begins on line 5."""
    document = {"version": "5.4.1", "flags": {}, "shapes": [*shapes]}
    document |= {"imagePath": "..\\别的.png", "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH} | changes
    return json.dumps(document, ensure_ascii=False, indent=1)


def annotation(**changes: object) -> dict:
    """An annotation of COCO's, the turned box as a polygon."""
    flat = [value for corner in QUAD for value in corner]
    base = {"id": 1, "image_id": 7, "category_id": 3, "segmentation": [flat], "bbox": [45, 50, 110, 100], "iscrowd": 0}
    return base | changes


def coco_text(*annotations: object, **changes: object) -> str:
    """A file of COCO's with two pictures; an entry a line, the first annotation on line 10."""
    images = [
        {"id": 7, "file_name": "图 1.png", "width": WIDTH, "height": HEIGHT},
        {"id": 9, "file_name": "子/b.c.jpg", "width": 30, "height": 20},
    ]
    categories = [{"id": 3, "name": "船 船"}, {"id": 1, "name": "car"}]
    parts = {"images": images, "categories": categories, "annotations": [*annotations]} | changes
    blocks = []
    for key, entries in parts.items():
        listed = isinstance(entries, list)
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in (entries if listed else [entries]))
        blocks.append(f'"{key}": [\n{lines}\n]' if listed else f'"{key}": {lines}')
    return "{" + ",\n".join(blocks) + "}"


def cvat_text(*shapes: str, image: str = f'name="子/图 1.png" width="{WIDTH}" height="{HEIGHT}" subset="Train"') -> str:
    """A file of CVAT's, of which the first shape stands on line 5."""
    labels = "<labels><label><name>car</name></label><label><name>船 船</name></label></labels>"
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<annotations><version>1.1</version>",
        f"<meta><task><name>no class</name>{labels}</task></meta>",
        f'<image id="0" {image}>',
        *shapes,
        "</image>",
        "</annotations>",
    ]
    return "\n".join(lines)


CVAT_BOX = f'<box label="船 船" occluded="0" xtl="50" ytl="75" xbr="150" ybr="125" rotation="{DEGREES!r}" z_order="0"/>'
CVAT_POLYGON = '<polygon label="船 船" points="75,50;155,110;125,150;45,90"></polygon>'
ROLABELIMG = (
    "<annotation>\n<object><name>船 船</name><robndbox><cx>100</cx><cy>100</cy><w>100</w><h>50</h>"
    f"<angle>{math.atan2(3, 4)!r}</angle></robndbox></object>\n</annotation>"
)


def yolo_folder(data_dir: Path, labels: dict[str, str | None], yaml: str | None = DATA_YAML) -> Path:
    """A folder as Ultralytics lays it out; labels: {"train/图 1": lines}, None for a picture without a label file."""
    for name, text in labels.items():
        image_path, label_path = data_dir / "images" / f"{name}.png", data_dir / "labels" / f"{name}.txt"
        for path in (image_path, label_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        image_path.write_bytes(PNG)
        if text is not None:
            label_path.write_text(text, encoding="utf-8")
    if yaml is not None:
        (data_dir / "data.yaml").write_text(yaml, encoding="utf-8")
    return data_dir


def age(path: Path, seconds: int = 1) -> None:
    """Make the last change of a file or folder an earlier one, as if the test had waited: clocks of disks are slow."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns - seconds * 10**9))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


CSV = f"image,cx,cy,w,h,angle_degrees,class\n图 1.png,100,100,100,50,{DEGREES!r},船 船\n"
DOTA_LINE = "75 50 155 110 125 150 45 90 船 船 0\n"


def source(folder: Path, name: str) -> Path:
    """The turned box in a source of this format, with its picture in images/."""
    data_dir = folder / "数据"
    (data_dir / "images").mkdir(parents=True)
    (data_dir / "images" / "图 1.png").write_bytes(PNG)
    match name:
        case "yolo_obb":
            (data_dir / "images" / "图 1.png").unlink()
            return yolo_folder(data_dir, {"train/图 1": YOLO_LINE}, "train: images/train\nnames: [car, 船 船]\n")
        case "coco":
            turned = annotation(segmentation=[], bbox=[100, 100, 100, 50, -DEGREES])
            return write(data_dir / "注.json", coco_text(turned, images=[{"id": 7, "file_name": "图 1.png"}]))
        case "csv":
            return write(data_dir / "表.csv", CSV)
        case "labelme" | "xanylabeling":
            write(data_dir / "图 1.json", labelme_text(labelme(shape_type="rotation")))
        case "cvat":
            write(data_dir / "annotations.xml", cvat_text(CVAT_BOX))
        case "rolabelimg" | "voc":
            write(data_dir / "Annotations" / "图 1.xml", ROLABELIMG)
        case "dior":
            write(data_dir / "Annotations" / "Horizontal Bounding Boxes" / "图 1.xml", "not looked at")
            write(data_dir / "Annotations" / "Oriented Bounding Boxes" / "图 1.xml", of_golden("dior.xml"))
        case "fair1m":
            write(data_dir / "labelXml" / "图 1.xml", of_golden("fair1m.xml"))
        case "dronevehicle":
            write(data_dir / "图 1.xml", of_golden("dronevehicle.xml"))
        case "soda":
            write(data_dir / "Annotations" / "图 1.json", of_golden("soda.json"))
        case "dota":
            write(data_dir / "labelTxt" / "图 1.txt", DOTA_LINE)
    return data_dir


def of_golden(name: str) -> str:
    """A file of tests/golden, which holds the same box."""
    text = (Path(__file__).parent / "golden" / name).read_text(encoding="utf-8")
    return text.replace("ship", "船 船").replace("<difficult>1", "<difficult>0")


def convert(src: Path, dst: Path, source_format: str, target: str, *flags: str) -> int:
    return main([str(src), str(dst), "--from", source_format, "--to", target, *flags])
