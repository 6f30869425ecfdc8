"""Benchmark of the polygon kit, ratios in one run: NMS, evaluation, merging, first compile."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import shapely

from DOTA_devkit import (
    clip_quads,
    intersection_over_first,
    minimum_area_rectangles,
    one_to_many_iou,
    paired_iou,
    poly_iou,
    poly_nms,
)
from DOTA_devkit.average_precision import average_precision
from DOTA_devkit.evaluation import IOU_THRESHOLDS, evaluate
from DOTA_devkit.labels import write_labels
from DOTA_devkit.merging import merge_tiles
from DOTA_devkit.task_files import ImageDetections, write_results
from DOTA_devkit.tile_index import INDEX_NAME, TileIndex, write_index
from DOTA_devkit.tiling import cut_labels, lay_tiles
from DOTA_devkit.truths import ImageTruth
from tools import merge_results
from tools.benchmarks.benchmark_split import benchmark_split
from tools.benchmarks.timing import in_turns
from tools.file_scores import score_files

REPOSITORY = Path(__file__).resolve().parent.parent.parent
NMS_THRESHOLD = 0.3
AREA_A_BOX = 1000.0  # pixels squared of picture: with sides of 10 to 60 pixels, a box's outer box meets about eight
CLASS_NAMES = tuple(f"class {number}" for number in range(15))
TRUTHS, FOUND = 60, 600  # in a picture


def run(options: argparse.Namespace) -> None:
    """Measure as the flags of `python -m tools.benchmark devkit` say."""
    benchmark_devkit(options.quick)


def benchmark_devkit(quick: bool = False) -> dict[str, float]:
    """Measure and print everything; `quick` takes a hundredth of the work and compiles nothing anew: does it run?

    Returns what was printed: seconds, ratios ("x"), MiB, by name.
    """
    part = 100 if quick else 1
    numbers = benchmark_nms((10_000 // part, 50_000 // part), 1_000_000 // part)
    numbers |= benchmark_evaluate(500 // part, max(2, 100 // part))
    numbers |= benchmark_merge(1_000_000 // part)
    numbers |= benchmark_split(1, (700, 800), rounds=1) if quick else benchmark_split()
    return numbers if quick else numbers | benchmark_compile()


def benchmark_nms(sizes: Sequence[int] = (10_000, 50_000), largest: int = 1_000_000) -> dict[str, float]:
    """`poly_nms` beside shapely doing the same job, and its own time for `largest` boxes of the same density."""
    rng = np.random.default_rng(0)
    numbers: dict[str, float] = {}
    print(f"poly_nms, boxes with sides of 10 to 60 pixels, one on {AREA_A_BOX:.0f} square pixels, IoU {NMS_THRESHOLD}")
    for size in sizes:
        quads, scores = random_quads(rng, size, np.sqrt(size * AREA_A_BOX)), rng.random(size)
        poly_nms(quads[:2], scores[:2], NMS_THRESHOLD)  # compiled, or read from numba's cache
        ours, theirs = _least_seconds(
            lambda quads=quads, scores=scores: poly_nms(quads, scores, NMS_THRESHOLD),
            lambda quads=quads, scores=scores: shapely_nms(quads, scores, NMS_THRESHOLD),
            rounds=3,
        )
        numbers |= {f"nms {size}": ours, f"nms {size} shapely": theirs, f"nms {size} x": theirs / ours}
        print(f"  {size:9,} boxes {ours:9.4f} s   shapely {theirs:8.3f} s   {theirs / ours:6.1f} x faster")
    quads, scores = random_quads(rng, largest, np.sqrt(largest * AREA_A_BOX)), rng.random(largest)
    (ours,) = _least_seconds(lambda: poly_nms(quads, scores, NMS_THRESHOLD), rounds=3)
    ratio = ours / numbers[f"nms {sizes[-1]}"]
    print(f"  {largest:9,} boxes {ours:9.4f} s   {ratio:.1f} x the time of {sizes[-1]:,}")
    return numbers | {f"nms {largest}": ours, "nms growth x": ratio}


def benchmark_evaluate(num_pictures: int = 500, num_compared: int = 100) -> dict[str, float]:
    """`evaluate` at ten thresholds with and without reading files, and beside a plain loop over shapely that scores
    the first `num_compared` pictures."""
    detections, truths = draw_evaluation(np.random.default_rng(0), num_pictures)
    few = [{name: items[name] for name in list(truths)[:num_compared]} for items in (detections, truths)]
    evaluate(*few, CLASS_NAMES)
    (scoring,) = _least_seconds(lambda: evaluate(detections, truths, CLASS_NAMES), rounds=3)
    with tempfile.TemporaryDirectory() as folder:
        results_dir, labels_dir = Path(folder, "results"), Path(folder, "labelTxt")
        write_results(results_dir, CLASS_NAMES, detections, sync=False)
        for name, item in truths.items():
            names = [CLASS_NAMES[label] for label in item.labels]
            write_labels(labels_dir / f"{name}.txt", item.quads, names, item.difficult, sync=False)
        (whole,) = _least_seconds(lambda: score_files([results_dir], labels_dir), rounds=2)
    ours, theirs = _least_seconds(
        lambda: evaluate(*few, CLASS_NAMES), lambda: shapely_evaluate(*few, len(CLASS_NAMES)), rounds=2
    )
    what = f"{num_pictures * TRUTHS:,} truths, {num_pictures * FOUND:,} detections, {num_pictures} pictures"
    print(f"evaluate, {what}, {len(CLASS_NAMES)} classes, {len(IOU_THRESHOLDS)} thresholds")
    print(f"  scoring {scoring:.3f} s   reading the files and scoring {whole:.3f} s")
    print(f"  {num_compared} pictures {ours:.4f} s   loop over shapely {theirs:.3f} s   {theirs / ours:.1f} x faster")
    return {
        "evaluate": scoring, "evaluate with reading": whole, "evaluate few": ours, "evaluate few shapely": theirs,
        "evaluate x": theirs / ours,
    }  # fmt: skip


def benchmark_merge(num_boxes: int = 1_000_000, workers: int = 2) -> dict[str, float]:
    """`python -m tools.merge_results` from files to files: seconds, and the peak memory of it and its workers."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        results_dir, index_path = Path(folder, "tiles"), Path(folder, INDEX_NAME)
        detections, index = draw_tiles(rng, num_boxes)
        write_index(index_path, index)
        write_results(results_dir, CLASS_NAMES, detections, sync=False)
        call = f"measure_merge({str(results_dir)!r}, {str(index_path)!r}, {str(Path(folder, 'merged'))!r}, {workers})"
        numbers = _in_a_new_process(call)
    what = f"{num_boxes:,} boxes of {len(index.tiles):,} tiles, {len(CLASS_NAMES)} classes, {workers} workers"
    print(f"merge_results, {what}\n  {numbers['merge']:.2f} s   at most {numbers['merge MiB']:.0f} MiB")
    return numbers


