"""What was found in a data folder, told: as plain values for JSON, as lines for a terminal, as a page for a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from DOTA_devkit.labels import IGNORED_CLASS
from tools.data_check.data_checks import KINDS, Finding, escaped
from tools.data_check.data_statistics import ANGLE_EDGES, COUNT_EDGES, SIDE_EDGES, bin_names
from tools.data_check.data_survey import Survey, SurveySettings
from tools.drawings.html_page import render_page
from tools.running.messages import counted

SHOWN_IN_TERMINAL = 3  # findings of a kind
SHOWN_IN_PAGE = 40
THUMBNAILS = 8  # of a kind
JSON_HEAD, PAGE_MARK = '{\n  "data_dir":', "<title>Data report: "  # by which a report is known
BAR_WIDTH = 24  # characters
TEMPLATE = Path(__file__).with_name("data_report.html.j2")
MARKS = {"error": "x", "warning": "!", "note": "-"}


def report_values(data_dir: Path, settings: SurveySettings, survey: Survey) -> dict[str, Any]:
    """The report as plain values. `findings` are listed up to a few hundred a kind, the worst first; `counts` are of
    all."""
    found = survey.statistics
    listed = [finding for kind in survey.kinds() for finding in survey.findings.get(kind, [])]
    shown = {*survey.num_lines, *(survey.classes if survey.classes_from == "classes.txt" else ())}
    names = sorted(shown, key=lambda name: (-survey.num_lines[name], name))
    return {
        "data_dir": escaped(str(data_dir)),
        "dataset": settings.dataset,
        "input_hw": list(settings.input_hw),
        "K": settings.num_kept,
        "pictures": found.num_pictures,
        "label_files": found.num_label_files,
        "empty_label_files": found.num_empty,
        "objects": found.num_objects,
        "difficult": found.num_difficult,
        "ignore_regions": found.num_ignored,
        "most_objects": found.most_objects,
        "horizontal_share": found.horizontal_share,
        "errors": survey.num_of("error"),
        "warnings": survey.num_of("warning"),
        "notes": survey.num_of("note"),
        "counts": {kind: survey.counts[kind] for kind in survey.kinds()},
        "classes": [
            {
                "name": escaped(name),
                "known": name in survey.classes or name == IGNORED_CLASS,
                "labels": survey.num_lines[name],
                "label_files": found.pictures[name],
                **{part or "in_no_list": found.objects[name, part] for part in ("train", "val", "")},
            }
            for name in names
        ],
        "picture_sizes": [
            {"width": width, "height": height, "pictures": count}
            for (width, height), count in found.image_sizes.most_common(20)
        ],
        "histograms": {
            "short_side": _histogram(SIDE_EDGES, found.short_side),
            "long_side": _histogram(SIDE_EDGES, found.long_side),
            "angle": _histogram(ANGLE_EDGES, found.angle),
            "objects_per_picture": _histogram(COUNT_EDGES, found.per_picture),
        },
        "findings": [finding_values(finding) for finding in listed],
    }


def finding_values(finding: Finding) -> dict[str, Any]:
    """A finding as plain values."""
    kind = KINDS[finding.kind]
    return {
        "severity": kind.severity,
        "kind": finding.kind,
        "file": finding.path,
        "line": finding.line,
        "what": finding.what,
        "to_do": kind.remedy,
    }


def terminal_lines(report: dict[str, Any]) -> list[str]:
    """The report in lines for a terminal."""
    lines = [
        f"{report['data_dir']}: {report['dataset']}, {report['pictures']} pictures, {report['label_files']} label "
        f"files ({report['empty_label_files']} without objects)",
        f"{report['objects']} objects ({report['difficult']} difficult), {report['ignore_regions']} ignore regions, "
        f"at most {report['most_objects']} objects in a picture, {report['horizontal_share']:.0%} horizontal",
    ]
    lines += ["", *_class_lines(report)] if report["classes"] else []
    histograms = report["histograms"]
    if report["objects"]:
        lines += ["", "short side, pixels of the picture", *_bar_lines(**histograms["short_side"])]
        lines += ["", "angle of the long side, degrees, clockwise from the x axis", *_bar_lines(**histograms["angle"])]
    for kind, count in report["counts"].items():
        severity, title, remedy = KINDS[kind]
        lines += ["", f"{MARKS[severity]} {severity}: {title}, {count} in all: {remedy}"]
        findings = [finding for finding in report["findings"] if finding["kind"] == kind]
        for finding in findings[:SHOWN_IN_TERMINAL]:
            lines.append(f"    {_place(finding)}: {finding['what']}")
        if count > SHOWN_IN_TERMINAL:
            lines.append(f"    and {count - SHOWN_IN_TERMINAL} more")
    totals = [counted(report[f"{severity}s"], severity) for severity in MARKS]
    return [*lines, "", ", ".join(totals)]


def report_page(report: dict[str, Any], survey: Survey, draw: Callable[[Finding], str]) -> str:
    """The report as one HTML page that needs nothing else; `draw` gives the address of a finding's thumbnail or ""."""
    prefix = f"{report['data_dir']}/"
    kinds = []
    for kind in survey.kinds():
        rows = [(finding.place.removeprefix(prefix), finding.what) for finding in survey.findings.get(kind, [])]
        drawn = [draw(finding) for finding in survey.findings.get(kind, [])[:THUMBNAILS]]
        kinds.append(
            {
                **KINDS[kind]._asdict(),
                "count": survey.counts[kind],
                "rows": rows[:SHOWN_IN_PAGE],
                "thumbnails": [(*row, address) for row, address in zip(rows, drawn, strict=False) if address],
            }
        )
    return render_page(TEMPLATE, report=report, kinds=kinds)


def _histogram(edges: np.ndarray, counts: np.ndarray) -> dict[str, list]:
    return {"names": bin_names(edges), "counts": counts.tolist()}


def _class_lines(report: dict[str, Any]) -> list[str]:
    classes = report["classes"]
    width = max(len(entry["name"]) for entry in classes)
    most = max(1, *(entry["labels"] for entry in classes))
    lines = [f"{'class':{width}}  {'labels':>8}  {'train':>8}  {'val':>8}"]
    for entry in classes:
        bar = "#" * -(-entry["labels"] * BAR_WIDTH // most)
        unknown = "" if entry["known"] else "  (unknown)"
        counts = f"{entry['labels']:8}  {entry['train']:8}  {entry['val']:8}"
        lines.append(f"{entry['name']:{width}}  {counts}  {bar}{unknown}")
    return lines


def _bar_lines(names: list[str], counts: list[int]) -> list[str]:
    """A histogram without its empty ends."""
    filled = [place for place, count in enumerate(counts) if count]
    if not filled:
        return []
    most = max(counts)
    rows = range(filled[0], filled[-1] + 1)
    return [f"{names[row]:>5}  {counts[row]:8}  {'#' * -(-counts[row] * BAR_WIDTH // most)}" for row in rows]


def _place(finding: dict[str, Any]) -> str:
    return f"{finding['file']}:{finding['line']}" if finding["line"] else finding["file"]
