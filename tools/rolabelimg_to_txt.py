"""The command that turns roLabelImg XML into label lines: `python -m tools.rolabelimg_to_txt XML_DIR TXT_DIR`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from datasets.class_lists import UnknownClassError
from datasets.label_formats.annotations import files_in, is_unusable, without_picture
from datasets.label_formats.class_names import unlisted
from datasets.label_formats.xml_labels import KINDS, Annotation, read_annotation, turned_fault
from datasets.picture_files.image_folders import find_images
from datasets.picture_files.image_sizes import picture_size
from datasets.picture_files.images import ImageError
from DOTA_devkit.clipping import clip_quads
from DOTA_devkit.labels import (
    IGNORED_CLASS,
    LabelError,
    Labels,
    geometry_faults,
    read_class_names,
    read_labels,
    write_labels,
)
from DOTA_devkit.text_table import aligned
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.messages import report_problems, warn
from tools.running.progress import progress_bar

ROUNDING = 1e-3  # pixels by which a box may stick out and still count as inside: XML holds four decimals
SHOWN_NAMES = 3


@dataclass(frozen=True)
class Conversion:
    """What is asked for. images: pictures by name, None without --images; class_names: None without --classes."""

    txt_dir: Path
    clip: str = "keep"
    images: Mapping[str, Path] | None = None
    class_names: tuple[str, ...] | None = None
    overwrite: bool = False


@dataclass
class Summary:
    """What came of the files: objects written by (class, kind), objects left out by reason, and all complaints."""

    num_files: int = 0
    num_empty: int = 0
    written: Counter[tuple[str, str]] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)  # left out, or changed, by --clip
    dropped: Counter[str] = field(default_factory=Counter)  # left out without being asked for
    problems: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # files of which nothing was written
    wide_angles: list[str] = field(default_factory=list)

    def leave_out(self, faults: Sequence[LabelError]) -> None:
        """Note objects that cannot be used."""
        for fault in faults:
            is_stranger = isinstance(fault, UnknownClassError)
            self.dropped[f"of the unknown class '{fault.name}'" if is_stranger else fault.kind.replace("-", " ")] += 1
        self.problems += map(str, faults)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was left out but what was asked for."""
        return not self.dropped and not self.failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert and print the summary; returns the exit code: 0 done, 1 something was left out without being asked for,
    or cannot be read or written, 2 a wrong flag, 130 and 143 stopped by Ctrl-C and SIGTERM."""

    def work() -> int:
        options = _parse(arguments)
        conversion = Conversion(
            options.txt_dir,
            options.clip,
            find_images(options.images) if options.images else None,
            read_class_names(options.classes) if options.classes else None,
            options.overwrite,
        )
        summary = convert_folder(options.xml_dir, conversion)
        print_summary(summary, conversion)
        return 0 if summary.is_clean else 1

    return exit_code(work)


def convert_folder(xml_dir: Path, conversion: Conversion) -> Summary:
    """Write a label file for each XML file directly in a folder; what cannot be used is counted and goes on.

    Raises SettingsError for a folder that is not there or holds no XML, OSError when a file cannot be written.
    """
    paths = _find_xml(xml_dir)
    summary = Summary(num_files=len(paths))
    stems: dict[str, Path] = {}
    for path in progress_bar(paths, desc="converting", unit="file"):
        try:
            if path.stem in stems:
                raise LabelError(
                    path, 1, f"same name as {stems[path.stem].name} but for the suffix; rename one of them"
                )
            stems[path.stem] = path
            _convert_file(path, conversion, summary)
        except (LabelError, ImageError) as error:
            summary.failures.append(str(error))
    if conversion.images is not None:
        _warn_of_partners("XML files without a picture", stems.keys() - conversion.images.keys())
        _warn_of_partners("pictures without an XML file", conversion.images.keys() - stems.keys())
    return summary


def clip_labels(labels: Labels, kinds: list[str], hw: tuple[int, int], clip: str) -> tuple[Labels, list[str], int]:
    """Objects that stick out of a picture of size hw, dropped or cut: the objects and kinds that are left, and how
    many of them were cut.

    `drop` leaves out every object that reaches beyond the border by more than a thousandth of a pixel; `clip` puts the
    smallest rectangle around what the picture shows of it in its place, and leaves it out where that is nothing.
    """
    height, width = hw
    beyond = np.maximum(-labels.quads, labels.quads - [width, height]).max(axis=(1, 2), initial=0) > ROUNDING
    quads, keep = labels.quads.copy(), ~beyond
    if clip == "clip" and beyond.any():
        quads[beyond], visible = clip_quads(quads[beyond], 0, 0, width, height)
        keep[beyond] = visible > 0
        keep[[*geometry_faults(quads)]] = False  # a sliver without area
    kept = _take(labels._replace(quads=quads), kinds, np.flatnonzero(keep).tolist())
    return *kept, int((keep & beyond).sum())


def print_summary(summary: Summary, conversion: Conversion) -> None:
    """Complaints to the standard error stream; files and objects, by kind of box and by class, to the other."""
    report_problems(summary.failures, "files of which nothing was written")
    report_problems(summary.problems, "objects left out")
    if summary.wide_angles:
        such = f"{len(summary.wide_angles)} objects have an angle beyond 2 pi, such as {summary.wide_angles[0]}"
        warn(f"{such}: degrees? All angles are read as radians")
    num_written = summary.num_files - len(summary.failures)
    print(f"{summary.num_files} XML files -> {num_written} txt files, {summary.num_empty} of them without objects")
    _print_objects(summary.written)
    for what, counts in (("by --clip", summary.asked), ("left out without being asked for", summary.dropped)):
        if counts:
            print(f"{what}: " + ", ".join(f"{count} {reason}" for reason, count in counts.most_common()))
    print(f"written: {conversion.txt_dir}")


def _find_xml(xml_dir: Path) -> list[Path]:
    if not xml_dir.is_dir():
        raise SettingsError(f"{xml_dir}: no such folder of XML files")
    paths = files_in(xml_dir, ".xml")
    below = sorted({path.parent.name for path in xml_dir.glob("*/*.[xX][mM][lL]")})
    if not paths:
        remedy = f"; name one of its folders, such as {below[0]}" if below else ""
        raise SettingsError(f"{xml_dir}: holds no XML file{remedy}")
    if below:
        warn(f"{xml_dir}: XML in its folders is not read ({', '.join(below[:SHOWN_NAMES])}); name them one by one")
    return paths


def _convert_file(path: Path, conversion: Conversion, summary: Summary) -> None:
    """Write the label file of one XML file and add to the summary. Raises LabelError or ImageError, nothing written."""
    faults: list[LabelError] = []
    annotation = read_annotation(path, faults.append)
    if is_unusable(annotation.labels, faults):
        summary.leave_out(faults)
        raise without_picture(path, faults[0].line, path.stem)
    image_path = (conversion.images or {}).get(path.stem)
    turned = turned_fault(annotation, image_path) if image_path else None
    if turned:
        raise LabelError(path, 1, turned)
    labels, kinds = _leave_out_unknown(path, annotation, conversion.class_names, faults)
    asked: Counter[str] = Counter()
    if conversion.clip != "keep":
        num_before = len(labels.names)
        hw = _picture_hw(path, annotation, conversion)
        labels, kinds, num_cut = clip_labels(labels, kinds, hw, conversion.clip)
        left_out = "outside the picture left out" if conversion.clip == "clip" else "across the border left out"
        asked = +Counter({"cut at the border": num_cut, left_out: num_before - len(kinds)})
    _write(conversion.txt_dir / f"{path.stem}.txt", labels, conversion.overwrite)
    summary.num_empty += not labels.names
    summary.written.update(zip(labels.names, kinds, strict=True))
    summary.asked += asked
    summary.leave_out(faults)
    summary.wide_angles += [f"{path}:{annotation.labels.lines[row]}" for row in annotation.wide_angles]


def _leave_out_unknown(
    path: Path, annotation: Annotation, class_names: Sequence[str] | None, faults: list[LabelError]
) -> tuple[Labels, list[str]]:
    """The objects of known classes, and the kinds of their boxes; the others are added to the faults."""
    labels, kinds = annotation.labels, annotation.kinds
    if class_names is None:
        return labels, kinds
    found = unlisted(labels, class_names, path)
    faults += found.values()
    return _take(labels, kinds, [row for row in range(len(kinds)) if row not in found])


def _take(labels: Labels, kinds: list[str], rows: Sequence[int]) -> tuple[Labels, list[str]]:
    return labels.at(rows), [kinds[row] for row in rows]


def _picture_hw(path: Path, annotation: Annotation, conversion: Conversion) -> tuple[int, int]:
    """Height and width of the picture: by its own header where pictures are named, else by <size>."""
    if conversion.images is not None:
        if path.stem not in conversion.images:
            raise LabelError(path, 1, f"no picture named '{path.stem}' in the folder of --images to clip to; add it")
        return picture_size(conversion.images[path.stem])
    if annotation.hw is None:
        raise LabelError(path, 1, "<size> is missing or zero, so there is no border to clip to; give --images")
    return annotation.hw


def _write(path: Path, labels: Labels, overwrite: bool) -> None:
    """Write a label file, or leave one that is there and holds the same objects. Raises LabelError for any other."""
    if path.exists() and not overwrite:
        try:
            there = read_labels(path)
        except LabelError:
            there = None
        if there is None or not _are_equal(there, labels):
            raise LabelError(path, 1, "is there and holds other objects; name another folder or give --overwrite")
        return
    write_labels(path, labels.quads, labels.names, labels.difficult, sync=False)


def _are_equal(one: Labels, other: Labels) -> bool:
    same = one.names == other.names and one.difficult.tolist() == other.difficult.tolist()
    return same and np.array_equal(one.quads, other.quads)


def _print_objects(written: Counter[tuple[str, str]]) -> None:
    """Objects by class, a line each, and by kind of box, a column each; ignore regions apart from the sum."""
    kinds = [kind for kind in KINDS if any(written[key] for key in written if key[1] == kind)]
    classes = sorted({name for name, _ in written})
    objects = [name for name in classes if name != IGNORED_CLASS]

    def row(title: str, names: Sequence[str]) -> list[str]:
        numbers = [sum(written[name, kind] for name in names) for kind in kinds]
        return [title, *map(str, (*numbers, sum(numbers)))]

    rows = [["", *kinds, "objects"], *(row(name, [name]) for name in objects), row("all classes", objects)]
    if IGNORED_CLASS in classes:
        rows.append(row(f"{IGNORED_CLASS} (ignore regions)", [IGNORED_CLASS]))
    print("\n".join(aligned(rows)))


def _warn_of_partners(what: str, names: set[str]) -> None:
    if names:
        warn(f"{len(names)} {what}, such as {', '.join(sorted(names)[:SHOWN_NAMES])}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "rolabelimg_to_txt",
        description="Turn roLabelImg XML (robndbox and bndbox, also in one file; and DIOR-R's, with corners) into "
        "DOTA's label lines: x1 y1 x2 y2 x3 y3 x4 y4 class difficult, pixels, corners clockwise on the screen.",
        epilog="angle: radians, clockwise on the screen, from +x to the side w; corners are the centre +- w/2 (cos, "
        "sin) +- h/2 (-sin, cos), written so that they read back to the last bit. Which kind of box it is, the child "
        "of <object> decides, not <type>. A txt has the name of its XML, whatever <filename> and <path> say; XML "
        "without objects becomes an empty txt, a picture without objects; DontCare stays, as an ignore region. XML in "
        "folders below XML_DIR is not read. Exit codes: 0 done, 1 something was left out without being asked for, or "
        "cannot be read or written, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("xml_dir", type=Path, metavar="XML_DIR", help="folder of the XML files")
    add("txt_dir", type=Path, metavar="TXT_DIR", help="folder to write to, labelTxt of a data folder for instance")
    add("--images", type=Path, metavar="DIR", help="folder of the pictures, for --clip and to find XML without one")
    add(
        "--classes",
        type=Path,
        metavar="FILE",
        help="class names, one a line; objects of others are left out and counted [default: any name]",
    )
    add(
        "--clip",
        choices=("keep", "clip", "drop"),
        default="keep",
        help="boxes that stick out of the picture by more than 0.001 px: keep them as they are; clip them, to the "
        "smallest rectangle around what the picture shows (which may be turned, and then reach out a little); or drop "
        "them. The size is that of the pictures in --images, else <size> [default: %(default)s]",
    )
    add(
        "--overwrite",
        action="store_true",
        help="replace txt files in TXT_DIR that hold other objects; without it they stay and are reported",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
