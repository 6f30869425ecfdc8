"""The deployment benchmark runs, says what it measured, and measures what it says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from datasets.picture_files.images import read_image
from DOTA_devkit import poly_iou
from tools import benchmark
from tools.benchmarks.benchmark_deploy import BASE, EagerDetector, crowd
from tools.checkpoint import load_checkpoint
from tools.onnx_detector import OnnxDetector


@pytest.mark.slow
def test_torch_finds_what_the_exported_file_finds(finding_checkpoint, exported, dota_folder) -> None:
    picture = read_image(next((dota_folder() / "images").iterdir()))
    detector = OnnxDetector(exported(nms=True))
    network, architecture, _ = load_checkpoint(finding_checkpoint)
    eager = EagerDetector(network, architecture, detector.facts).detect([picture, picture])
    found = detector.detect([picture])[0]
    assert len(found.scores) > 10
    for boxes in eager:
        np.testing.assert_allclose(boxes.scores[:10], found.scores[:10], atol=1e-4)
        np.testing.assert_allclose(boxes.quads[:10], found.quads[:10], atol=1e-2)


def test_a_crowd_is_crowded() -> None:
    overlap = poly_iou(*[crowd(np.random.default_rng(0), 200)] * 2)
    assert 2 < (overlap > 0.1).sum(1).mean() - 1 < 40


@pytest.mark.long
def test_the_quick_run_says_what_it_measured(finding_checkpoint, dota_folder, tmp_path, capsys) -> None:
    words = ["deploy", "--quick", "--resume", str(finding_checkpoint), "--data_dir", str(dota_folder())]
    threads = torch.get_num_threads()
    assert benchmark.main([*words, "--json", str(tmp_path / "a.json")]) == 0
    said = capsys.readouterr().out
    outcome = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    names = [BASE, *(f"{runtime} {kind}" for kind in ("fp32", "int8") for runtime in ("onnxruntime", "openvino"))]
    assert list(outcome["rows"]) == names
    assert all(name in said for name in names)
    assert outcome["rows"][BASE]["latency_x"] == 1
    assert outcome["threads"] == threads
    assert outcome["rows"]["openvino int8"]["file_mb"] < 0.3 * outcome["rows"]["openvino fp32"]["file_mb"]
    maps = [row["mAP50"] for row in outcome["rows"].values()]
    assert maps[0] == pytest.approx(maps[1], abs=1e-3)
    assert outcome["nms_cpu_ms"]["200"] < outcome["nms_cpu_ms"]["500"]
