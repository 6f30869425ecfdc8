"""Task1 and Task2 result files: what is written reads back, and every bad line is told with file and line."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DOTA_devkit import task_files
from DOTA_devkit.labels import LabelError
from DOTA_devkit.names import composed_form
from DOTA_devkit.task_files import (
    NO_DETECTIONS,
    ImageDetections,
    ResultWriter,
    check_detections,
    read_results,
    result_path,
    write_results,
)

QUAD = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], dtype=float)


def boxes(rng: np.random.Generator, count: int, extent: float = 1000.0) -> np.ndarray:
    """Random rectangles (count, 4, 2) at any angle."""
    centre = rng.uniform(0, extent, (count, 1, 2))
    angle = rng.uniform(0, np.pi, count)
    w, h = rng.uniform(4, 80, (2, count))
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1) * w[:, None] / 2
    across = np.stack([-np.sin(angle), np.cos(angle)], axis=1) * h[:, None] / 2
    return centre + np.stack([-along - across, along - across, along + across, across - along], axis=1)


def found(rng: np.random.Generator, count: int, num_classes: int, dtype: type = np.float64) -> ImageDetections:
    quads, scores = boxes(rng, count).astype(dtype), rng.random(count).astype(dtype)
    return ImageDetections(quads, scores, rng.integers(num_classes, size=count))


def by_class(item: ImageDetections) -> ImageDetections:
    order = np.argsort(item.labels, kind="stable")
    return ImageDetections(*(field[order] for field in item))


IMAGES = ["P0706", "my__image", "two  blanks 12 0.5", "a.b.c", "港口 1__0.5__0___0", "100%", "a\tb"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_results_read_back_whatever_the_images_are_called(tmp_path: Path, dtype: type) -> None:
    """Defects 22 and 24: names with blanks, dots and double underscores broke the merge and the evaluation."""
    rng = np.random.default_rng(1)
    classes = ["ship", "storage tank", "船/艇", ".hidden", "100%41"]
    wanted = {name: found(rng, 20, len(classes), dtype) for name in IMAGES}
    paths = write_results(tmp_path, classes, wanted)
    assert len(paths) == len(classes)
    results = read_results(tmp_path, classes)
    assert results.class_names == classes
    assert results.without_file == []
    assert set(results.images) == set(IMAGES)
    for name in IMAGES:
        expected, got = by_class(wanted[name]), results.images[name]
        np.testing.assert_array_equal(got.scores.astype(dtype), expected.scores)
        np.testing.assert_array_equal(got.labels, expected.labels)
        np.testing.assert_allclose(got.quads, expected.quads, rtol=0, atol=1e-6)
        assert got.labels.dtype == np.int64
    assert sorted(read_results(tmp_path).class_names) == sorted(classes)


@settings(deadline=None, max_examples=60)
@given(name=st.text(min_size=1, max_size=12), image=st.text(min_size=1, max_size=12), task=st.sampled_from([1, 2]))
def test_any_image_name_reads_back_or_is_refused(
    name: str, image: str, task: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("results")
    detections = {image: ImageDetections(QUAD[None], np.array([0.25]), np.array([0]))}
    try:
        write_results(folder, [name], detections, task, sync=False)
    except (ValueError, UnicodeEncodeError):
        assert list(folder.iterdir()) == []
        return
    results = read_results(folder, task=task)
    assert list(results.images) == [image]
    assert results.class_names == [composed_form(name)]


def test_empty_class_files_are_fine(tmp_path: Path) -> None:
    """Defect 24: an empty class file crashed the evaluation."""
    paths = write_results(tmp_path, ["ship", "plane"], {})
    assert [path.name for path in paths] == ["Task1_ship.txt", "Task1_plane.txt"]
    assert all(path.read_bytes() == b"" for path in paths)
    results = read_results(tmp_path)
    assert results.images == {}
    assert results.class_names == ["plane", "ship"]
    empty = ImageDetections(np.empty((0, 4, 2)), np.empty(0), np.empty(0, np.int64))
    assert write_results(tmp_path, ["ship"], {"a": empty})[0].read_bytes() == b""


def test_task_2_holds_the_outer_horizontal_boxes(tmp_path: Path) -> None:
    diamond = np.array([[5, 0], [10, 4], [5, 8], [0, 4]], dtype=float)
    detections = {"a b": ImageDetections(diamond[None], np.array([0.5]), np.array([0]))}
    (path,) = write_results(tmp_path, ["ship"], detections, task=2)
    assert path.name == "Task2_ship.txt"
    assert path.read_text() == "a b 0.5 0 0 10 8\n"
    results = read_results(tmp_path, task=2)
    assert results.images["a b"].quads.tolist() == [[[0, 0], [10, 0], [10, 8], [0, 8]]]
    with pytest.raises(FileNotFoundError, match="Task1_"):
        read_results(tmp_path)


def test_the_order_of_close_scores_survives(tmp_path: Path) -> None:
    scores = np.nextafter(np.float32(0.9), np.float32([0, 1, 2]))
    detections = {"a": ImageDetections(np.stack([QUAD] * 3), scores, np.zeros(3, int))}
    write_results(tmp_path, ["ship"], detections)
    read = read_results(tmp_path).images["a"].scores
    assert np.argsort(read, kind="stable").tolist() == np.argsort(scores, kind="stable").tolist()


def test_a_threshold_read_from_a_file_keeps_the_box_that_it_is_of(tmp_path: Path) -> None:
    """Nine digits of a float32 are a little more or less than it is: of half of all scores the box itself was lost."""
    scores = np.random.default_rng(0).random(1000).astype(np.float32)
    boxes = ImageDetections(np.zeros((1000, 4, 2)), scores, np.arange(1000) % 2)
    rounded = np.array([float(f"{score:.9g}") for score in scores])
    assert (scores < rounded).sum() > 300, "as files have them"
    for row, least in enumerate(rounded.tolist()):
        assert boxes.reach(least)[row]
        assert boxes.reach([least, 2.0] if row % 2 == 0 else [2.0, least])[row]
        assert boxes.reach(least).sum() == (scores >= scores[row]).sum()
    assert not NO_DETECTIONS.reach(0.5).size
    assert not NO_DETECTIONS.reach([0.5]).size


def test_coordinates_are_not_rounded_to_a_tenth(tmp_path: Path) -> None:
    """Defect 15."""
    quads = boxes(np.random.default_rng(2), 50, 99_000.0)
    write_results(tmp_path, ["ship"], {"a": ImageDetections(quads, np.linspace(0, 1, 50), np.zeros(50, int))})
    np.testing.assert_allclose(read_results(tmp_path).images["a"].quads, quads, rtol=0, atol=1e-4)


GOOD = "a 0.5 0 0 10 0 10 10 0 10"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0.5 0 0 10 0 10 10 0 10", "image, score and 8 coordinates"),
        ("a 0 0 10 10", "image, score and 8 coordinates"),
        ("a x 0 0 10 0 10 10 0 10", "all but the first numbers"),
        ("a nan 0 0 10 0 10 10 0 10", "the score is NaN"),
        ("a inf 0 0 10 0 10 10 0 10", "the score is NaN or infinite"),
        ("a 0.5 0 0 10 0 nan 10 0 10", "a coordinate is NaN"),
        ("a 0.5 0 0 10 0 10 10 0 1e999", "a coordinate is NaN or infinite"),
        (b"\xff 0.5 0 0 10 0 10 10 0 10", "not UTF-8"),
    ],
)
def test_a_bad_result_line_is_an_error_with_file_and_line(tmp_path: Path, line: str | bytes, reason: str) -> None:
    path = tmp_path / "Task1_ship.txt"
    raw = line if isinstance(line, bytes) else line.encode()
    path.write_bytes(f"\ufeff{GOOD}\r\n\r\n".encode() + raw + f"\r\n  b\t{GOOD[2:]}  \r\n".encode())
    with pytest.raises(LabelError, match=reason) as caught:
        read_results(tmp_path)
    assert (caught.value.path, caught.value.line) == (path, 3)
    skipped: list[LabelError] = []
    results = read_results(tmp_path, on_bad=skipped.append)
    assert [error.line for error in skipped] == [3]
    assert list(results.images) == ["a", "b"]
    assert results.images["b"].quads[0].tolist() == QUAD.tolist()


def test_classes_without_a_file_and_files_without_a_class_are_told(tmp_path: Path) -> None:
    write_results(tmp_path, ["ship", "helipad"], {"a": ImageDetections(QUAD[None], np.array([1.0]), np.array([0]))})
    results = read_results(tmp_path, ["plane", "ship"])  # the file of helipads is empty: nothing is lost
    assert results.without_file == ["plane"]
    assert results.images["a"].labels.tolist() == [1]
    with pytest.raises(LabelError, match="class 'ship' is not among the classes; known are plane"):
        read_results(tmp_path, ["plane"])
    skipped: list[LabelError] = []
    assert read_results(tmp_path, ["plane"], on_bad=skipped.append).images == {}
    assert len(skipped) == 1


def test_a_single_file_is_read(tmp_path: Path) -> None:
    (path,) = write_results(tmp_path, ["ship"], {"a": ImageDetections(QUAD[None], np.array([1.0]), np.array([0]))})
    assert read_results(path).class_names == ["ship"]
    other = path.rename(tmp_path / "boxes.txt")
    assert read_results(other, ["plane"]).images["a"].labels.tolist() == [0]
    with pytest.raises(ValueError, match="call it Task1_"):
        read_results(other)


def test_missing_results_are_an_error_that_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no result files Task1_"):
        read_results(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_results(tmp_path / "none")


def test_result_paths_hold_any_class_name(tmp_path: Path) -> None:
    assert result_path(tmp_path, "small-vehicle").name == "Task1_small-vehicle.txt"
    assert result_path(tmp_path, "a/b", 2).name == "Task2_a%2Fb.txt"
    assert result_path(tmp_path, "../x").parent == tmp_path
    assert result_path(tmp_path, "船 a").name == "Task1_船 a.txt"


@pytest.fixture
def few_files() -> Iterator[int]:
    """A process that may open few files more: how many classes are too many for it."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[0]), limits[1]))
    yield 1100
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.slow
def test_more_classes_than_a_process_may_open_files_are_written(
    tmp_path: Path, few_files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended with "Too many open files". What is held in memory is written now and then, and in the order given."""
    monkeypatch.setattr(task_files, "HELD_LINES", 50)
    rng = np.random.default_rng(0)
    classes = [f"class {number}" for number in range(few_files)]
    wanted = {f"p{number}": found(rng, 300, few_files) for number in range(8)}
    write_results(tmp_path, classes, wanted)
    assert len(list(tmp_path.iterdir())) == few_files
    read = read_results(tmp_path, classes).images
    for name, item in wanted.items():
        expected = by_class(item)
        np.testing.assert_array_equal(read[name].scores, expected.scores)
        np.testing.assert_array_equal(read[name].labels, expected.labels)
    lines = (tmp_path / "Task1_class 7.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in lines] == sorted(line.split()[0] for line in lines)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), OSError(errno.ENOSPC, "disk full")])
def test_an_interruption_keeps_all_old_results_and_leaves_nothing(
    tmp_path: Path, interruption: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ImageDetections(QUAD[None], np.array([1.0]), np.array([1]))
    paths = write_results(tmp_path, ["a", "b"], {"old": one})
    before = [path.read_bytes() for path in paths]
    monkeypatch.setattr(task_files, "HELD_LINES", 1)
    with pytest.raises(type(interruption)), ResultWriter(tmp_path, ["a", "b"]) as writer:
        writer.write("new", one)
        assert [path.read_bytes() for path in paths] == before
        raise interruption
    assert [path.read_bytes() for path in paths] == before
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_writing_results_is_refused_whole(tmp_path: Path) -> None:
    one = ImageDetections(QUAD[None], np.array([1.0]), np.array([0]))
    with pytest.raises(ValueError, match="must differ"):
        write_results(tmp_path, ["a", "a"], {})
    with pytest.raises(ValueError, match="image 'x': a score is NaN"):
        write_results(tmp_path, ["a"], {"y": one, "x": one._replace(scores=np.array([np.nan]))})
    with pytest.raises(ValueError, match="cannot be read back"):
        write_results(tmp_path, ["a"], {"x\ny": one})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scores": np.array([np.inf])}, "a score is NaN or infinite"),
        ({"quads": QUAD[None] * np.nan}, "a corner is NaN or infinite"),
        ({"labels": np.array([3])}, "labels 3 to 3, but 3 classes"),
        ({"labels": np.array([-1])}, "labels -1"),
        ({"labels": np.array([0, 1])}, r"must be \(n, 4, 2\)"),
        ({"quads": QUAD}, r"must be \(n, 4, 2\)"),
        ({"quads": np.stack([QUAD, QUAD])}, "not of one length"),
    ],
)
def test_faulty_detections_name_the_image(change: dict[str, np.ndarray], reason: str) -> None:
    good = ImageDetections(QUAD[None], np.array([1.0]), np.array([0]))
    check_detections("P1", good, 3)
    with pytest.raises(ValueError, match=f"image 'P1': .*{reason}"):
        check_detections("P1", good._replace(**change), 3)
