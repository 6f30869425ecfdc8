"""How long a training is: its pictures, epochs and steps, and the rate at each of these."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tools.config import Config
from tools.training.optimizer import learning_rate


@dataclass(frozen=True)
class Schedule:
    """num_samples: pictures of the data. Epochs and steps are counted from 0."""

    config: Config
    num_samples: int

    @property
    def steps_per_epoch(self) -> int:
        """Of a whole one."""
        return math.ceil(self.num_samples / self.config.batch_size)

    @property
    def num_epochs(self) -> int:
        """Epochs to begin; with --num_images the last one may be a part."""
        if self.config.num_images is None:
            return self.config.num_epoch
        return math.ceil(self.config.num_images / self.num_samples)

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        whole = self.num_epochs - 1
        return whole * self.steps_per_epoch + self.steps_in(whole)

    def images_in(self, epoch: int) -> int:
        """Pictures of an epoch."""
        if self.config.num_images is None:
            return self.num_samples
        return min(self.num_samples, self.config.num_images - epoch * self.num_samples)

    def steps_in(self, epoch: int) -> int:
        """Steps of an epoch."""
        return math.ceil(self.images_in(epoch) / self.config.batch_size)

    def images_at(self, epoch: int, step: int) -> int:
        """Pictures of a step of an epoch, of all processes."""
        return min(self.config.batch_size, self.images_in(epoch) - step * self.config.batch_size)

    def step_number(self, epoch: int, step: int) -> int:
        """The number of a step of an epoch among all steps of the run."""
        return epoch * self.steps_per_epoch + step

    def rate(self, number: int) -> float:
        """The learning rate of step `number`."""
        return learning_rate(self.config, number, self.num_steps, self.steps_per_epoch)
