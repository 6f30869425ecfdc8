"""One step of training and what drives it: learning rate, optimiser, loss, gradient."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import nn

from datasets.targets import Targets
from models import CTRBOX, BBAVectorsLoss
from tools.config import Config

WARMUP_FRACTION = 0.05
WEIGHT_DECAY = 0.01
CLIP_NORM = 35.0


def learning_rate(config: Config, step: int, num_steps: int) -> float:
    """The rate of a step: linear warm-up over a twentieth of all steps, then half a cosine to zero. A function of the
    step alone, so that nothing about it needs saving."""
    warmup = max(1, round(num_steps * WARMUP_FRACTION))
    if step < warmup:
        return config.init_lr * (step + 1) / warmup
    return config.init_lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def train_step(
    model: CTRBOX,
    criterion: BBAVectorsLoss,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    targets: Targets,
    dtype: torch.dtype,
) -> tuple[dict[str, float], bool]:
    """One step on normalised images (B, 3, H, W): the loss terms, and whether the step was taken. With a loss or a
    gradient that is not finite the weights stay as they are."""
    reduced = torch.autocast(images.device.type, dtype) if dtype != torch.float32 else nullcontext()
    with reduced:
        maps = model(images)
    terms = criterion(maps, targets)
    values = {name: float(value.detach()) for name, value in terms.items()}
    optimizer.zero_grad(set_to_none=True)
    if not math.isfinite(values["total"]):
        return values, False
    terms["total"].backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
    if not torch.isfinite(norm):
        optimizer.zero_grad(set_to_none=True)
        return values, False
    optimizer.step()
    return values, True


def make_optimizer(model: CTRBOX, rate: float) -> torch.optim.Optimizer:
    """AdamW; no weight decay on biases and batch norms."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, fused=True)
