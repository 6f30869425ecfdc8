"""Doubts about labels as a page for a browser: each with the piece of the picture, the label and what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from datasets.picture_files.images import ImageError
from datasets.picture_files.picture_windows import PictureWindows
from tools.data_check.data_checks import escaped
from tools.drawing import Color, draw_quad
from tools.drawings.html_page import css_color, render_page
from tools.drawings.thumbnails import WIDTH, cut_window, data_address, window_around
from tools.label_review.doubts import KINDS
from tools.label_review.review import Remark
from tools.running.messages import report_problems

TEMPLATE = Path(__file__).with_name("review_page.html.j2")
LABEL_BGR: Color = (255, 160, 40)
FOUND_BGR: Color = (60, 60, 255)
LINE = 2  # pixels


def review_page(
    remarks: Sequence[Remark],
    open_picture: Callable[[Path], np.ndarray | PictureWindows],
    num: int,
    track: Callable[[Sequence[Remark]], Iterable[Remark]] = iter,
    *,
    data_dir: Path,
    **facts: object,
) -> str:
    """The page of the remarks, of each kind the first `num`. `open_picture` gives a picture (H, W, 3), or one that is
    read in windows; `track` shows the progress; `data_dir` is the folder of the data, and `facts` are what else the
    head of the page says. Warns of pictures that cannot be read."""
    shown = {kind: [remark for remark in remarks if remark.kind == kind][:num] for kind in KINDS}
    # Picture by picture, so that each is read once, whatever the order on the page.
    by_picture = sorted((remark for part in shown.values() for remark in part), key=lambda remark: remark.item.name)
    addresses: dict[int, str] = {}
    problems: list[str] = []
    for path, of_picture in groupby(track(by_picture), lambda remark: remark.item.image_path):
        try:
            picture = open_picture(path)
            addresses |= {id(remark): data_address(_drawn(remark, picture)) for remark in of_picture}
        except ImageError as error:
            problems.append(str(error))
    report_problems(problems, "pictures cannot be shown")
    kinds = [
        {
            **kind._asdict(),
            "count": sum(remark.kind == name for remark in remarks),
            "rows": [
                (
                    remark.strength,
                    escaped(remark.place.removeprefix(f"{data_dir}/")),
                    escaped(remark.what),
                    addresses.get(id(remark), ""),
                )
                for remark in shown[name]
            ],
        }
        for name, kind in KINDS.items()
    ]
    colours = {"label_colour": css_color(LABEL_BGR), "found_colour": css_color(FOUND_BGR)}
    return render_page(TEMPLATE, kinds=kinds, data_dir=escaped(str(data_dir)), **colours, **facts)


def _drawn(remark: Remark, picture: np.ndarray | PictureWindows) -> np.ndarray:
    """The piece of the picture (H, W, 3) about both boxes, with the label solid and what was found, if
    anything, dashed."""
    found_quad = None if remark.kind == "not-found" else remark.found_quad  # what was too weak to speak
    quads = [quad for quad in (remark.label_quad, found_quad) if quad is not None]
    window = window_around(np.concatenate(quads), picture)
    thumbnail, scale = cut_window(picture, window), WIDTH / (window[2] - window[0])
    for quad, colour, dashed in ((remark.label_quad, LABEL_BGR, False), (found_quad, FOUND_BGR, True)):
        if quad is not None:
            draw_quad(thumbnail, (quad - window[:2]) * scale, colour, LINE, dashed=dashed)
    return thumbnail
