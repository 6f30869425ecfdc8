"""Pictures cut into tiles and merged again, on files: the truth comes back, and the boats of a real harbour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from datasets.readers import read_classes, read_samples
from DOTA_devkit.evaluation import evaluate
from DOTA_devkit.iou import poly_iou
from DOTA_devkit.labels import read_labels
from DOTA_devkit.metrics import metrics_dict
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections, read_results, write_results
from DOTA_devkit.tile_index import read_index
from DOTA_devkit.truths import ImageTruth
from tools import split_tiles
from tools.merge_results import main

NAMES = ("my", "my__image", "a b", "v1.2.final", "港口", "my__1__0___0")


def split_and_merge(src: Path, folder: Path, *flags: str, nms_thresh: str = "0.3") -> dict[str, ImageDetections]:
    """Split a folder, feed the tiles' normal labels back as detections, merge; the detections by picture."""
    assert split_tiles.main([str(src), str(folder / "tiles"), "--workers", "0", *flags]) == 0
    index = read_index(folder / "tiles")
    samples = read_samples("dota", folder / "tiles", list(index.tiles), index.class_names)
    detections = {}
    for sample in samples:
        keep = ~sample.ignored
        detections[sample.name] = ImageDetections(sample.quads[keep], np.ones(keep.sum()), sample.labels[keep])
    write_results(folder / "results", index.class_names, detections)
    index_path = str(folder / "tiles")
    command = [str(folder / "results"), str(folder / "merged"), "--index", index_path, "--workers", "0"]
    assert main([*command, "--nms_thresh", nms_thresh]) == 0
    return read_results(folder / "merged", index.class_names).images


def score_merged(src: Path, merged: dict[str, ImageDetections], names: Sequence[str]) -> dict:
    classes = read_classes("dota", src, names)
    truths = {
        sample.name: ImageTruth(sample.quads, sample.labels, sample.difficult)
        for sample in read_samples("dota", src, names, classes)
    }
    return metrics_dict(evaluate(merged, truths, classes))


def test_pictures_split_and_merged_on_files_give_the_truth_back(dota_folder, tmp_path):
    src = dota_folder(names=NAMES, hw=(256, 230))
    merged = split_and_merge(src, tmp_path, "--size", "100", "--overlap", "45", "--scales", "0.5", "1")
    metrics = score_merged(src, merged, NAMES)
    assert metrics["mAP50_95"] == 1.0
    for name in NAMES:
        truth = read_labels(src / "labelTxt" / f"{name}.txt").quads
        assert len(merged.get(name, NO_DETECTIONS).quads) == len(truth)
        if len(truth):
            assert poly_iou(truth, merged[name].quads).max(axis=1).min() > 0.999


@pytest.mark.parametrize(("scales", "largest"), [(["1"], 100), (["0.5", "1"], 600)])
def test_the_real_harbour_split_and_merged_gives_its_boats_back(real_folder, tmp_path, capsys, scales, largest):
    """P0706 of DOTA, 1111 x 1182, 531 boats and 5 moles of up to 595 px. At scale 1 the moles are cut, and one of them
    (line 175) is whole enough in no tile, and reported. Some boats overlap; a high threshold keeps both."""
    src = real_folder("dota")
    merged = split_and_merge(src, tmp_path, "--scales", *scales, nms_thresh="0.9")["P0706"]
    assert ("P0706.txt:175: harbor" in capsys.readouterr().err) == (largest == 100)
    labels = read_labels(src / "labelTxt" / "P0706.txt")
    sides = (labels.quads.max(axis=1) - labels.quads.min(axis=1)).max(axis=1)
    expected = labels.quads[(labels.difficult < 2) & (sides <= largest)]
    assert len(expected) == (531 if largest == 100 else 536)
    assert poly_iou(expected, merged.quads).max(axis=1).min() > 0.999
    if largest == 600:
        assert len(merged.quads) == len(expected)
        assert score_merged(src, {"P0706": merged}, ["P0706"])["mAP50_95"] == 1.0
