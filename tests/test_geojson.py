"""Boxes go onto the map, where GIS programs find them, and outlines drawn there come back onto the pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin
from rasterio.windows import Window

from datasets.georeference import between, read_crs
from datasets.images import ImageError
from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture
from datasets.label_formats.geojson import (
    BLANK,
    CUT,
    ELSEWHERE,
    HALF_BLANK,
    NO_PICTURE,
    PARTS,
    REPEATED,
    read_geojson,
    write_geojson,
)
from DOTA_devkit.labels import LabelError, Labels, read_labels
from DOTA_devkit.task_files import ImageDetections
from tests.label_documents import QUAD, write
from tests.test_georeference import UTM_32N, geotiff
from tools.convert_labels import main
from tools.outcomes import Found
from tools.results import ResultFiles

# A hundred-thousandth of a degree a pixel, from 9 E 48.8 N on: the corners on the map can be read off those in pixels.
DEGREES = from_origin(9, 48.8, 1e-5, 1e-5)
ON_THE_MAP = [[9.00075, 48.7995], [9.00155, 48.7989], [9.00125, 48.7985], [9.00045, 48.7991]]


def labels(*quads: object, names: list[str] | None = None, difficult: int = 0) -> Labels:
    count = len(quads)
    flags = np.full(count, difficult)
    return Labels(np.array(quads, np.float64), names or ["船 船"] * count, flags, np.ones(count, np.int64))


def feature(ring: object, kind: str = "Polygon", **properties: object) -> dict:
    coordinates = [[[*ring, ring[0]]]] if kind == "MultiPolygon" else [[*ring, ring[0]]]
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


def collection(*features: object, **members: object) -> str:
    """As GDAL writes it: a feature a line, the first on line 4."""
    head = "".join(f'"{key}": {json.dumps(value)},\n' for key, value in members.items()) or '"name": "objects",\n'
    lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in features)
    return '{\n"type": "FeatureCollection", ' + head + f'"features": [\n{lines}\n]\n}}\n'


def read(tmp_path: Path, text: str, **flags: str) -> tuple[AnnotatedSet, Ledger]:
    """The objects of the text on the picture of 200 x 160 that lies by DEGREES."""
    geotiff(tmp_path / "images" / "图 1.tif", DEGREES, "EPSG:4326")
    ledger = Ledger()
    return read_geojson(write(tmp_path / "in.geojson", text), ledger, tmp_path / "images", **flags), ledger


def test_a_box_is_written_where_it_was_worked_out(tmp_path: Path) -> None:
    path = geotiff(tmp_path / "图 1.tif", DEGREES, "EPSG:4326")
    picture = Picture("图 1", labels(QUAD, difficult=1), path=path)
    write_geojson(tmp_path / "out.geojson", AnnotatedSet([picture]), Ledger())
    document = json.loads((tmp_path / "out.geojson").read_text("utf-8"))
    assert document["type"] == "FeatureCollection"
    (item,) = document["features"]
    told = {key: item["properties"][key] for key in ("image", "class", "difficult")}
    assert told == {"image": "图 1.tif", "class": "船 船", "difficult": 1}
    (ring,) = item["geometry"]["coordinates"]
    assert ring[0] == ring[-1]
    assert sorted(ring[:-1]) == pytest.approx(np.array(sorted(ON_THE_MAP)), abs=1e-9)
    assert shapely.LinearRing(ring).is_ccw, "RFC 7946, section 3.1.6"


@pytest.mark.parametrize(
    ("crs", "affine"),
    [("EPSG:32601", from_origin(165_871, 100_000, 10, 10)), ("EPSG:4326", from_origin(179.999, 0.9, 1e-5, 1e-5))],
)
def test_a_box_across_the_antimeridian_is_none_around_the_earth(tmp_path: Path, crs: str, affine: object) -> None:
    """Fiji, Chukotka: in UTM zones 1 and 60 boxes were 360 degrees wide."""
    geotiff(tmp_path / "images" / "a.tif", affine, crs)
    quads = [QUAD + np.array([shift, 0.0]) for shift in range(-40, 45, 5)]
    picture = Picture("a", labels(*quads), path=tmp_path / "images" / "a.tif")
    write_geojson(tmp_path / "out.geojson", AnnotatedSet([picture]), Ledger())
    features = json.loads((tmp_path / "out.geojson").read_text("utf-8"))["features"]
    rings = np.array([item["geometry"]["coordinates"][0] for item in features])
    assert np.ptp(rings[..., 0], axis=1).max() < 0.02
    assert rings[..., 0].max() > 180
    back = read_geojson(tmp_path / "out.geojson", Ledger(), tmp_path / "images")
    there = back.pictures[0].labels.quads.mean(axis=1)
    np.testing.assert_allclose(there, np.array(quads).mean(axis=1), atol=1e-2)


def test_predictions_keep_their_scores_and_empty_pictures_write_nothing(tmp_path: Path) -> None:
    path = geotiff(tmp_path / "a.tif", from_origin(500_000, 5_400_000, 0.1, 0.1))
    picture = Picture("a", labels(QUAD, QUAD), path=path, scores=np.array([0.75, 0.25]))
    write_geojson(tmp_path / "out", AnnotatedSet([picture, Picture("b")]), Ledger())
    features = json.loads((tmp_path / "out" / "objects.geojson").read_text("utf-8"))["features"]
    assert [item["properties"]["score"] for item in features] == [0.75, 0.25]
    write_geojson(tmp_path / "none.geojson", AnnotatedSet([]), Ledger())
    assert json.loads((tmp_path / "none.geojson").read_text("utf-8"))["features"] == []


@pytest.mark.parametrize("crs", [UTM_32N, "EPSG:3857", "EPSG:4326"])
def test_a_box_has_its_size_and_direction_on_the_ground(tmp_path: Path, crs: str) -> None:
    """A box of 10 x 5 m at 48.8 N whose long side runs to 127 degrees; of Web Mercator a metre is 0.66 of one there."""
    center = between(read_crs("OGC:CRS84"), read_crs(UTM_32N), np.array([[9.0, 48.8]]))
    on_the_ground = center + 0.1 * (np.array(QUAD, float) - np.mean(QUAD, axis=0)) * (1, -1) * 0.9996  # of UTM there
    points = between(read_crs(UTM_32N), read_crs(crs), on_the_ground)
    step = (np.ptp(points, axis=0) / 500).max()
    left, top = points[:, 0].min(), points[:, 1].max()
    path = geotiff(tmp_path / "a.tif", from_origin(left, top, step, step), crs)
    quad = (points - (left, top)) / (step, -step)
    write_geojson(tmp_path / "out.geojson", AnnotatedSet([Picture("a", labels(quad), path=path)]), Ledger())
    (item,) = json.loads((tmp_path / "out.geojson").read_text("utf-8"))["features"]
    told = [item["properties"][key] for key in ("length_m", "width_m", "azimuth")]
    assert told == pytest.approx([10, 5, 126.9], abs=0.011)


def test_a_box_on_the_pole_has_its_size(tmp_path: Path) -> None:
    """Of 40 x 10 m, in polar stereographic metres; by degrees of latitude and longitude it was 67 x 0 m."""
    path = geotiff(tmp_path / "a.tif", from_origin(-100, 80, 1, 1), "EPSG:3413")
    quad = np.array([[80, 75], [120, 75], [120, 85], [80, 85]])
    write_geojson(tmp_path / "out.geojson", AnnotatedSet([Picture("a", labels(quad), path=path)]), Ledger())
    (item,) = json.loads((tmp_path / "out.geojson").read_text("utf-8"))["features"]
    found = item["properties"]["length_m"], item["properties"]["width_m"]
    assert found == pytest.approx((40 * 1.031, 10 * 1.031), rel=2e-3)  # its scale is true at 70 N


def test_objects_of_pictures_without_a_place_are_told_of(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    plain.write_bytes(cv2.imencode(".png", np.zeros((160, 200, 3), np.uint8))[1].tobytes())
    ledger = Ledger()
    pictures = [Picture("plain", labels(QUAD), path=plain), Picture("lost", labels(QUAD, QUAD))]
    write_geojson(tmp_path / "out.geojson", AnnotatedSet(pictures), ledger)
    assert ledger.left_out[NO_PICTURE] == 2
    (fault,) = ledger.faults
    assert fault.path == plain
    assert "does not tell where it lies" in fault.reason


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon"])
def test_an_outline_comes_back_onto_the_picture(tmp_path: Path, kind: str) -> None:
    ring = [[*point, 412.5] for point in ON_THE_MAP]  # with a height, as some programs write it
    annotated, ledger = read(tmp_path, collection(feature(ring, kind, **{"class": " 船  船 "}, difficult=1)))
    (picture,) = annotated.pictures
    assert (picture.name, picture.hw, picture.labels.names) == ("图 1", (160, 200), ["船 船"])
    assert picture.labels.difficult.tolist() == [1]
    assert picture.labels.lines.tolist() == [4]
    assert picture.labels.quads[0] == pytest.approx(np.array(QUAD), abs=1e-4)
    assert not ledger.faults
    assert not +ledger.left_out


def test_each_part_of_a_multipolygon_is_an_object(tmp_path: Path) -> None:
    """Two cars that were merged in QGIS became one box around both."""
    first, second = ([[x + shift, y] for x, y in ON_THE_MAP] for shift in (0, 0.0002))
    parts = {"type": "MultiPolygon", "coordinates": [[[*first, first[0]]], [[*second, second[0]]]]}
    merged = {"type": "Feature", "geometry": parts, "properties": {"label": "car", "difficult": "1"}}
    annotated, ledger = read(tmp_path, collection(merged))
    found = annotated.pictures[0].labels
    assert (found.names, found.difficult.tolist()) == (["car", "car"], [1, 1])
    assert found.quads[1] - found.quads[0] == pytest.approx(np.tile([20, 0], (4, 1)), abs=1e-4)
    assert +ledger.changed == {PARTS: 2}


def test_metres_without_a_system_are_refused_and_read_in_one_that_is_named(tmp_path: Path) -> None:
    ring = between(read_crs("OGC:CRS84"), read_crs(UTM_32N), np.array(ON_THE_MAP)).tolist()
    with pytest.raises(LabelError, match=r"in\.geojson:4: 500055, .* are no longitude and latitude.*--crs EPSG:32632"):
        read(tmp_path, collection(feature(ring, label="car")))
    annotated, _ = read(tmp_path, collection(feature(ring, label="car")), crs=UTM_32N)
    assert annotated.pictures[0].labels.quads[0] == pytest.approx(np.array(QUAD), abs=1e-3)


def test_one_bad_point_does_not_cost_a_file_and_two_systems_are_refused(tmp_path: Path) -> None:
    away = [[9, 95], [9.1, 95], [9.1, 95.1], [9, 95.1]]
    features = [feature(ON_THE_MAP, label=name) for name in ("car", "truck")] + [feature(away, label="car")]
    annotated, ledger = read(tmp_path, collection(*features))
    assert annotated.pictures[0].labels.names == ["car", "truck"]
    assert ledger.left_out[ELSEWHERE] == 1
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    with pytest.raises(LabelError, match=r"names a coordinate system.*leave --crs out"):
        read(tmp_path, collection(feature(ON_THE_MAP), crs=crs), crs=UTM_32N)


def test_the_system_of_a_crs_member_is_read_as_qgis_writes_it(tmp_path: Path) -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    ring = between(read_crs("OGC:CRS84"), read_crs(UTM_32N), np.array(ON_THE_MAP)).tolist()
    assert ring[0][0] > 500_000
    annotated, _ = read(tmp_path, collection(feature(ring, label="car"), crs=crs))
    assert annotated.pictures[0].labels.quads[0] == pytest.approx(np.array(QUAD), abs=1e-3)
    bad = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::1"}}
    with pytest.raises(LabelError, match="is not known; give an EPSG number"):
        read(tmp_path, collection(feature(ring), crs=bad))


def test_the_class_is_the_field_that_is_named_or_the_first_that_is_known(tmp_path: Path) -> None:
    features = feature(ON_THE_MAP, name="x", label="car", type_id=18), feature(ON_THE_MAP, type_id=19.0)
    annotated, ledger = read(tmp_path, collection(*features))
    assert annotated.pictures[0].labels.names == ["car"]
    assert [fault.line for fault in ledger.faults] == [5]
    assert "it has type_id; name one with --class_field" in ledger.faults[0].reason
    annotated, ledger = read(tmp_path, collection(*features), class_field="type_id")
    assert annotated.pictures[0].labels.names == ["18", "19"]
    assert not ledger.faults


def test_an_object_is_on_every_picture_that_shows_it_and_ignored_where_its_centre_is_not(tmp_path: Path) -> None:
    """Two pictures side by side, an object on their seam and one that lies on neither."""
    geotiff(tmp_path / "images" / "right.tif", from_origin(9.002, 48.8, 1e-5, 1e-5), "EPSG:4326")
    seam = [[9.0017, 48.7995], [9.0024, 48.7995], [9.0024, 48.7992], [9.0017, 48.7992]]
    away = [[9.1, 48.7], [9.11, 48.7], [9.11, 48.71], [9.1, 48.71]]
    annotated, ledger = read(tmp_path, collection(feature(seam, label="car"), feature(away, label="car")))
    right, left = annotated.pictures
    assert right.labels.quads[0, 0] == pytest.approx([-30, 50], abs=1e-3)
    assert left.labels.quads[0, 0] == pytest.approx([170, 50], abs=1e-3)
    assert (right.labels.difficult.tolist(), left.labels.difficult.tolist()) == ([0], [2])
    assert ledger.left_out == {ELSEWHERE: 1}
    assert ledger.changed[CUT] == 1


def test_what_lies_where_a_picture_has_no_data_is_not_on_it(tmp_path: Path) -> None:
    """Two maps overlap, and one is black there: cars were labelled on the black, and taught so."""
    path = geotiff(tmp_path / "images" / "图 1.tif", DEGREES, "EPSG:4326")
    with rasterio.open(path, "r+") as file:
        file.nodata = 0
        file.write(np.full((3, 160, 90), 7, np.uint8), window=Window(0, 0, 90, 160))
    boxes = [[(left, 50), (left + 20, 50), (left + 20, 60), (left, 60)] for left in (60, 75, 86, 120)]
    rings = [[[9 + x * 1e-5, 48.8 - y * 1e-5] for x, y in box] for box in boxes]
    ledger = Ledger()
    text = collection(*(feature(ring, label="car", difficult=1) for ring in rings))
    (picture,) = read_geojson(write(tmp_path / "in.geojson", text), ledger, tmp_path / "images").pictures
    assert picture.labels.quads[:, 0, 0].round(3).tolist() == [60, 75, 86]
    assert picture.labels.difficult.tolist() == [1, 1, 2]
    assert (ledger.changed[BLANK], ledger.changed[HALF_BLANK], ledger.left_out[ELSEWHERE]) == (1, 1, 1)


def test_labels_of_pictures_that_overlap_come_back_as_many_as_they_were(tmp_path: Path) -> None:
    """Each picture got its own labels and those of the other, doubled: 1,991 became 2,373."""
    pictures = []
    for name, left, flag in (("a", 0, 1), ("b", 50, 0)):
        path = geotiff(tmp_path / "images" / f"{name}.tif", from_origin(9 + left * 1e-5, 48.8, 1e-5, 1e-5), "EPSG:4326")
        pictures.append(Picture(name, labels(np.array(QUAD) - (left, 0), difficult=flag), path=path))
    write_geojson(tmp_path / "out.geojson", AnnotatedSet(pictures), Ledger())
    ledger = Ledger()
    back = read_geojson(tmp_path / "out.geojson", ledger, tmp_path / "images").pictures
    assert [picture.labels.difficult.tolist() for picture in back] == [[0], [0]]
    assert ledger.changed[REPEATED] == 2


def test_pictures_without_an_outline_can_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Outlines of one field made the pictures of all others empty ones, and there was no way to say otherwise."""
    geotiff(tmp_path / "images" / "a.tif", DEGREES, "EPSG:4326")
    geotiff(tmp_path / "images" / "b.tif", from_origin(10, 48.8, 1e-5, 1e-5), "EPSG:4326")
    src = write(tmp_path / "in.geojson", collection(feature(ON_THE_MAP, label="car")))
    flags = ("--from", "geojson", "--to", "dota", "--images", str(tmp_path / "images"))
    for how, names in ((None, "ab"), ("empty", "ab"), ("leave_out", "a")):
        out = tmp_path / f"out {how}"
        assert main([str(src), str(out), *flags, *(("--unlabelled", how) if how else ())]) == 0
        assert sorted(path.stem for path in (out / "labelTxt").iterdir()) == [*names]
        is_told = "1 pictures without an outline were taken as ones without objects" in capsys.readouterr().err
        assert is_told == (how is None)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"type": "Feature", "geometry": None, "properties": {"class": "a"}}, "a geometry of type null is no outline"),
        (feature([[9.0005, 48.799]], "Point", label="a"), "a geometry of type 'Point' is no outline"),
        (feature([[9.0005], [9, 48]], label="a"), "a point of the outline is not a list of two or three numbers"),
        (feature([["9", 48.7], [9, 48]], label="a"), "a point of the outline is not a list of two or three numbers"),
        (feature([[float("nan"), 48.7], [9, 48]], label="a"), "a point of the outline is not finite"),
        (feature([[9.0005, 48.799], [9.0006, 48.799]], label="a"), "an outline of 2 points has no area"),
        (feature([[9.0005, 48.799]] * 3, label="a"), "all points of the outline lie on one line"),
        (feature(ON_THE_MAP, label=3.5), "the class name is 3.5, not text"),
        (feature(ON_THE_MAP, label=""), "an object without a class name"),
        (feature(ON_THE_MAP, label="a", difficult="yes"), "\"difficult\" is 'yes'; it must be 0, 1 or 2"),
        ({"geometry": {"type": "Polygon", "coordinates": []}, "properties": {"label": "a"}}, "without an outer ring"),
        (3, "the feature is 3, not an object"),
    ],
)
def test_a_feature_that_cannot_be_used_is_a_fault_with_its_line(tmp_path: Path, bad: object, sentence: str) -> None:
    annotated, ledger = read(tmp_path, collection(feature(ON_THE_MAP, label="car"), bad))
    assert annotated.pictures[0].labels.names == ["car"]
    (fault,) = ledger.faults
    assert fault.line == 5
    assert sentence in fault.reason


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match='the list "features" is missing'):
        read(tmp_path, '{"type": "Topology"}')


