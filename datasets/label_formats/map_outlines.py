"""Outlines that were drawn on the map, in GeoJSON (RFC 7946), read as the labels of the pictures that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.label_formats.annotations import (
    UNREAD_SCORES,
    AnnotatedSet,
    Ledger,
    Picture,
    Row,
    Track,
    as_labels,
    clean_name,
    files_in,
    is_unusable,
    outline_to_quad,
    shown,
    sound_rows,
    without_picture,
)
from datasets.label_formats.geojson import SUFFIXES
from datasets.label_formats.json_documents import Document, difficult_flag, fields_of, read_document
from datasets.picture_files.georeference import (
    LONGITUDE_LATITUDE,
    Georeference,
    GeoreferenceError,
    between,
    read_crs,
    read_georeference,
)
from datasets.picture_files.image_folders import find_images, folder_with_pictures
from datasets.picture_files.images import ImageError
from datasets.picture_files.valid_pixels import ValidPixels, read_valid_pixels
from DOTA_devkit import clip_quads, poly_nms
from DOTA_devkit.labels import IGNORE_FLAG, LabelError, Labels
from DOTA_devkit.reasons import first_line

CLASS_FIELDS = ("class", "class_name", "label", "category", "name")  # the first of them that a feature has
SAME_IOU = 0.9  # of two objects of a class; more, and it is one that was drawn twice, on two pictures say
ELSEWHERE = "objects that lie on none of the pictures"
PARTS = "parts of multipolygons became objects of their own"
CUT = "objects with their centre beyond the picture became ignore regions of it (difficult 2)"
BLANK = "objects were left out of a picture that holds no data where they lie (its no-data value, opacity or mask)"
HALF_BLANK = "objects of which less than half lies on data of a picture became ignore regions of it (difficult 2)"
REPEATED = f"objects that repeat another of their class on a picture (IoU above {SAME_IOU}) were left out of it"


def read_geojson(
    src: Path,
    ledger: Ledger,
    images_dir: Path | Mapping[str, Path],
    class_field: str | None = None,
    crs: str | None = None,
    track: Track = iter,
) -> AnnotatedSet:
    """The outlines of a GeoJSON file, or of all in a folder, on each of the pictures in `images_dir`, or of those by
    their names, that they touch; pictures without any are pictures without objects.

    Outlines are polygons, in longitude and latitude or in the system that a member `crs` names, as QGIS writes it; in a
    file without it in the system `crs`. Each part of a multipolygon is an object. The class is the property
    `class_field`, by default the first of CLASS_FIELDS that a feature has; a property `difficult` is read. An object
    whose centre lies beyond a picture that shows a part of it is an ignore region there, and so is one of which less
    than half has data in it; one that has none is not on that picture. Of objects that repeat one another on a picture,
    as labels of overlapping pictures do that `write_geojson` has written, the one with the lowest flag stays.

    Raises LabelError for a file that is no GeoJSON and for coordinates of a system that it does not name, ImageError
    for a folder without pictures, ValueError where there are objects and none can be used: pictures without objects
    would teach that there are none.
    """
    images = images_dir if isinstance(images_dir, Mapping) else find_images(images_dir, skips_previews=True)
    if not images and isinstance(images_dir, Path):
        below = folder_with_pictures(images_dir)
        remedy = f"but {below} in it has some; name that folder" if below else "name the folder of the GeoTIFF files"
        raise ImageError(f"{images_dir}: no picture there; {remedy}")
    num_before = len(ledger.faults)
    groups = [_read_outlines(path, class_field, crs, ledger) for path in _files(src)]
    bad_features = ledger.faults[num_before:]
    used = [np.zeros(len(group.outlines), bool) for group in groups]
    pictures: list[Picture] = []
    unplaced: list[LabelError] = []
    for name, path in track(list(images.items())):
        try:
            place, valid = read_georeference(path), _valid_pixels(path)
        except GeoreferenceError as error:
            unplaced.append(LabelError(path, 1, str(error)))
            continue
        rows: list[Row] = []
        on_picture: list[LabelError] = []
        for group, seen in zip(groups, used, strict=True):
            rows += _rows_on(place, valid, group, seen, on_picture, ledger)
        labels = _distinct(as_labels(rows), ledger)
        if is_unusable(labels, on_picture):
            ledger.faults.append(without_picture(on_picture[0].path, int(on_picture[0].line), name))
        else:
            pictures.append(Picture(name, labels, path.name, place.size, path=path))
    ledger.faults += unplaced
    num_elsewhere = sum(int((~seen).sum()) for seen in used)
    if (bad_features or num_elsewhere) and not any(picture.labels.names for picture in pictures):
        told = [f"{num_elsewhere} {ELSEWHERE}"] * bool(num_elsewhere)
        told += [f"{faults[0]}, and so on" for faults in (unplaced, bad_features) if faults]
        raise ValueError(f"{src}: no object can be used, and nothing was written; {'; '.join(told)}")
    ledger.left_out[ELSEWHERE] += num_elsewhere
    return AnnotatedSet(pictures)


class _Outlines(NamedTuple):
    """The outlines of one file, (P, 2) each, in the coordinates of `crs`, with what is told of each: its class, or what
    is wrong with it, and then nothing else counts than where it lies. projected: of `points_in`."""

    path: Path
    crs: Any
    outlines: list[np.ndarray]
    names: list[str | LabelError]
    difficult: list[int]
    lines: list[int]
    projected: dict[Any, np.ndarray]

    def points_in(self, crs: Any) -> np.ndarray:
        """The points of all outlines, one after the other, in another system; kept, as most pictures have the same."""
        if crs not in self.projected:
            self.projected[crs] = between(self.crs, crs, np.concatenate(self.outlines))
        return self.projected[crs]


def _files(src: Path) -> list[Path]:
    if not src.is_dir():
        return [src]
    paths = [path for suffix in SUFFIXES for path in files_in(src, suffix)]
    if not paths:
        raise ValueError(f"{src}: holds no *.geojson; name the file itself")
    return paths


def _read_outlines(path: Path, class_field: str | None, crs: str | None, ledger: Ledger) -> _Outlines:
    document = read_document(path)
    found = _Outlines(path, _crs_of(document, crs), [], [], [], [], {})
    for line, feature in document.entries("features"):
        try:
            fields = fields_of(feature, "the feature")
            properties = fields_of(fields.get("properties") or {}, '"properties"')
            rings = _rings(fields_of(fields.get("geometry") or {}, '"geometry"'))
        except ValueError as error:
            ledger.faults.append(LabelError(path, line, str(error)))
            continue
        name: str | LabelError
        try:
            name, flag = _class_of(properties, class_field), _difficult_of(properties.get("difficult"))
        except ValueError as error:
            name, flag = LabelError(path, line, str(error)), 0
            ledger.faults.append(name)
        if len(rings) > 1:
            ledger.changed[PARTS] += len(rings)
        if properties.get("score") is not None:
            ledger.changed[UNREAD_SCORES] += len(rings)
        for ring in rings:
            for values, value in zip(found[2:6], (ring, name, flag, line), strict=True):
                values.append(value)
    if document.fields.get("crs") is None and crs is None:
        _check_degrees(found)
    return found


def _check_degrees(found: _Outlines) -> None:
    """Raises LabelError for a file most of whose outlines are no longitudes and latitudes."""
    beyond = [row for row, outline in enumerate(found.outlines) if (np.abs(outline) > (360, 90)).any()]
    for row in beyond[:1]:
        if 2 * len(beyond) > len(found.outlines):
            (x, y), line = found.outlines[row][0].tolist(), found.lines[row]
            raise LabelError(
                found.path,
                line,
                f"{x:g}, {y:g} are no longitude and latitude, and the file names no coordinate system; give it, for "
                "instance --crs EPSG:32632",
            )


def _crs_of(document: Document, crs: str | None) -> Any:
    """The system that the file names; where it names none the other one, or that of RFC 7946."""
    member = document.fields.get("crs")
    if member is not None and crs is not None:
        raise LabelError(document.path, 1, f"names a coordinate system, {shown(member)}; leave --crs out")
    name = crs or LONGITUDE_LATITUDE
    if member is not None:
        properties = member.get("properties") if isinstance(member, dict) else None
        name = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(name, str):
        raise LabelError(document.path, 1, f'"crs" is {shown(member)}, and names no coordinate system; remove it')
    try:
        return read_crs(name)
    except GeoreferenceError as error:
        raise LabelError(document.path, 1, str(error)) from error


def _rings(geometry: dict[str, Any]) -> list[np.ndarray]:
    """The outer rings of a polygon or of several, (P, 2) each; holes are passed over."""
    kind, parts = geometry.get("type"), geometry.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"a geometry of type {shown(kind)} is no outline; draw a polygon")
    polygons = parts if kind == "MultiPolygon" else [parts]
    if not isinstance(polygons, list) or not polygons:
        raise ValueError(f"a {kind} without coordinates; draw the object again")
    return [_ring(polygon) for polygon in polygons]


def _ring(polygon: Any) -> np.ndarray:
    ring = polygon[0] if isinstance(polygon, list) and polygon else None
    if not isinstance(ring, list) or not ring:
        raise ValueError("a polygon without an outer ring; draw the object again")
    points = [point[:2] if isinstance(point, list) else () for point in ring]
    if any(len(point) < 2 or any(type(value) not in (int, float) for value in point) for point in points):
        raise ValueError("a point of the outline is not a list of two or three numbers; draw the object again")
    values = np.array(points, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a point of the outline is not finite; draw the object again")
    return values


def _class_of(properties: dict[str, Any], class_field: str | None) -> str:
    field = class_field or next((name for name in CLASS_FIELDS if name in properties), None)
    if field not in properties:
        what = f"property {class_field!r}" if class_field else f"property {', '.join(CLASS_FIELDS)}"
        has = ", ".join(map(str, properties)) or "none"
        raise ValueError(f"a feature without a {what}; it has {has}; name one with --class_field")
    value = properties[field]
    if type(value) is float and value.is_integer():  # QGIS has fields of real numbers
        value = int(value)
    return clean_name(str(value) if type(value) is int else value)  # numbered classes, as xView's `type_id`


def _difficult_of(value: Any) -> int:
    """`difficult_flag`, also of a number or a truth value in a field of text."""
    words = {"0": 0, "1": 1, "2": 2, "false": 0, "true": 1, "": 0}
    return difficult_flag(words.get(value.strip().lower(), value) if isinstance(value, str) else value)


def _valid_pixels(path: Path) -> ValidPixels | None:
    """As `read_valid_pixels`. Raises GeoreferenceError for a file that is damaged there."""
    from rasterio.errors import RasterioError

    try:
        return read_valid_pixels(path)
    except RasterioError as error:
        raise GeoreferenceError(f"its pixels cannot be read ({first_line(error.__cause__ or error)})") from error


def _rows_on(
    place: Georeference,
    valid: ValidPixels | None,
    group: _Outlines,
    seen: np.ndarray,
    on_picture: list[LabelError],
    ledger: Ledger,
) -> list[Row]:
    """The objects of a file on one picture; those that it shows, wholly or in part, are marked in `seen` (N,), and what
    is wrong with them goes to `on_picture`."""
    if not group.outlines:
        return []
    starts = np.cumsum([0, *(len(outline) for outline in group.outlines[:-1])])
    points = place.to_pixels(place.nearest(group.points_in(place.crs)))
    height, width = place.size
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    touches = np.isfinite(low).all(1) & np.isfinite(high).all(1) & (low < (width, height)).all(1) & (high > 0).all(1)
    rows: list[Row] = []
    faults: list[LabelError] = []
    known: list[LabelError] = []  # which have been told
    for index in np.flatnonzero(touches).tolist():
        outline = points[starts[index] : starts[index] + len(group.outlines[index])]
        share = 1.0 if valid is None else valid.share(outline)
        if not share:
            touches[index] = False
            ledger.changed[BLANK] += 1
            continue
        try:
            quad = outline_to_quad(outline.tolist(), ledger.changed)
        except ValueError as error:
            faults.append(LabelError(group.path, group.lines[index], str(error)))
            continue
        if not clip_quads(np.array([quad], np.float64), 0, 0, width, height)[1].any():
            touches[index] = False  # it passes a corner
            continue
        if isinstance(name := group.names[index], LabelError):
            known.append(name)
            continue
        ledger.changed[HALF_BLANK] += share < 0.5
        flag = IGNORE_FLAG if share < 0.5 else group.difficult[index]
        rows.append(Row(quad, name, flag, group.lines[index]))
    rows = sound_rows(group.path, rows, faults)
    seen |= touches
    ledger.faults += faults
    on_picture += [*known, *faults]
    return [_as_seen(row, place.size, ledger) for row in rows]


def _distinct(labels: Labels, ledger: Ledger) -> Labels:
    """The objects of a picture without those that repeat another one of their class; that with the lowest flag stays,
    of equal ones the first."""
    first = np.argsort(labels.difficult, kind="stable")
    ranks = np.empty(len(first))
    ranks[first] = np.arange(len(first), 0, -1)
    kept = np.sort(poly_nms(labels.quads, ranks, SAME_IOU, np.array(labels.names)))
    ledger.changed[REPEATED] += len(labels.names) - len(kept)
    return labels.at(kept)


def _as_seen(row: Row, size: Sequence[int], ledger: Ledger) -> Row:
    """The object, an ignore region if its centre lies beyond the picture of (height, width)."""
    x, y = row.quad.mean(axis=0)
    if 0 <= x <= size[1] and 0 <= y <= size[0]:
        return row
    ledger.changed[CUT] += 1
    return row._replace(difficult=IGNORE_FLAG)
