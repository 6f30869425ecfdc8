"""The page of results: what is counted at each step of its slider, by its own script, too."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from rasterio.transform import from_origin

from datasets.picture_files.picture_windows import PictureWindows
from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.evaluation import evaluate
from DOTA_devkit.metrics import metrics_dict
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from DOTA_devkit.truths import ImageTruth
from tests.test_georeference import geotiff
from tools.result_page.result_page import STEPS, Shown, compare, result_page, shrunk, steps_of

ONE = (np.zeros(1, np.int64), np.zeros(1, np.int64))
CLASSES = ["car", "<b>船</b>"]
# Where there is no browser: everything that the script asks of one is there, and does nothing.
BROWSER = """
class Fake {
  constructor(name) {
    Object.assign(this, {name, listeners: {}, style: {}, cells: [], rows: [], children: [], found: {}});
  }
  addEventListener(kind, answer) { this.listeners[kind] = answer; }
  send(kind, event) { this.listeners[kind]({preventDefault() { this.isTaken = true; }, target: this, ...event}); }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  insertRow() { return this.rows[this.rows.push(new Fake("tr")) - 1]; }
  insertCell() { return this.cells[this.cells.push(new Fake("td")) - 1]; }
  setAttribute(name, value) { this[name] = value; }
  querySelector(name) { return this.found[name] ??= new Fake(name); }
  querySelectorAll() { return []; }
  showModal() { this.open = true; }
  close() { this.open = false; }
}
const parts = {values: {textContent: VALUES}};
for (const [name, value] of Object.entries({filter: "all", order: "errors", search: "", colours: "outcome"}))
  parts[name] = Object.assign(new Fake(name), {value});
const document = {getElementById: (name) => parts[name] ??= new Fake(name), createElement: (name) => new Fake(name),
  createElementNS: (_, name) => new Fake(name)};
class IntersectionObserver { observe(card) { card.isNear = true; } }
const innerWidth = 1200, innerHeight = 800;
function addEventListener() {}
"""


def scene(seed: int, num: int = 20) -> tuple[ImageDetections, ImageTruth]:
    """Objects of two classes, some difficult and one an ignore region, and boxes on most of them and elsewhere."""
    rng = np.random.default_rng(seed)
    centers = rng.uniform(20, 400, (num, 2))
    boxes = np.concatenate([centers, np.full((num, 2), [30.0, 12.0]), rng.uniform(-1.5, 1.5, (num, 1))], 1)
    labels, difficult = rng.integers(0, 2, num), (rng.random(num) < 0.2).astype(np.int64)
    labels[0] = -1
    found = np.concatenate([boxes[: num - 4] + rng.normal(0, [2, 2, 2, 1, 0.05], (num - 4, 5)), boxes[-6:] + 60])
    found_labels = np.concatenate([np.maximum(labels[: num - 4], 0), rng.integers(0, 2, 6)])
    scores = rng.uniform(0.06, 1, len(found)).astype(np.float32)
    detections = ImageDetections(boxes_to_quads(found, "le90"), scores, found_labels)
    return detections, ImageTruth(boxes_to_quads(boxes, "le90"), labels, difficult)


def page_of(scenes: dict, num_shown: int, has_truth: bool = True) -> str:
    compared = [compare(name, found, truth, 0.5) for name, (found, truth) in scenes.items()]
    shown = [Shown(number, f"pictures/{number}.jpg", (90, 120), 0.5) for number in range(num_shown)]
    facts = {"results": "runs/x", "labels": "data", "choice": "by seed", "is_told": True}
    return result_page(compared, shown, CLASSES, 0.05, has_truth=has_truth, **facts)


def values_in(page: str) -> dict:
    return json.loads(re.search(r'id="values">(.*?)</script>', page, re.DOTALL)[1])


@pytest.fixture(scope="module")
def scenes() -> dict:
    return {f"图 {seed}": scene(seed) for seed in range(6)} | {"empty": (NO_DETECTIONS, scene(9)[1])}


@pytest.fixture(scope="module")
def script(scenes: dict):
    """The page's script, running, of seven pictures of which it shows four."""
    from py_mini_racer import MiniRacer

    page = page_of(scenes, 4)
    engine = MiniRacer()
    engine.eval(BROWSER.replace("VALUES", json.dumps(json.dumps(values_in(page)))))
    engine.eval(re.findall(r"<script>\n(.*?)</script>", page, re.DOTALL)[0])
    yield lambda expression: json.loads(engine.eval(f"JSON.stringify({expression})"))
    engine.close()


