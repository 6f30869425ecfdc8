"""What training minimises and how, by the settings: the loss, the optimiser, the learning rate of a step."""

from __future__ import annotations

import math

import torch

from models import CTRBOX, BBAVectorsLoss
from tools.config import Config


def make_criterion(config: Config) -> BBAVectorsLoss:
    """The loss with the weights of the settings."""
    return BBAVectorsLoss(
        wh_weight=config.vector_weight,
        cls_theta_weight=config.theta_weight,
        box_weight=config.box_weight,
        vector_beta=config.vector_beta,
        rotated_weight=config.rotated_weight,
        positive_radius=config.positive_radius,
    )


def make_optimizer(model: CTRBOX, config: Config) -> torch.optim.Optimizer:
    """Over what is trained of the model; no weight decay on biases and batch norms."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.init_lr, momentum=0.9, nesterov=True, fused=True)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimizer]
    return kind(groups, lr=config.init_lr, fused=True)


def learning_rate(config: Config, step: int, num_steps: int, steps_per_epoch: int) -> float:
    """The rate of a step: linear warm-up, then half a cosine to zero, or a factor an epoch. A function of the step
    alone, so that nothing about it needs saving."""
    warmup = round(num_steps * config.warmup)
    if step < warmup:
        return config.init_lr * (step + 1) / warmup
    if config.schedule == "exponential":
        return config.init_lr * config.lr_decay ** (step // steps_per_epoch)
    return config.init_lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))
