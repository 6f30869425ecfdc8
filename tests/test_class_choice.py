"""Some of a network's classes: their boxes alone are taken, with the labels that they then have."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from tools.class_choice import ChoosingDetector, ClassChoice
from tools.outcomes import DetectionSettings, Tiling
from tools.running.command_line import SettingsError

KNOWN = ("car", "boat", "小船", "bus")
FOUND = ImageDetections(np.arange(40.0).reshape(5, 4, 2), np.linspace(0.9, 0.5, 5), np.array([3, 0, 2, 3, 1]))


class Fake:
    class_names, num_cut, settings = KNOWN, 0, DetectionSettings()

    def detect(self, pictures):
        self.num_cut += len(pictures)
        return [FOUND for _ in pictures]

    def detect_tiled(self, picture, tiling, batch_size=1, name=None):
        return FOUND._replace(scores=FOUND.scores / batch_size)


def test_boxes_of_other_classes_go_and_labels_count_the_chosen_ones_in_the_order_of_the_network() -> None:
    choice = ClassChoice(KNOWN, ("bus", "boat"), "a.pth")
    assert choice.names == ("boat", "bus")
    chosen = choice(FOUND)
    assert chosen.labels.tolist() == [1, 1, 0]
    assert chosen.scores.tolist() == FOUND.scores[[0, 3, 4]].tolist()
    assert np.array_equal(chosen.quads, FOUND.quads[[0, 3, 4]])
    assert len(choice(NO_DETECTIONS).scores) == 0


def test_without_a_choice_all_stay_as_they_are() -> None:
    choice = ClassChoice(KNOWN, None, "a.pth")
    assert choice.names == KNOWN
    for part, expected in zip(choice(FOUND), FOUND, strict=True):
        assert np.array_equal(part, expected)


def test_a_class_that_the_network_does_not_have_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^--classes bot: did you mean 'boat'\? the network of a\.pth has car"):
        ClassChoice(KNOWN, ("car", "bot"), "a.pth")


def test_a_choosing_detector_is_the_other_in_all_else() -> None:
    fake = Fake()
    detector = ChoosingDetector(fake, ["car"], "a.pth")
    picture = np.zeros((4, 4, 3), np.uint8)
    assert detector.class_names == ("car",)
    assert [found.labels.tolist() for found in detector.detect([picture, picture])] == [[0], [0]]
    assert detector.num_cut == 2
    detector.settings = DetectionSettings(conf_thresh=0.4)  # it set the wrapper's own, which nobody reads
    assert detector.settings.conf_thresh == fake.settings.conf_thresh == 0.4
    assert detector.detect_tiled(picture, Tiling(32, 8), 2).scores.tolist() == [FOUND.scores[1] / 2]


def test_a_choosing_detector_can_be_copied_and_sent_to_another_process() -> None:
    """It asked the copy, which had nothing yet, for the detector that it chooses from, without an end."""
    detector = ChoosingDetector(Fake(), ["car"], "a.pth")
    for twin in (copy.copy(detector), pickle.loads(pickle.dumps(detector))):
        assert twin.class_names == ("car",)
        assert twin.settings == detector.settings
