"""Figures of matplotlib in files, with names in any script."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from DOTA_devkit.atomic import atomic_write
from tools.drawing import class_text
from tools.drawings.lettering import font_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def figure_file(
    path: Path,
    inches: tuple[float, float],
    names: Iterable[str] = (),
    *,
    dpi: int = 110,
    is_tight: bool = False,
    title: str | None = None,
) -> Iterator[Figure]:
    """A block with a figure of this width and height, which is written when the block ends, whole or not at all, in the
    format of the suffix. names: what it writes in other scripts. With `is_tight` its margins are cut off; `title` is
    what the file tells of itself. Raises OSError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _fonts_for(names):
        figure = Figure(figsize=inches, dpi=dpi, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with atomic_write(path, "wb", sync=False) as file:
            tells = {"Title": title} if title else None
            margins = "tight" if is_tight else None
            figure.savefig(file, format=path.suffix[1:].lower(), bbox_inches=margins, metadata=tells)


def plot_text(text: str) -> str:
    """A text as a figure can show it: a $ begins no formula."""
    return text.replace("$", r"\$")


def plot_names(class_names: Sequence[str]) -> list[str]:
    """The names of classes as a figure can show them."""
    return [plot_text(class_text(class_names, label)) for label in range(len(class_names))]


@contextmanager
def _fonts_for(names: Iterable[str]) -> Iterator[None]:
    """A block in which figures that are made write names in fonts of this machine that have their letters, without a
    warning of each letter that none has."""
    from matplotlib import ft2font, rc_context

    letters = sorted({letter for name in names for letter in name if not letter.isascii()})
    paths = dict.fromkeys(path for path in map(font_path, letters) if path)
    families = dict.fromkeys(["DejaVu Sans", *(ft2font.FT2Font(path).family_name for path in paths)])
    with rc_context({"font.family": list(families)}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield
