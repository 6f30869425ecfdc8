"""The command that looks through a data folder for what is wrong with it: `python -m tools.check_data DATA_DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets.format_detection import detect_format
from datasets.picture_files.layouts import Reading
from datasets.readers import FORMATS
from DOTA_devkit.atomic import write_json, write_text
from tools.data_check.data_checks import KINDS, Finding, escaped
from tools.data_check.data_folder import DataLayout, lay_out
from tools.data_check.data_repair import BY_HAND, CHANGES, repair_folder
from tools.data_check.data_report import JSON_HEAD, PAGE_MARK, report_page, report_values, terminal_lines
from tools.data_check.data_survey import Survey, SurveySettings, survey_folder
from tools.data_check.data_thumbnails import Thumbnails
from tools.data_check.data_twins import find_shared_ground, find_twins
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.destinations import refuse_data_folder, refuse_to_replace, require_free
from tools.running.flag_types import whole
from tools.running.stop_request import StopRequest
from tools.setting_rules import check_bands

MOST_PIXELS = 2e9  # up to so many in all pictures, near-twins are looked for unasked: half a minute of decoding or so


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, print and write what was found; returns the exit code: 0 no error found, 1 errors found or something that
    a person can mend, 2 a wrong flag, 130 and 143 stopped by Ctrl-C and SIGTERM."""
    stop = StopRequest()
    return exit_code(lambda: stop.around(check_folder, _parse(arguments)), stop)


def check_folder(options: argparse.Namespace, stop: StopRequest) -> int:
    """Do what the flags say; returns the exit code."""
    data_dir: Path = options.data_dir
    if not data_dir.is_dir():
        raise SettingsError(f"{data_dir}: no such data folder")
    if options.lists is not None and not options.lists.is_dir():
        raise SettingsError(f"--lists {options.lists}: no such folder")
    for flag, path in (("--html", options.html), ("--json", options.json)):
        if path is not None:
            _check_report(flag, path, data_dir)
    _check_places({"--html": options.html, "--json": options.json, "--fix": options.fix})
    if options.fix is not None:
        refuse_data_folder(options.fix, data_dir, "--fix")
        require_free(options.fix, "--fix")
    dataset = detect_format(data_dir) if options.dataset == "auto" else options.dataset
    pictures = "decode" if options.decode else options.pictures
    input_hw, reading = (options.input_h, options.input_w), Reading(bands=options.bands)
    settings = SurveySettings(dataset, input_hw, options.K, pictures, reading)
    layout = lay_out(dataset, data_dir, options.lists)
    survey = survey_folder(data_dir, layout, settings, options.workers, stop)
    _add_twins(survey, layout, options, settings.reading, stop)
    if settings.pictures != "none":
        survey.add(find_shared_ground(layout))
    report = report_values(data_dir, settings, survey)
    print("\n".join(terminal_lines(report)))
    if options.json is not None:
        write_json(options.json, report)
        print(f"written: {options.json}")
    if options.html is not None:
        thumbnails = Thumbnails(dataset, {pair.name: pair for pair in layout.pairs}, layout.read, reading)

        def draw(finding: Finding) -> str:
            stop.check()
            return thumbnails.draw(finding) if settings.pictures != "none" else ""

        write_text(options.html, report_page(report, survey, draw))
        print(f"written: {options.html}")
    if options.fix is not None:
        done = repair_folder(layout, dataset, options.fix, survey.unreadable, options.workers, stop)
        how = f"{done.num_copied} copied" if done.num_copied else "linked, not copied"
        print(
            f"written: {options.fix}, {len(done.names)} pictures ({how}) and their labels in DOTA's form; "
            f"{len(done.changes)} changes listed in {options.fix / CHANGES}"
        )
        left = [KINDS[kind].title for kind in survey.kinds() if kind in BY_HAND]
        if left:
            print(f"not repaired, because it would be a guess: {', '.join(left)}")
    return 1 if report["errors"] else 0


def _check_report(flag: str, path: Path, data_dir: Path) -> None:
    """Raises SettingsError for a report in the data folder, and for one in place of another file."""
    refuse_data_folder(path, data_dir, flag)
    refuse_to_replace(path, flag, [JSON_HEAD], [PAGE_MARK])


def _check_places(places: dict[str, Path | None]) -> None:
    """Raises SettingsError for two flags that name one file: the later would take the place of the earlier."""
    flags: dict[Path, str] = {}
    for flag, path in places.items():
        first = flag if path is None else flags.setdefault(path.resolve(), flag)
        if first != flag:
            raise SettingsError(f"{first} and {flag} name one place, {places[first]}; name two")


def _add_twins(
    survey: Survey, layout: DataLayout, options: argparse.Namespace, reading: Reading, stop: StopRequest
) -> None:
    wanted = options.near_duplicates
    if wanted is None:
        wanted = options.pictures != "none" and survey.num_pixels <= MOST_PIXELS
    if wanted:
        findings = find_twins(layout, survey.unreadable, options.workers, stop, reading)
        survey.add(findings)
        survey.unreadable |= {finding.picture for finding in findings if finding.kind == "unreadable-picture"}
    else:
        what = "near-twin pictures; --near_duplicates decodes all pictures to find them"
        survey.add([Finding("not-looked", "", escaped(str(options.data_dir)), 0, what)])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "check_data",
        description="Look through a data folder for what would stop a training, or teach it something wrong: pictures "
        "and labels without a partner, unknown classes, bad lines, boxes outside, doubled or too small, twins across "
        "the lists; and count classes, sizes and angles.",
        epilog="Each finding is an error, a warning or a note, with file, line and what to do. Exit codes: 0 no error "
        "(there may be warnings), 1 errors found, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("data_dir", type=Path, metavar="DATA_DIR", help="folder of the data; nothing is written there")
    parser.add_dataset(FORMATS)
    add("--lists", type=Path, metavar="DIR", help="folder of train.txt and val.txt [default: DATA_DIR]")
    add("--html", type=Path, metavar="FILE", help="write the report as one page for a browser, with thumbnails")
    add("--json", type=Path, metavar="FILE", help="write the report as JSON")
    add(
        "--fix",
        type=Path,
        metavar="OUT_DIR",
        help="write a repaired copy in DOTA's form to this new folder, pictures as links, and list every change in "
        f"{CHANGES}: corners in order and clockwise; doubled boxes, those outside and unreadable lines left out",
    )
    add(
        "--input_h",
        type=whole(32),
        default=608,
        metavar="PX",
        help="height of the network's input [default: %(default)s]",
    )
    add(
        "--input_w",
        type=whole(32),
        default=608,
        metavar="PX",
        help="width of the network's input [default: %(default)s]",
    )
    add("--K", type=whole(1), default=500, metavar="N", help="most detections of a picture [default: %(default)s]")
    add("--decode", action="store_true", help="decode every picture, not its header only, to find damaged ones")
    add(
        "--no_images",
        "--no-images",
        dest="pictures",
        action="store_const",
        const="none",
        default="headers",
        help="do not open pictures at all: nothing is found outside, too small or unreadable",
    )
    add(
        "--near_duplicates",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="look for pictures that show nearly the same; decodes all [default: where they have up to "
        f"{MOST_PIXELS / 1e6:,.0f} megapixels in all]",
    )
    parser.add_bands()
    parser.add_workers()
    options = parser.parse_args(arguments)
    check_bands(options.bands)
    if options.decode and options.pictures == "none":
        parser.error("--decode opens the pictures that --no_images leaves alone; give one of them")
    return options


if __name__ == "__main__":
    sys.exit(main())