def benchmark_compile() -> dict[str, float]:
    """The first call of every kernel in a new process, with numba's cache folder empty and then filled."""
    with tempfile.TemporaryDirectory() as folder:
        first, again = (_in_a_new_process("first_calls()", NUMBA_CACHE_DIR=folder)["seconds"] for _ in range(2))
    print(
        f"first call of all kernels in a process: {first:.2f} s with an empty numba cache, {again:.2f} s with its own"
    )
    return {"compile": first, "compile cached": again}


def first_calls() -> dict[str, float]:
    """Call everything that numba compiles, once, on little."""
    detections, truths = draw_evaluation(np.random.default_rng(0), 1, 3, 3)
    quads = detections["P0000"].quads
    started = time.perf_counter()
    poly_iou(quads, quads)
    intersection_over_first(quads, quads)
    one_to_many_iou(quads[0], quads)
    paired_iou(quads, quads)
    poly_nms(quads, np.ones(len(quads)), NMS_THRESHOLD)
    clip_quads(quads, 0.0, 0.0, 500.0, 500.0)
    minimum_area_rectangles(quads)
    evaluate(detections, truths, CLASS_NAMES)
    windows = np.array([[0, 0, 600, 600], [500, 0, 1100, 600]])
    merge_tiles(quads, np.ones(3), np.zeros(3), np.array([0, 0, 1]), windows, 600, (600, 1100))
    return {"seconds": time.perf_counter() - started}


def measure_merge(results_dir: str, index_path: str, out_dir: str, workers: int) -> dict[str, float]:
    """Merge, in this process, and tell the seconds and the most memory, in MiB, that it and its workers held."""
    first_calls()
    started = time.perf_counter()
    if merge_results.main([results_dir, out_dir, "--index", index_path, "--workers", str(workers)]):
        raise RuntimeError("merging failed; see the message above")
    return {"merge": time.perf_counter() - started, "merge MiB": peak_mib(workers)}


def shapely_nms(quads: np.ndarray, scores: np.ndarray, iou_threshold: float) -> np.ndarray:
    """`poly_nms` as one writes it with shapely: neighbours by STRtree, all overlaps in one call, then the greedy loop.

    quads (N, 4, 2), scores (N,); the kept indices, best first.
    """
    order = np.argsort(-scores, kind="stable")
    polygons = shapely.polygons(quads[order])
    areas = shapely.area(polygons)
    better, worse = shapely.STRtree(polygons).query(polygons)
    better, worse = better[better < worse], worse[better < worse]
    common = shapely.area(shapely.intersection(polygons[better], polygons[worse]))
    above = common / (areas[better] + areas[worse] - common) > iou_threshold
    better, worse = better[above], worse[above]
    worse = worse[np.argsort(better, kind="stable")]
    ends = np.cumsum(np.bincount(better, minlength=len(order)))
    kept = np.ones(len(order), dtype=bool)
    for i in range(len(order)):
        if kept[i]:
            kept[worse[ends[i - 1] if i else 0 : ends[i]]] = False
    return order[kept]