def test_the_script_counts_as_python_does_at_every_step(scenes, script) -> None:
    compared = [compare(name, found, truth, 0.5) for name, (found, truth) in scenes.items()]
    for step in range(5, STEPS + 1, 5):
        counts = np.zeros((2, 4), int)  # boxes, right, false, missed
        for item in compared:
            seen = steps_of(item.found.scores) >= step
            for label in (0, 1):
                own = seen & (item.found.labels == label)
                is_found = item.counts & (item.truth.labels == label) & (steps_of(item.found_from) >= step)
                num_objects = int((item.counts & (item.truth.labels == label)).sum())
                right = int((item.outcome[own] == 1).sum())
                assert right == is_found.sum(), "each object is found by one box"
                counts[label] += [own.sum(), right, (item.outcome[own] == 0).sum(), num_objects - right]
        for label in (0, 1):
            said = script(f"score([{label}], {step})")
            assert [said[key] for key in ("boxes", "right", "false", "missed")] == counts[label].tolist()


def test_its_best_f1_is_that_of_the_evaluation(scenes, script) -> None:
    detections, truths = ({name: pair[side] for name, pair in scenes.items()} for side in (0, 1))
    metrics = metrics_dict(evaluate(detections, truths, CLASSES))
    for label, name in enumerate(CLASSES):
        step, best = script(f"bestStep([{label}])")
        assert best == pytest.approx(metrics["classes"][name]["f1"], abs=0.02)  # thresholds of two digits
        assert step / STEPS == pytest.approx(metrics["classes"][name]["score_threshold"], abs=0.02)


def test_the_slider_the_classes_and_the_filters_choose(script) -> None:
    script("(parts.slider.value = 30, parts.slider.send('input'), parts.slider.send('change'), 0)")
    assert script("parts.score.textContent") == "0.30"
    errors = script("listed.map((picture) => countsOf(picture)).map((counts) => counts.missed + counts.false)")
    assert errors == sorted(errors, reverse=True)
    assert len(errors) == 4
    everything = script("listed.map((picture) => countsOf(picture).boxes)")
    script("(parts.classes.rows[2].cells[0].children[1].send('click'), 0)")  # only the second class
    assert script("chosen") == [False, True]
    fewer = script("listed.map((picture) => countsOf(picture).boxes)")
    assert 0 < sum(fewer) < sum(everything)
    assert script("parts.classes.rows.map((row) => row.cells.length)") == [10, 10, 10]
    assert script("parts.classes.rows[0].cells[1].textContent") == script("score([1], 30).objects")
    script("(parts.none.send('click'), 0)")
    assert script("[chosen, countsOf(pictures[0]).boxes]") == [[False, False], 0]
    script("(parts.all.send('click'), parts.search.value = '图 2', parts.search.send('input'), 0)")
    assert script("listed.map((picture) => picture.name)") == ["图 2"]
    script("(parts.search.value = '', parts.filter.value = 'empty', step = 100, draw(), 0)")
    assert script("listed.length") == 4, "nothing has a score of 1"
    script("(parts.filter.value = 'missed', draw(), 0)")
    assert script("listed.length") == 4
    script("(parts.filter.value = 'all', parts.best.send('click'), 0)")
    assert script("step") == script("bestStep([0, 1])[0]")


def test_a_picture_opens_by_mouse_and_by_keys_and_the_arrows_go_on(script) -> None:
    for event in ("send('click')", "send('keydown', {key: 'Enter'})", "send('keydown', {key: ' '})"):
        script(f"(parts.viewer.close(), listed[1].card.{event}, 0)")
        assert script("[parts.viewer.open, opened]") == [True, 1], event
    shown = "parts.stage.children.map((part) => part.name)"
    assert {"image", "polygon", "text"} == {*script(shown)}
    for key, place in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowRight", 3), ("ArrowLeft", 2)):
        script(f"(parts.viewer.send('keydown', {{key: '{key}'}}), 0)")
        assert script("opened") == place
    whole = script("view")
    script("(parts.viewer.send('keydown', {key: '+'}), 0)")
    assert script("view")[2] == pytest.approx(0.8 * whole[2])
    for _ in range(50):
        script("(parts.stage.send('pointermove', {buttons: 1, movementX: 400, movementY: -400}), 0)")
    left, top, width, height = script("view")
    assert left >= -width / 2, "some of the picture is seen, wherever it is dragged"
    assert top <= whole[3] - height / 2
    for _ in range(9):
        script("(parts.viewer.send('keydown', {key: '-'}), 0)")
    assert script("view") == whole


