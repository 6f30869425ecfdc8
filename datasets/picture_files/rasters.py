"""Files as rasterio opens them, and what to do where it is not installed."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from DOTA_devkit.reasons import first_line

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

INSTALL = "pip install -r requirements-geo.txt"

logging.getLogger("rasterio").addHandler(logging.NullHandler())  # what GDAL says stands in the error as well


def why_no_rasterio() -> str | None:
    """What to do so that rasterio works here; None where it does."""
    try:
        import rasterio.crs
        import rasterio.errors  # noqa: F401
    except ImportError as error:
        return f"{INSTALL} (import failed: {first_line(error)})"
    return None


def open_raster(path: Path) -> DatasetReader:
    """The file, open, to be closed by the caller. Raises rasterio's RasterioError."""
    import rasterio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NotGeoreferencedWarning: who needs the place asks for it
        # Whatever GDAL_NUM_THREADS says: a process that is forked would wait for threads that stayed behind. Not by a
        # relative name: GDAL takes the beginning of some for a protocol.
        return rasterio.open(path.absolute(), NUM_THREADS="1")
