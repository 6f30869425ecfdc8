"""The area under the curve and the eleven points, where both are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from DOTA_devkit.average_precision import average_precision, average_precision_07


def test_eleven_point_levels_are_the_published_ones() -> None:
    """np.arange makes the fourth level 0.30000000000000004, which 3 hits of 10 do not reach."""
    assert average_precision_07(np.ones(3, bool), 10) == pytest.approx(3 / 11, abs=1e-15)
    assert average_precision(np.ones(3, bool), 10) == pytest.approx(0.3, abs=1e-15)


def test_ap_of_no_detections_is_zero() -> None:
    assert average_precision(np.empty(0, bool), 5) == 0.0
    assert average_precision_07(np.empty(0, bool), 5) == 0.0
