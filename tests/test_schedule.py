"""How long a run is: whole epochs, a part of one, a data set smaller than a batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.config import Config
from tools.training.schedule import Schedule


def test_epochs_are_whole_and_the_last_batch_of_each_may_be_smaller() -> None:
    schedule = Schedule(Config(num_epoch=3, batch_size=4), 10)
    assert (schedule.num_epochs, schedule.steps_per_epoch, schedule.num_steps) == (3, 3, 9)
    assert [schedule.images_at(1, step) for step in range(3)] == [4, 4, 2]
    assert schedule.step_number(2, 1) == 7


def test_a_number_of_pictures_ends_within_an_epoch() -> None:
    schedule = Schedule(Config(num_epoch=99, num_images=27, batch_size=4), 10)
    assert (schedule.num_epochs, schedule.num_steps) == (3, 8)
    assert [schedule.images_in(epoch) for epoch in range(3)] == [10, 10, 7]
    assert [schedule.images_at(2, step) for step in range(2)] == [4, 3]


@given(
    num_samples=st.integers(1, 50),
    batch_size=st.integers(1, 60),
    num_images=st.none() | st.integers(1, 200),
    num_epoch=st.integers(1, 5),
)
def test_every_step_has_pictures_and_together_they_are_those_of_the_run(
    num_samples: int, batch_size: int, num_images: int | None, num_epoch: int
) -> None:
    schedule = Schedule(Config(num_epoch=num_epoch, num_images=num_images, batch_size=batch_size), num_samples)
    steps = [(epoch, step) for epoch in range(schedule.num_epochs) for step in range(schedule.steps_in(epoch))]
    sizes = [schedule.images_at(*step) for step in steps]
    assert min(sizes) >= 1
    assert sum(sizes) == (num_epoch * num_samples if num_images is None else num_images)
    assert [schedule.step_number(*step) for step in steps] == list(range(schedule.num_steps))


def test_the_rate_ends_near_nought() -> None:
    schedule = Schedule(Config(num_epoch=4, batch_size=1, init_lr=1.0, warmup=0.25), 10)
    assert max(schedule.rate(number) for number in range(40)) == pytest.approx(1.0)
    assert schedule.rate(39) < 0.01
