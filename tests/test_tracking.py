"""Following boxes from frame to frame: whose they are, when it is hard to tell, and what is no object."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from tools.videos.crossings import Line, LineCounter
from tools.videos.tracking import Tracker, enlarged

RATE = 25.0  # frames a second


def boxes_at(*rows: tuple[float, ...], score: float = 0.8, label: int = 0) -> ImageDetections:
    """Boxes (x, y[, score[, label[, angle]]]) of 20 x 10 pixels."""
    full = [(*row, *(score, label, 0.0)[len(row) - 2 :]) for row in rows]
    quads = boxes_to_quads(np.array([(x, y, 20, 10, angle) for x, y, _, _, angle in full]).reshape(-1, 5), "le90")
    scores, labels = (np.array([row[column] for row in full]) for column in (2, 3))
    return ImageDetections(quads, scores.astype(np.float32), labels.astype(np.int64))


def follow(*frames: ImageDetections, rate: float = RATE, **options: float) -> tuple[list, Tracker]:
    tracker = Tracker([0.3, 0.3], **options)
    told = [tracker.follow(boxes, number, number / rate)[0].tolist() for number, boxes in enumerate(frames)]
    return told, tracker


def test_an_object_has_a_number_once_it_is_sure_and_then_all_of_its_sightings() -> None:
    tracker = Tracker([0.3], least_frames=3)
    found = [tracker.follow(boxes_at((50 + 3 * number, 40)), number, number / RATE) for number in range(5)]
    assert [numbers.tolist() for numbers, _ in found] == [[0], [0], [1], [1], [1]]
    assert [[seen.frame for _, seen in new] for _, new in found] == [[], [], [0, 1, 2], [3], [4]]
    (track,) = tracker.tracks
    assert (track.number, track.num_sightings, track.first.frame, track.last.frame) == (1, 5, 0, 4)
    assert track.speed == pytest.approx([75, 0])


def test_what_is_seen_twice_is_no_object() -> None:
    told, tracker = follow(boxes_at((50, 40)), boxes_at((50, 40)), *[NO_DETECTIONS] * 30, boxes_at((50, 40)))
    assert told == [[0], [0], *[[]] * 30, [0]]
    assert not tracker.tracks


def test_objects_that_meet_keep_their_numbers() -> None:
    """They cross: in the middle each stands nearer to where the other was."""
    frames = [boxes_at((20 + 8 * number, 100), (180 - 8 * number, 106)) for number in range(21)]
    told, tracker = follow(*frames)
    assert told[2:] == [[1, 2]] * 19
    assert len(tracker.tracks) == 2


def test_a_fast_small_object_is_followed_though_it_leaves_its_place() -> None:
    """25 pixels a frame, its boxes are 20 long: no two of them overlap."""
    told, _ = follow(*(boxes_at((20 + 25 * number, 100)) for number in range(8)))
    assert told[2:] == [[1]] * 6


def test_what_comes_into_a_moving_picture_moves_with_it() -> None:
    """The camera pans by 40 pixels a frame: whoever comes new is found where the others have gone."""
    frames = []
    for number in range(12):
        left = [(500 - 40 * number + 14 * far, 60 + 90 * far) for far in range(3)]
        late = [(800 - 40 * number, 300)] if number >= 7 else []
        frames.append((left, late))
    # Known from slow frames on, so that only the late one has to be found at full speed.
    slow = [
        boxes_at(*((500 + (1 - share) * 40 + 14 * far, 60 + 90 * far) for far in range(3))) for share in (0, 0.3, 1)
    ]
    told, _ = follow(*slow, *(boxes_at(*left, *late) for left, late in frames[1:]))
    assert told[-1] == [1, 2, 3, 4]


def test_a_hidden_object_is_the_same_when_it_comes_back_in_time() -> None:
    seen = [boxes_at((20 + 4 * number, 100)) for number in range(60)]
    hidden = [NO_DETECTIONS if 10 <= number < 30 else boxes for number, boxes in enumerate(seen)]
    told, tracker = follow(*hidden)
    assert told[30:] == [[1]] * 30
    assert len(tracker.tracks) == 1
    told, tracker = follow(*hidden, gap=0.5)
    assert told[-1] == [2]


def test_seconds_apart_a_parked_object_is_still_the_same() -> None:
    """A gap of one second does not part frames that are two seconds apart, nor do two frames without it."""
    frames = [boxes_at((50, 40))] * 4
    told, _ = follow(*frames, NO_DETECTIONS, NO_DETECTIONS, *frames, *[NO_DETECTIONS] * 3, *frames, rate=0.5)
    assert told == [[0], [0], [1], [1], [], [], *[[1]] * 4, [], [], [], [0], [0], [2], [2]]


def test_the_gap_is_not_a_frame_longer() -> None:
    hidden = [*[boxes_at((50, 40))] * 4, *[NO_DETECTIONS] * 25, boxes_at((50, 40))]  # 26 frames later
    assert follow(*hidden, gap=1.0)[0][-1] == [0]
    assert follow(*hidden, gap=26 / RATE)[0][-1] == [1]


@pytest.mark.parametrize("seed", range(4))
def test_a_parked_object_that_trembles_is_the_same_after_seconds_behind_something(seed: int) -> None:
    """Carried on at the speed of its trembling it would be elsewhere by then."""
    rng = np.random.default_rng(seed)
    seen = [boxes_at(tuple(rng.normal((50, 40), 0.5))) for _ in range(200)]
    told, _ = follow(*(NO_DETECTIONS if 50 <= frame < 175 else boxes for frame, boxes in enumerate(seen)), gap=10.0)
    assert told[-1] == [1]


def test_a_shaking_camera_does_not_make_new_objects() -> None:
    """Its speed in one frame says nothing of the next."""
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(np.arange(8) * 60, np.arange(5) * 60), axis=-1).reshape(-1, 2) + 100
    frames = []
    for _ in range(100):
        seen = places[rng.random(40) > 0.1] + rng.normal(0, 3, 2)
        frames.append(boxes_at(*map(tuple, seen)))
    _, tracker = follow(*frames)
    assert len(tracker.tracks) <= 42


def test_scattered_false_alarms_do_not_become_objects() -> None:
    """Five strong ones a frame for ten seconds: those of different frames that chance to lie at one place made 97."""
    rng = np.random.default_rng(0)
    frames = [boxes_at(*map(tuple, rng.uniform([0, 0], [640, 512], (rng.poisson(5), 2)))) for _ in range(250)]
    _, tracker = follow(*frames)
    assert len(tracker.tracks) <= 3


def test_what_looks_like_two_classes_is_one_object() -> None:
    both = boxes_at((50, 40, 0.8, 0), (51, 40, 0.6, 1), (90, 40, 0.6, 1))
    told, tracker = follow(*[both] * 4, boxes_at((50, 40, 0.6, 0), (51, 40, 0.8, 1), (90, 40, 0.6, 1)))
    assert told[2:] == [[1, 0, 2]] * 3
    assert [track.label for track in tracker.tracks] == [0, 1]
    beside = boxes_at((50, 40, 0.8, 0), (60, 40, 0.6, 1))  # a third of both is common to them
    assert follow(*[beside] * 4)[0][-1] == [1, 2]
    shifted = boxes_at((50, 40, 0.8, 0), (54, 41, 0.6, 1))  # more than half
    assert follow(*[shifted] * 4)[0][-1] == [1, 0]


def test_a_camera_that_never_stops_is_not_remembered_for_ever() -> None:
    tracker, taken = Tracker([0.3], gap=0.2), []
    for frame in range(200):  # another object every 20 frames
        tracker.follow(boxes_at((50 + frame // 20 * 60, 40)), frame, frame / RATE)
        taken += tracker.take_finished()
        assert len(tracker.tracks) <= 2
    assert [track.number for track in taken] == list(range(1, 10))
    assert [track.number for track in tracker.tracks] == [10]
    assert all(track.num_sightings == 20 for track in taken)


def seen_boxes(*rows: tuple[float, ...]) -> ImageDetections:
    """Upright boxes (x, y, w, h, score, label), as far as they lie within 640 x 512 pixels."""
    table = np.array(rows).reshape(-1, 6)
    low, high = table[:, :2] - table[:, 2:4] / 2, table[:, :2] + table[:, 2:4] / 2
    low, high = low.clip(0, (640, 512)), high.clip(0, (640, 512))
    kept = (high - low > 5).all(axis=1)
    boxes = np.concatenate([(low + high) / 2, high - low, np.zeros((len(table), 1))], axis=1)[kept]
    return ImageDetections(
        boxes_to_quads(boxes, "le90"), table[kept, 4].astype(np.float32), table[kept, 5].astype(np.int64)
    )


def crossings(frames: list[ImageDetections], x: float) -> tuple[int, int, int]:
    """How many objects there are, and cross an upright line to its left and its right."""
    tracker, counter = Tracker([0.3, 0.3]), LineCounter(Line(x, 512, x, 0))
    for frame, boxes in enumerate(frames):
        for track, seen in tracker.follow(boxes, frame, frame / RATE)[1]:
            counter.see(track.number, seen.quad)
    return len(tracker.tracks), counter.counts["left"], counter.counts["right"]


@pytest.mark.parametrize(("length", "gap", "pace"), [(120, 20, 20), (40, 15, 15), (40, 20, 20)])
def test_a_convoy_is_counted_where_it_leaves(length: int, gap: int, pace: int) -> None:
    """The next to leave came to where the one before it was seen last, and took its number: 2 of 12 were counted."""
    rng = np.random.default_rng(0)
    spacing, frames = length + gap, []
    for step in range((640 + length + 12 * spacing) // pace):
        places = [pace * step - length / 2 - spacing * number for number in range(12)]
        frames.append(
            seen_boxes(*((*rng.normal((x, 250), 0.5), length, 26, 0.8, 0) for x in places if rng.random() > 0.05))
        )
    assert crossings(frames, 600) == (12, 0, 12)


def test_a_second_box_of_another_class_is_not_somebody_who_was_lost() -> None:
    """Half of the trucks have one in each frame; 34 went to the left, where none goes."""
    rng = np.random.default_rng(0)
    frames = []
    for step in range(260):
        rows = []
        for x in (10 * step - 60 - 140 * number for number in range(12)):
            rows.append((*rng.normal((x, 250), 1.0), 120, 26, 0.8, 0))
            if rng.random() < 0.5:
                rows.append((*rng.normal((x, 250), 2.0), 116, 25, 0.5, 1))
        frames.append(seen_boxes(*rows))
    assert crossings(frames, 600) == (12, 0, 12)


def test_who_enters_beside_who_left_is_somebody_else() -> None:
    """Lanes of both directions, 28 pixels apart."""
    rng = np.random.default_rng(0)
    frames = []
    for step in range(500):
        rows = []
        for lane in range(4):
            for number in range(15):
                x = 6 * step - 20 - 150 * number - 37 * lane
                x = 640 - x if lane % 2 else x
                if rng.random() > 0.1:
                    rows.append((*rng.normal((x, 200 + 28 * lane), 0.5), 40, 20, 0.8, 0))
        frames.append(seen_boxes(*rows))
    found = crossings(frames, 320)
    assert found[0] == pytest.approx(60, abs=2)
    assert found[1:] == (30, 30)


def test_after_a_break_everybody_is_new() -> None:
    tracker = Tracker([0.3])
    for frame in range(4):
        tracker.follow(boxes_at((50, 40)), frame, frame / RATE)
    assert [track.number for track in tracker.take_all()] == [1]
    assert tracker.tracks == []
    for frame in range(4, 8):
        numbers, _ = tracker.follow(boxes_at((50, 40)), frame, frame / RATE)
    assert numbers.tolist() == [2]


def test_parts_in_a_row_that_leave_are_not_taken_for_those_behind_them() -> None:
    """Evenly spaced on a belt, to the pixel: each comes to where the one before it was seen last."""
    frames = []
    for number in range(200):
        frames.append(boxes_at(*((x, 50) for x in range(6 * number % 60, 300, 60))))
    told, tracker = follow(*frames)
    assert len(tracker.tracks) == pytest.approx(5 + 20, abs=2)
    assert told[-1] == sorted(told[-1], reverse=True)


def test_what_cannot_be_followed_is_told_of() -> None:
    with pytest.raises(ValueError, match="a score for each class"):
        Tracker(0.3)
    tracker = Tracker([0.3])
    tracker.follow(boxes_at((50, 40)), 0, 0.0)
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"frame 1 is of second {seconds}, and the one before it of 0.0"):
            tracker.follow(boxes_at((50, 40)), 1, seconds)
    with pytest.raises(ValueError, match="frame 1 has a box with a corner that is no number"):
        tracker.follow(boxes_at((50, np.nan)), 1, 1.0)


def test_a_weak_box_goes_on_with_an_object_and_begins_none() -> None:
    told, tracker = follow(*[boxes_at((50, 40), (150, 40, 0.15))] * 4, *[boxes_at((50, 40, 0.15), (50, 90, 0.15))] * 30)
    assert told[4:] == [[1, 0]] * 30
    assert len(tracker.tracks) == 1
    told, _ = follow(*[boxes_at((50, 40))] * 4, *[boxes_at((50, 40, 0.05))] * 30)
    assert told[4:] == [[0]] * 30


def test_the_class_is_what_most_sightings_say() -> None:
    frames = [boxes_at((50, 40, 0.8, int(number in (2, 5)))) for number in range(8)]
    told, tracker = follow(*frames)
    assert told[2:] == [[1]] * 6
    assert tracker.tracks[0].label == 0


def test_of_two_boxes_the_one_of_its_class_is_taken() -> None:
    told, _ = follow(*[boxes_at((50, 40, 0.8, 0))] * 3, boxes_at((50, 40, 0.9, 1), (51, 40, 0.7, 0)))
    assert told[3] == [0, 1]


def test_each_class_begins_at_its_own_score() -> None:
    tracker = Tracker([0.2, 0.9], least_frames=1)
    assert tracker.follow(boxes_at((20, 20, 0.5, 0), (80, 20, 0.5, 1)), 0, 0.0)[0].tolist() == [1, 0]


def test_no_boxes_and_boxes_without_area_are_nothing() -> None:
    flat = ImageDetections(np.full((1, 4, 2), 30.0), np.array([0.9], np.float32), np.zeros(1, np.int64))
    told, tracker = follow(NO_DETECTIONS, flat, flat, flat, NO_DETECTIONS)
    assert told == [[], [0], [0], [0], []]
    assert not tracker.tracks


def test_enlarged_adds_the_margin_at_each_end() -> None:
    quad = boxes_at((50, 40, 0.8, 0, 0.3)).quads
    sides = np.hypot(*np.moveaxis(np.diff(enlarged(quad, 0.25), axis=1), -1, 0))
    np.testing.assert_allclose(sides[0, :2], [30, 15])
    np.testing.assert_allclose(enlarged(quad, 0.25).mean(axis=1), [[50, 40]])
    assert enlarged(NO_DETECTIONS.quads, 0.5).shape == (0, 4, 2)


@pytest.mark.parametrize("seed", range(4))
def test_a_crowd_with_gaps_and_false_alarms_keeps_nine_of_ten_numbers(seed: int) -> None:
    """60 objects at up to 4 pixels a frame, a tenth of the boxes missing, two false alarms a frame, a panning camera;
    by plain overlap without speeds, weak boxes and margins it is six of ten."""
    rng = np.random.default_rng(seed)
    places, angles = rng.uniform([0, 0], [640, 512], (60, 2)), rng.uniform(0, 2 * np.pi, 60)
    speeds, tracker = rng.uniform(0, 4, 60), Tracker([0.3])
    pairs: Counter[tuple[int, int]] = Counter()
    for frame in range(100):
        angles += rng.normal(0, 0.05, 60)
        places += np.stack([np.cos(angles), np.sin(angles)], axis=1) * speeds[:, None] + [2, 1]
        seen = np.flatnonzero(((places > 0) & (places < [640, 512])).all(axis=1) & (rng.random(60) > 0.1))
        rows = [(*(places[k] + rng.normal(0, 0.5, 2)), rng.uniform(0.2, 1), 0, angles[k]) for k in seen]
        rows += [(*rng.uniform([0, 0], [640, 512]), rng.uniform(0.1, 0.5), 0, 0.0) for _ in range(rng.poisson(2))]
        numbers, _ = tracker.follow(boxes_at(*rows), frame, frame / RATE)
        pairs.update((int(who), int(number)) for who, number in zip(seen, numbers, strict=False))
    most: Counter[int] = Counter()  # how often each was seen under the number that it had most often
    for (who, number), count in pairs.items():
        most[who] = max(most[who], count if number else 0)
    assert most.total() / pairs.total() > 0.9
    assert len(tracker.tracks) < 60 * 1.1


@given(st.lists(st.lists(st.tuples(*[st.floats(0, 60)] * 2, st.floats(0.1, 1.0)), max_size=6), max_size=8))
def test_numbers_are_those_of_the_sightings_and_each_box_has_one(frames: list[list[tuple[float, ...]]]) -> None:
    tracker = Tracker([0.3], least_frames=2)
    taken: set[tuple[int, int]] = set()
    for frame, rows in enumerate(frames):
        numbers, found = tracker.follow(boxes_at(*rows), frame, frame / RATE)
        assert sorted(numbers[numbers > 0]) == sorted(track.number for track, seen in found if seen.frame == frame)
        for track, seen in found:
            assert (track.number, seen.frame) not in taken
            taken.add((track.number, seen.frame))
    for number, track in enumerate(tracker.tracks, 1):
        assert track.number == number
        assert sum(who == number for who, _ in taken) == track.num_sightings >= 2
