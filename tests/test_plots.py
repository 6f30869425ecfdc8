"""Figures appear whole, or not at all, and write names as they are."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from tools.drawings.plots import figure_file, plot_names, plot_text


@pytest.mark.parametrize(("suffix", "head"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_figure_is_written_in_the_format_of_its_suffix(tmp_path: Path, suffix: str, head: bytes) -> None:
    path = tmp_path / "图 1" / f"plot{suffix}"
    with figure_file(path, (3, 2), ["小车", "\ue123"], dpi=100) as figure:
        figure.add_subplot().set_title("小车")
    assert path.read_bytes().startswith(head)
    if suffix == ".png":
        assert cv2.imread(str(path)).shape == (200, 300, 3)


def test_a_figure_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    path.write_bytes(b"earlier")
    with pytest.raises(ZeroDivisionError), figure_file(path, (3, 2)):
        _ = 1 / 0
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_dollar_begins_no_formula() -> None:
    assert plot_text("a$b$") == r"a\$b\$"
    assert plot_names(["$x$", "\ue123\U000f1234"]) == [r"\$x\$", "#1"]