def shapely_evaluate(
    detections: Mapping[str, ImageDetections],
    truths: Mapping[str, ImageTruth],
    num_classes: int,
    iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> list[list[float]]:
    """The published protocol as a plain loop, every overlap worked out once: AP by class and threshold; no truth is
    difficult."""
    table = []
    for label in range(num_classes):
        shapes = {name: [shapely.Polygon(q) for q in item.quads[item.labels == label]] for name, item in truths.items()}
        rows = []
        for name, item in detections.items():
            mine = item.labels == label
            rows += [(-score, name, quad) for score, quad in zip(item.scores[mine], item.quads[mine], strict=True)]
        best = []
        for _, name, quad in sorted(rows, key=lambda row: row[:2]):
            polygon, largest, place = shapely.Polygon(quad), 0.0, -1
            for number, other in enumerate(shapes[name]):
                common = polygon.intersection(other).area
                overlap = common / (polygon.area + other.area - common)
                if overlap > largest:
                    largest, place = overlap, number
            best.append((largest, (name, place)))
        num_truths = sum(map(len, shapes.values()))
        table.append([average_precision(_hits(best, threshold), num_truths) for threshold in iou_thresholds])
    return table


def draw_evaluation(
    rng: np.random.Generator, num_pictures: int, num_truths: int = TRUTHS, num_found: int = FOUND
) -> tuple[dict[str, ImageDetections], dict[str, ImageTruth]]:
    """Pictures of 1024 pixels with objects of 15 classes; a half of the detections lie near one of their class."""
    detections, truths = {}, {}
    for number in range(num_pictures):
        quads, labels = random_quads(rng, num_truths, 1024.0), rng.integers(len(CLASS_NAMES), size=num_truths)
        truths[f"P{number:04d}"] = ImageTruth(quads, labels, np.zeros(num_truths, dtype=np.int64))
        near = rng.random(num_found) < 0.5
        source = rng.integers(num_truths, size=num_found)
        guesses = quads[source] + rng.normal(0, 3, (num_found, 1, 2)) + rng.normal(0, 1, (num_found, 4, 2))
        guesses = np.where(near[:, None, None], guesses, random_quads(rng, num_found, 1024.0))
        classes = np.where(near, labels[source], rng.integers(len(CLASS_NAMES), size=num_found))
        detections[f"P{number:04d}"] = ImageDetections(guesses, rng.random(num_found), classes)
    return detections, truths


def draw_tiles(rng: np.random.Generator, num_boxes: int) -> tuple[dict[str, ImageDetections], TileIndex]:
    """Boxes of tiles of 600 pixels, 100 shared, of pictures of 4000 pixels: about 100 a tile, each object near where
    the tile shows it."""
    detections: dict[str, ImageDetections] = {}
    index = TileIndex(600, 100, CLASS_NAMES, {}, {})
    left, side, objects = num_boxes, 4000, 3600
    while left > 0:
        picture = f"P{len(index.pictures):04d}"
        index.pictures[picture] = (side, side)
        quads, labels = random_quads(rng, objects, side), rng.integers(len(CLASS_NAMES), size=objects)
        for tile in lay_tiles(picture, side, side, index.size, index.overlap):
            cut = cut_labels(quads, np.zeros(objects), tile, index.size, (side, side))
            rows, seen = cut.rows[:left], cut.quads[:left]
            found = seen + rng.normal(0, 1, (len(rows), 1, 2))
            detections[tile.name] = ImageDetections(found, rng.random(len(rows)), labels[rows])
            index.tiles[tile.name] = tile
            left -= len(rows)
    return detections, index


def random_quads(rng: np.random.Generator, count: int, extent: float) -> np.ndarray:
    """Rectangles (count, 4, 2) with sides of 10 to 60 pixels, at any angle, their centres all over a square picture."""
    angle, (w, h) = rng.uniform(0, np.pi, count), rng.uniform(10, 60, (2, count))
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1) * w[:, None] / 2
    across = np.stack([-np.sin(angle), np.cos(angle)], axis=1) * h[:, None] / 2
    corners = np.stack([-along - across, along - across, along + across, across - along], axis=1)
    return rng.uniform(0, extent, (count, 1, 2)) + corners


def _hits(best: Sequence[tuple[float, tuple[str, int]]], threshold: float) -> np.ndarray:
    """Which detections, best first, are the first above the threshold on their truth."""
    taken: set[tuple[str, int]] = set()
    hits = []
    for overlap, place in best:
        hits.append(overlap > threshold and place not in taken)
        if overlap > threshold:
            taken.add(place)
    return np.array(hits, dtype=bool)


def _least_seconds(*work: Callable[[], object], rounds: int) -> list[float]:
    return [min(times.wall) for times in in_turns(dict(enumerate(work)), rounds, warm_up=0).values()]


def peak_mib(workers: int) -> float:
    """The most memory that this process held, and as many times that of its largest worker."""
    import resource  # not on Windows

    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    own, worker = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    if sys.platform == "linux":  # there a new program inherits that number from the process that started it
        own = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    return (own + workers * worker) / unit


def _in_a_new_process(call: str, **environment: str) -> dict[str, float]:
    """What a function of this file returns when a fresh Python calls it."""
    program = f"import json; from tools.benchmarks import benchmark_devkit; print(json.dumps(benchmark_devkit.{call}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])
