"""Which of several processes this one is, by what torchrun and accelerate launch tell it; needs no torch."""

from __future__ import annotations

import os


def is_main_process() -> bool:
    """Whether this process speaks and writes files; alone it does."""
    return os.environ.get("RANK", "0") == "0"
