"""Which format a data folder has, by what lies in it; and how those are converted that are not trained on."""

from __future__ import annotations

from pathlib import Path

from datasets.label_formats.annotations import files_in
from datasets.label_formats.dota_folder import is_dota_folder
from datasets.label_formats.xml_labels import XML_FOLDERS
from datasets.label_formats.yolo_folder import is_yolo_folder
from datasets.picture_files.image_folders import first_folder_with, is_image

CVAT_FILE = "annotations.xml"  # the name in CVAT's own archives


def detect_format(data_dir: Path) -> str:
    """The format of a data folder by what lies in it. Raises ValueError with what was looked for."""
    if is_dota_folder(data_dir):
        return "dota"
    if (data_dir / "AllImages").is_dir():
        return "hrsc"
    xml_files = files_in(xml_dir(data_dir), ".xml")
    if xml_files and (data_dir / "JPEGImages-trainval").is_dir():
        remedy = conversion_to_dota(data_dir, "dior")
        raise ValueError(f"{data_dir}: the pictures of DIOR-R lie in two folders; bring them together: {remedy}")
    if xml_files and [path.name for path in xml_files] != [CVAT_FILE]:
        return "rolabelimg"
    if is_yolo_folder(data_dir):
        return "yolo_obb"
    if not data_dir.is_dir():
        raise ValueError(f"{data_dir}: no such data folder")
    if (data_dir / "FullDataSet" / "AllImages").is_dir():
        raise ValueError(f"{data_dir}: HRSC2016's pictures lie in {data_dir / 'FullDataSet'}; give that folder")
    below = first_folder_with(xml_dir(data_dir), lambda path: path.suffix.lower() == ".xml")
    if below:
        raise ValueError(
            f"{data_dir}: labels lie in folders of it, such as {below}; name one of them, or bring them together: "
            f"{conversion_to_dota(data_dir, 'rolabelimg')}"
        )
    if xml_files:
        remedy = conversion_to_dota(data_dir, "cvat", "--copy_images")
        raise ValueError(f"{data_dir}: holds CVAT's {CVAT_FILE}, which is not trained on as it is; {remedy}")
    if _looks_like_coco(data_dir):
        remedy = conversion_to_dota(data_dir, "coco")
        raise ValueError(f"{data_dir}: holds labels in COCO's JSON, which are not trained on as they are; {remedy}")
    if _looks_like_labelme(data_dir):
        remedy = conversion_to_dota(data_dir, "labelme")
        raise ValueError(
            f"{data_dir}: holds JSON beside the pictures, as labelme and X-AnyLabeling write it, which is not trained "
            f"on as it is; {remedy}, or --from xanylabeling"
        )
    raise ValueError(
        f"{data_dir}: no known dataset; looked for labelTxt/ or annfiles/, also in train/ and val/ (dota), AllImages/ "
        "and Annotations/ (hrsc), *.xml as of roLabelImg in the folder itself, in xml/ or the like (rolabelimg), "
        "data.yaml or images/ and labels/ (yolo_obb); name it with --dataset or convert it with tools.convert_labels"
    )


def conversion_to_dota(folder: Path | str, source: str, placing: str = "--link_images") -> str:
    """The command that makes a folder of another format one that is trained on."""
    return f"python -m tools.convert_labels {folder} NEW_FOLDER --from {source} --to dota {placing}"


def xml_dir(data_dir: Path) -> Path:
    """XML lies beside the pictures, or in a folder of its own beside images/ or JPEGImages/."""
    return next((data_dir / name for name in XML_FOLDERS if (data_dir / name).is_dir()), data_dir)


def _looks_like_coco(data_dir: Path) -> bool:
    """Whether there is JSON where COCO or Roboflow have it, or beside the pictures."""
    places = ("annotations/*.json", "*/_annotations.coco.json", "*.coco.json", "instances*.json")
    return any(next(data_dir.glob(place), None) is not None for place in places)


def _looks_like_labelme(data_dir: Path) -> bool:
    """Whether a picture has JSON of its name beside it, in the folder itself or in images/."""
    names = {path.with_suffix("") for folder in (data_dir, data_dir / "images") for path in files_in(folder, ".json")}
    return any(
        path.with_suffix("") in names
        for folder in {name.parent for name in names}
        for path in folder.glob("*")
        if is_image(path)
    )
