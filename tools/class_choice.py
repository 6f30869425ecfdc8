"""Some of a network's classes: whose boxes alone are handed on. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets.picture_files.picture_windows import PictureWindows
from DOTA_devkit.labels import EVERY_CLASS, did_you_mean
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.truths import ImageTruth
from tools.outcomes import DetectionSettings, PictureDetector, Tiling
from tools.running.command_line import SettingsError


class ClassChoice:
    """Takes the boxes of some classes; `names`: these, in the order of the network, which the labels then count."""

    def __init__(self, known: Sequence[str], wanted: Sequence[str] | None, network: str) -> None:
        """known: the classes of the network; wanted: of --classes, None for all. Raises SettingsError, which calls the
        `network` so, for one that it does not have."""
        for name in wanted or ():
            if name not in known:
                meant = did_you_mean(name, known)
                has = f"the network of {network} has {', '.join(known)}"
                raise SettingsError(f"--classes {name}: {' '.join(filter(None, [meant, has]))}")
        self.names = tuple(name for name in known if wanted is None or name in wanted)
        number_of = {name: number for number, name in enumerate(self.names)}
        self._new_labels = np.array([number_of.get(name, -1) for name in known])

    def of_truth(self, truth: ImageTruth) -> ImageTruth:
        """The objects of these classes, and the ignore regions of every class."""
        labels = np.where(truth.labels < 0, EVERY_CLASS, self._new_labels[truth.labels])
        kept = (labels >= 0) | (truth.labels < 0)
        return ImageTruth(truth.quads[kept], labels[kept], truth.difficult[kept])

    def __call__(self, found: ImageDetections) -> ImageDetections:
        labels = self._new_labels[found.labels]
        kept = labels >= 0
        return ImageDetections(found.quads[kept], found.scores[kept], labels[kept])


class ChoosingDetector:
    """A detector of which the boxes of some classes alone are taken; all else is as it has it."""

    def __init__(self, detector: PictureDetector, wanted: Sequence[str], network: str = "this detector") -> None:
        """wanted: the names of the classes; labels then count `class_names`, these in the network's order. Raises
        SettingsError as `ClassChoice`."""
        self._detector, self._choice = detector, ClassChoice(detector.class_names, wanted, network)
        self.class_names = self._choice.names

    def detect(self, pictures: Sequence[np.ndarray]) -> list[ImageDetections]:
        return [self._choice(found) for found in self._detector.detect(pictures)]

    def detect_tiled(
        self, picture: np.ndarray | PictureWindows, tiling: Tiling, batch_size: int = 1, name: str | None = None
    ) -> ImageDetections:
        return self._choice(self._detector.detect_tiled(picture, tiling, batch_size, name))

    @property
    def settings(self) -> DetectionSettings:
        return self._detector.settings

    @settings.setter
    def settings(self, settings: DetectionSettings) -> None:
        self._detector.settings = settings

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # asked for of a copy that has nothing yet
            raise AttributeError(name)
        return getattr(self._detector, name)
