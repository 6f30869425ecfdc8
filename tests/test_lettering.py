"""Letters in any script lie where their size says."""

from __future__ import annotations

import numpy as np
import pytest

from tools.drawings.lettering import draw_text, text_size


@pytest.mark.parametrize("text", ["car 0.93", "Грузовик", "Bäume"])
def test_letters_lie_where_their_size_says(text):
    """Defect of OpenCV's strokes: they are ASCII only, and draw '??' for a letter of another script."""
    canvas = np.zeros((80, 300, 3), np.uint8)
    draw_text(canvas, text, (40, 50), (255, 255, 255), 1.0)
    rows, columns = np.nonzero(canvas.max(axis=2) > 100)
    width, height, depth = text_size(text, 1.0)
    assert 38 <= columns.min() <= columns.max() <= 42 + width
    assert 48 - height <= rows.min() <= rows.max() <= 52 + depth
    assert rows.max() - rows.min() > 15
    for place in ((-30, 50), (290, 90), (0, -100)):
        draw_text(canvas, text, place, (255, 255, 255), 1.0)  # partly or wholly outside
