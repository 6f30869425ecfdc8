"""Outlines that were drawn on the map become labels of the pictures that show them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture
from datasets.label_formats.geojson import write_geojson
from datasets.label_formats.map_outlines import BLANK, CUT, ELSEWHERE, HALF_BLANK, PARTS, REPEATED, read_geojson
from datasets.picture_files.georeference import between, read_crs
from datasets.picture_files.images import ImageError
from DOTA_devkit.labels import LabelError
from tests.label_documents import QUAD, write
from tests.test_geojson import DEGREES, ON_THE_MAP, collection, feature, labels
from tests.test_georeference import UTM_32N, geotiff
from tools.convert_labels import main


def read(tmp_path: Path, text: str, **flags: str) -> tuple[AnnotatedSet, Ledger]:
    """The objects of the text on the picture of 200 x 160 that lies by DEGREES."""
    geotiff(tmp_path / "images" / "图 1.tif", DEGREES, "EPSG:4326")
    ledger = Ledger()
    return read_geojson(write(tmp_path / "in.geojson", text), ledger, tmp_path / "images", **flags), ledger


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


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", from_origin(179.999, -16.8, 1e-5, 1e-5)),
        ("EPSG:3857", from_origin(20_037_508.34 - 100, -1_900_000, 1, 1)),
        ("EPSG:32601", from_origin(180_000, 8_140_000, 1, 1)),
        ("EPSG:3832", from_origin(3_339_584 - 100, -1_900_000, 1, 1)),
    ],
)
def test_objects_on_both_sides_of_the_antimeridian_come_back(tmp_path: Path, crs: str, transform: object) -> None:
    """Those beyond it were on none of the pictures: 179.9999 degrees west is 180.0001 east there."""
    path = geotiff(tmp_path / "images" / "a.tif", transform, crs)
    quads = [np.array(QUAD) + np.array(shift) for shift in ((0, 0), (90, 20), (-40, -10))]
    before = labels(*quads)
    write_geojson(tmp_path / "out.geojson", AnnotatedSet([Picture("a", before, path=path)]), Ledger())
    ledger = Ledger()
    (back,) = read_geojson(tmp_path / "out.geojson", ledger, path.parent).pictures
    assert not +ledger.left_out
    assert len(back.labels.quads) == 3
    for quad in back.labels.quads:
        assert min(np.abs(quad[:, None] - one).max(axis=-1).min(axis=0).max() for one in quads) < 0.02


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


def test_an_object_past_the_corner_of_a_picture_is_not_on_it(tmp_path: Path) -> None:
    """Its outer box reaches into the picture, and it became an ignore region there."""
    ring = [[9 + x * 1e-5, 48.8 - y * 1e-5] for x, y in ((-30, 10), (10, -30), (5, -35), (-35, 5))]
    annotated, ledger = read(tmp_path, collection(feature(ring, label="car"), feature(ON_THE_MAP, label="car")))
    assert [len(picture.labels.names) for picture in annotated.pictures] == [1]
    assert ledger.left_out == {ELSEWHERE: 1}
    assert not +ledger.changed


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


@pytest.mark.parametrize(
    "bad", [{"class": None}, {"class": "car", "ring": [0, 2, 1, 3]}, {"class": "car", "difficult": 5}]
)
def test_a_picture_whose_only_outline_is_faulty_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture, bad: dict
) -> None:
    """It became a picture without objects, and a training learnt that there is none."""
    geotiff(tmp_path / "images" / "a.tif", DEGREES, "EPSG:4326")
    geotiff(tmp_path / "images" / "b.tif", from_origin(10, 48.8, 1e-5, 1e-5), "EPSG:4326")
    order = bad.pop("ring", [0, 1, 2, 3])
    there = [[ON_THE_MAP[k][0] + 1, ON_THE_MAP[k][1]] for k in order]
    src = write(tmp_path / "in.geojson", collection(feature(ON_THE_MAP, label="car"), feature(there, **bad)))
    flags = ["--from", "geojson", "--to", "dota", "--images", str(tmp_path / "images")]
    assert main([str(src), str(tmp_path / "out"), *flags]) == 1
    said = capsys.readouterr().err
    assert "in.geojson:5: no label of 'b' can be used, and the picture is left out" in said
    assert "without an outline" not in said
    assert [path.name for path in (tmp_path / "out" / "labelTxt").iterdir()] == ["a.txt"]


def test_where_no_picture_tells_where_it_lies_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """It was said that the objects lie on none of the pictures, as of a wrong zone."""
    geotiff(tmp_path / "images" / "a.tif", DEGREES, None)
    src = write(tmp_path / "in.geojson", collection(feature(ON_THE_MAP, label="car")))
    flags = ["--from", "geojson", "--to", "dota", "--images", str(tmp_path / "images")]
    assert main([str(src), str(tmp_path / "out"), *flags]) == 1
    assert re.search(r"no object can be used.*a\.tif:1: .*in which coordinate system", capsys.readouterr().err)


def test_a_folder_without_pictures_is_refused_and_one_below_named(tmp_path: Path) -> None:
    geotiff(tmp_path / "flights" / "day1" / "a.tif", DEGREES, "EPSG:4326")
    src = write(tmp_path / "in.geojson", collection())
    with pytest.raises(ImageError, match="flights: no picture there; but day1 in it has some"):
        read_geojson(src, Ledger(), tmp_path / "flights")
