"""What is found in pictures, one after the other -> results and drawings, and what there is to say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datasets.picture_files.images import ImageError
from tools.class_scores import shown_scores
from tools.detection.results import DRAWINGS, RESULTS, ResultFiles, drawing_path, named_picture
from tools.drawing import as_bgr, draw_boxes, numbered_classes
from tools.drawings.drawing_files import remove_drawings, write_picture
from tools.outcomes import Found, Tiling, cut_hint, is_much_larger, tile_hint, too_large_hint
from tools.running.messages import first_of, report_problems, warn
from tools.running.stop_request import StopRequest

SHOWN_CLASSES = 12
STOPPED = "stopped; results, if there are any, are of the pictures so far"


class Report:
    """Counts what is found. problems: pictures that could not be read; num_boxes; num_shown (C,): of each class
    those that score as much as `least` says for it; best_score; num_cut: of `Found`."""

    def __init__(
        self,
        on_bad: Literal["error", "skip"],
        flag: str,
        usual_hw: tuple[int, int],
        input_hw: tuple[int, int],
        tiling: Tiling | None,
        least: Sequence[float],
    ) -> None:
        """on_bad: what a picture that cannot be read is, as `flag` says. usual_hw, input_hw: of `PictureDetector`.
        least: score of each class from which on its boxes are drawn. Warns of tiles of an unusual size."""
        self._on_bad, self._flag, self._usual_hw, self._input_hw = on_bad, flag, usual_hw, input_hw
        self._least, self._is_tiled, self._is_hinted = least, tiling is not None, tiling is not None
        if tiling is not None and (hint := tile_hint(tiling, usual_hw, input_hw)):
            warn(hint)
        self.problems: list[str] = []
        self.num_boxes, self.best_score, self.num_cut = 0, 0.0, 0
        self.num_shown = np.zeros(len(least), np.int64)  # of each class

    def takes(self, path: Path, item: Found) -> bool:
        """Whether the picture has results. Raises ImageError for an unreadable one, unless they are skipped."""
        if item.problem is not None:
            if self._on_bad == "error":
                raise ImageError(f"{item.problem} ({self._flag} skip leaves such pictures out)")
            self.problems.append(item.problem)
            return False
        if not self._is_hinted and is_much_larger(item.size, self._usual_hw):
            warn(f"{path.name} {too_large_hint(item.size, self._usual_hw, self._input_hw)}")
            self._is_hinted = True
        self.num_cut += item.num_cut
        scores = item.detections.scores
        self.num_boxes += len(scores)
        shown = item.detections.labels[item.detections.reach(self._least)]
        self.num_shown += np.bincount(shown, minlength=len(self._least))
        self.best_score = max(self.best_score, float(scores.max(initial=0.0)))
        return True

    def lines(
        self,
        out: Path,
        class_names: Sequence[str],
        floor: float,
        pictures_per_second: float,
        num_drawn: int,
        num_pictures: int,
    ) -> Iterator[str]:
        """What was found, and where it lies in the folder `out`, for people. floor: the least score of boxes;
        num_drawn: most pictures to draw."""
        speed = f"{pictures_per_second:.1f} pictures/s"
        yield f"{self.num_boxes} boxes of score {floor} and more, {speed}: {out / RESULTS}"
        if self.num_shown.any():
            counts = zip(self.num_shown.tolist(), class_names, strict=True)
            listed = [f"{count} {name}" for count, name in counts if count]
            yield f"of score {shown_scores(self._least)} and more: {first_of(listed, SHOWN_CLASSES)}"
        if num_drawn:
            some = f" of the first {num_drawn} of {num_pictures} pictures (--num_drawings)"
            which = some if num_drawn < num_pictures else ""
            yield f"drawings{which}, score {shown_scores(self._least)} and more: {out / DRAWINGS}"
            if numbered := numbered_classes(class_names):
                yield numbered

    def warn(self, num_peaks: int, remedy: str) -> None:
        """Warn of pictures without results, of boxes that may be missing (what to do: `remedy`), and of none drawn."""
        report_problems(self.problems, "pictures could not be read and have no results")
        if self.num_cut:
            warn(cut_hint(self.num_cut, num_peaks, "tile" if self._is_tiled else "picture", remedy))
        if self.num_boxes and not self.num_shown.any():
            warn(f"the best score is {self.best_score:.2f}, so no box was drawn; lower --draw_score, or train longer")


def write_found(
    found: Iterable[Found],
    images: Mapping[str, Path],
    files: ResultFiles | None,
    report: Report,
    draw: Callable[[Path, Found], None],
    drawings: Path,
    stop: StopRequest | None = None,
) -> None:
    """Write the results of each of the pictures, name -> file, and draw those that come with their pixels; earlier
    drawings in the folder `drawings` go.

    A stop that was asked for, or a picture that cannot be read, ends the work: what was found so far is written, with
    `stopped` in origin.json, and then the KeyboardInterrupt or ImageError is raised. Any other end writes nothing. On
    other processes than the main one there are no `files`.
    """
    ended: BaseException | None = None
    names, paths = list(images), list(images.values())
    if stop is not None:
        stop.check()  # before earlier results go
    with files or nullcontext():
        if files is not None:  # only now: another process may be at work there
            remove_drawings(drawings)
        try:
            for item in found:
                if stop is not None:
                    stop.check()
                if report.takes(paths[item.row], item):
                    picture = named_picture(names[item.row], paths[item.row])
                    if files is not None:
                        files.write(picture, item)
                    if item.picture is not None:
                        draw(picture, item)
        except (ImageError, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt) and (stop is None or stop.at_once):  # perhaps within a line
                raise
            ended = error
            if files is not None:
                files.origin["stopped"] = True
    if ended is not None:
        raise ended


def draw_found(out: Path, class_names: Sequence[str], looks: Mapping[str, Any], picture: Path, item: Found) -> None:
    """Draw the boxes into the picture that was found in, which is not held twice, and write it. picture: as
    `named_picture` calls it. looks: keywords of `draw_boxes`."""
    boxes = item.detections._replace(quads=item.detections.quads * item.picture_scale)
    drawing = draw_boxes(as_bgr(item.picture), boxes, class_names, in_place=True, **looks)
    write_picture(drawing_path(out, picture), drawing)
