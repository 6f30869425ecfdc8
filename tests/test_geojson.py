"""Boxes go onto the map, where GIS programs find them, and outlines drawn there come back onto the pictures."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from rasterio.transform import from_origin

from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture
from datasets.label_formats.geojson import NO_PICTURE, write_geojson
from datasets.label_formats.map_outlines import read_geojson
from datasets.picture_files.georeference import between, read_crs
from DOTA_devkit.labels import Labels, read_labels
from DOTA_devkit.task_files import ImageDetections
from tests.label_documents import QUAD, write
from tests.test_georeference import UTM_32N, geotiff
from tools.convert_labels import main
from tools.detection.results import ResultFiles
from tools.outcomes import Found

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


def test_corners_of_the_finest_pixels_come_back_to_a_thousandth_of_one(tmp_path: Path) -> None:
    """A centimetre a pixel, of a drone near the ground: nine digits of a degree lost a hundredth."""
    path = geotiff(tmp_path / "images" / "a.tif", from_origin(500_000, 5_400_000, 0.01, 0.01), "EPSG:32632")
    quad = np.array(QUAD) + 0.123
    write_geojson(tmp_path / "out.geojson", AnnotatedSet([Picture("a", labels(quad), path=path)]), Ledger())
    (back,) = read_geojson(tmp_path / "out.geojson", Ledger(), path.parent).pictures
    nearest = np.abs(back.labels.quads[0][:, None] - quad).max(axis=-1).min(axis=0)
    assert nearest.max() < 1e-3


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