@pytest.mark.parametrize("score", [1.45, 1.0, 0.0, -3.0])
def test_scores_of_other_programs_find_a_step(score: float) -> None:
    assert 0 <= steps_of(np.array([score], np.float32))[0] <= STEPS


def test_an_object_found_at_score_0_is_found() -> None:
    quad = np.array([[[10, 20], [30, 20], [30, 40], [10, 40]]], np.float64)
    item = compare("a", ImageDetections(quad, np.zeros(1, np.float32), np.array([0])), ImageTruth(quad, *ONE), 0.5)
    assert item.errors_at(0) == 0
    assert item.errors_at(0.1) == 1


def test_what_comes_of_a_box_does_not_depend_on_weaker_ones(scenes) -> None:
    for found, truth in scenes.values():
        whole = compare("a", found, truth, 0.5)
        for score in (0.2, 0.5, 0.8):
            kept = np.flatnonzero(found.scores >= score)
            part = compare("a", found.at(kept), truth, 0.5)
            np.testing.assert_array_equal(part.outcome, whole.outcome[kept])
            np.testing.assert_array_equal(part.found_from, np.where(whole.found_from >= score, whole.found_from, -1))


def test_names_cannot_become_code(scenes) -> None:
    page = page_of({"</script><script>alert(1)": scenes["empty"]}, 1)
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert values_in(page)["classes"][1]["name"] == "<b>船</b>"


def test_it_loads_nothing_from_elsewhere(scenes) -> None:
    page = page_of(scenes, 7)
    addresses = {*re.findall(r"https?://[^\s\"']+", page)}
    assert addresses == {"http://www.w3.org/2000/svg"}, "a name, and no address"
    assert "default-src 'none'" in page


def test_without_labels_it_speaks_of_boxes_alone(scenes) -> None:
    nothing = ImageTruth(np.zeros((0, 4, 2)), np.zeros(0, np.int64), np.zeros(0, np.int64))
    page = page_of({name: (found, nothing) for name, (found, _) in scenes.items()}, 2, has_truth=False)
    assert "precision" not in page.partition("<script")[0]
    assert len(values_in(page)["pictures"]) == 2


def test_corners_are_in_pixels_of_what_is_shown() -> None:
    quad = np.array([[[10, 20], [30, 20], [30, 40], [10, 40]]], np.float64)
    found = ImageDetections(quad, np.array([0.5], np.float32), np.array([0]))
    truth = ImageTruth(quad, np.array([0]), np.array([0]))
    told = values_in(page_of({"a": (found, truth)}, 1))["pictures"][0]
    assert told["boxes"] == [[0, 50, 0.5, 1, 5, 10, 15, 10, 15, 20, 5, 20]]
    assert told["objects"] == [[0, 50, 5, 10, 15, 10, 15, 20, 5, 20]]


def test_pictures_are_shrunk_and_never_enlarged() -> None:
    small, scale = shrunk(np.zeros((300, 400, 3), np.uint8), 1280)
    assert (small.shape, scale) == ((300, 400, 3), 1.0)
    large, scale = shrunk(np.zeros((10, 4000, 3), np.uint8), 1000)
    assert (large.shape, scale) == ((2, 1000, 3), 0.25)


def test_of_a_picture_that_is_read_in_windows_an_overview_is_shown(tmp_path) -> None:
    path = geotiff(tmp_path / "图 1.tif", from_origin(500_000, 5_400_000, 0.5, 0.5), hw=(120, 300))
    small, scale = shrunk(PictureWindows(path), 100)
    assert (small.shape, scale) == ((40, 100, 3), 1 / 3)
    whole, scale = shrunk(PictureWindows(path), 1000)
    assert (whole.shape, scale) == ((120, 300, 3), 1.0)