@pytest.mark.parametrize(
    ("properties", "field", "sentence"),
    [
        ({"label": "car"}, "Klasse", r"in\.geojson:4: a feature without a property 'Klasse'"),
        ({"label": "car"}, "label", r"2 objects that lie on none of the pictures"),
    ],
)
def test_where_no_object_can_be_used_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture, properties: dict, field: str, sentence: str
) -> None:
    """Pictures without objects were, for a training to learn that there are none."""
    geotiff(tmp_path / "images" / "a.tif", DEGREES, "EPSG:4326")
    away = [[x + 1, y] for x, y in ON_THE_MAP]
    src = write(tmp_path / "in.geojson", collection(*[feature(away, **properties)] * 2))
    flags = ["--from", "geojson", "--to", "dota", "--images", str(tmp_path / "images"), "--class_field", field]
    assert main([str(src), str(tmp_path / "out"), *flags]) == 1
    assert re.search("no object can be used, and nothing was written; .*" + sentence, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_pictures_is_refused_and_one_below_named(tmp_path: Path) -> None:
    geotiff(tmp_path / "flights" / "day1" / "a.tif", DEGREES, "EPSG:4326")
    src = write(tmp_path / "in.geojson", collection())
    with pytest.raises(ImageError, match="flights: no picture there; but day1 in it has some"):
        read_geojson(src, Ledger(), tmp_path / "flights")


def test_labels_go_onto_the_map_and_come_back_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data_dir = tmp_path / "数据"
    geotiff(data_dir / "images" / "图 1.tif", from_origin(700_000, 5_400_000, 0.05, 0.05))
    geotiff(data_dir / "images" / "leer.tif", from_origin(700_100, 5_400_000, 0.05, 0.05))
    write(data_dir / "labelTxt" / "图 1.txt", "75 50 155 110 125 150 45 90 船 船 1\n")
    write(data_dir / "labelTxt" / "leer.txt", "")
    path, back = tmp_path / "map.geojson", tmp_path / "back"
    assert main([str(data_dir), str(path), "--from", "dota", "--to", "geojson"]) == 0
    flags = ["--from", "geojson", "--to", "dota", "--images", str(data_dir / "images"), "--copy_images"]
    assert main([str(path), str(back), *flags]) == 0
    found = read_labels(back / "labelTxt" / "图 1.txt")
    assert np.abs(np.sort(found.quads[0], axis=0) - np.sort(QUAD, axis=0)).max() < 0.01  # of 5 cm: half a millimetre
    assert (found.names, found.difficult.tolist()) == (["船 船"], [1])
    assert (back / "labelTxt" / "leer.txt").read_text("utf-8") == ""
    assert (back / "images" / "图 1.tif").is_file()
    assert "left out" not in capsys.readouterr().out


def test_detections_go_onto_the_map_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    geotiff(tmp_path / "images" / "a.tif", DEGREES, "EPSG:4326")
    flat = [value for corner in QUAD for value in corner]
    boxes = [{"class": "car", "score": score, "quad": flat} for score in (0.9, 0.2)]
    record = {"image": "a.tif", "height": 160, "width": 200, "boxes": boxes}
    write(tmp_path / "results" / "detections.json", json.dumps([record]))
    flags = ["--from", "detections", "--to", "geojson", "--images", str(tmp_path / "images")]
    assert main([str(tmp_path / "results"), str(tmp_path / "map.geojson"), *flags]) == 0
    (item,) = json.loads((tmp_path / "map.geojson").read_text("utf-8"))["features"]
    told = {key: item["properties"][key] for key in ("image", "class", "score")}
    assert told == {"image": "a.tif", "class": "car", "score": 0.9}
    assert "scores" not in capsys.readouterr().err


def test_of_a_run_folder_its_results_and_the_pictures_that_they_are_of_are_taken(tmp_path: Path) -> None:
    """Where they lie stood in origin.json, and had to be named all the same."""
    geotiff(tmp_path / "images" / "a.tif", DEGREES, "EPSG:4326")
    with ResultFiles(tmp_path / "run" / "results", ["car"], {"pictures": str(tmp_path / "images")}) as files:
        found = ImageDetections(np.array([QUAD], np.float64), np.array([0.9]), np.array([0]))
        files.write(Path("a.tif"), Found(0, found, (160, 200)))
    for number, source in enumerate(("detections", "task1")):
        out = tmp_path / f"{number}.geojson"
        assert main([str(tmp_path / "run"), str(out), "--from", source, "--to", "geojson"]) == 0
        (item,) = json.loads(out.read_text("utf-8"))["features"]
        assert item["properties"]["image"] == "a.tif"


@pytest.mark.parametrize("pictures", ["gone", "v.mp4", "x" * 300, 3])
def test_results_whose_pictures_are_elsewhere_by_now_are_converted_all_the_same(
    tmp_path: Path, pictures: object
) -> None:
    """Those of videos, for instance: their frames lie nowhere, and a format such as DOTA's needs no picture."""
    (tmp_path / "v.mp4").touch()
    told = str(tmp_path / pictures) if isinstance(pictures, str) and len(pictures) < 99 else pictures
    with ResultFiles(tmp_path / "run" / "results", ["car"], {"pictures": told}) as files:
        found = ImageDetections(np.array([QUAD], np.float64), np.array([0.9]), np.array([0]))
        files.write(Path("v_000000.jpg"), Found(0, found, (160, 200)))
    assert main([str(tmp_path / "run"), str(tmp_path / "out"), "--from", "detections", "--to", "dota"]) == 0
    assert len(read_labels(tmp_path / "out" / "labelTxt" / "v_000000.txt").names) == 1


def test_files_of_other_gis_formats_are_told_from_geojson(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """`found.gpkg` became a folder of that name."""
    src, outlines = write(tmp_path / "in.geojson", collection()), write(tmp_path / "in.gpkg", "SQLite")
    for flags in ([src, tmp_path / "found.gpkg", "--from", "dota", "--to", "geojson"], [outlines, tmp_path / "out"]):
        last = ["--from", "geojson", "--to", "dota", "--images", str(tmp_path)] if len(flags) == 2 else []
        assert main([*map(str, flags), *last]) == 2
        assert ".gpkg: geojson is read from and written to files called *.geojson" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--from", "geojson", "--to", "dota"], "--from geojson needs --images DIR"),
        (
            ["--from", "dota", "--to", "coco", "--class_field", "x"],
            "--class_field goes with --from geojson, not",
        ),
        (["--from", "dota", "--to", "coco", "--crs", "x"], "--crs goes with --from geojson, not"),
        (
            ["--from", "geojson", "--to", "dota", "--images", ".", "--crs", "EPSG:1"],
            "--crs EPSG:1: the coordinate system 'EPSG:1' is not known",
        ),
    ],
)
def test_a_wrong_flag_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture, flags: list[str], sentence: str
) -> None:
    src = write(tmp_path / "in.geojson", collection())
    assert main([str(src), str(tmp_path / "out"), *flags]) == 2
    assert capsys.readouterr().err.startswith(f"error: {sentence}")
