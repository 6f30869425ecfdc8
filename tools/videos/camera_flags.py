"""What a user may call a camera."""

from __future__ import annotations

import re
from pathlib import Path


def camera_named(text: str) -> str | None:
    """The number ("0") or address (rtsp://..., http://...) of the camera that is meant, as `datasets.cameras.Camera`
    takes it, None for what is none. A device, perhaps by a link such as those in /dev/v4l/by-id, is meant by its
    number."""
    device = re.fullmatch(r"/dev/video(\d+)", str(Path(text).resolve()))
    if device:
        return device[1]
    is_number = text.isdecimal() and not Path(text).exists()
    return text if is_number or re.match(r"(?i)[a-z][a-z0-9+.-]*://", text) else None
