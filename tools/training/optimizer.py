"""What training minimises and how, by the settings: the loss, the optimiser, the learning rate of a step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from models import CTRBOX, BBAVectorsLoss
from tools.config import Config
from tools.training.transfer import BASE


def make_criterion(config: Config) -> BBAVectorsLoss:
    """The loss with the weights of the settings; `vector_weight` is that of the head `wh`, `theta_weight` that of
    `cls_theta`."""
    return BBAVectorsLoss(
        wh_weight=config.vector_weight,
        cls_theta_weight=config.theta_weight,
        box_weight=config.box_weight,
        vector_beta=config.vector_beta,
        rotated_weight=config.rotated_weight,
        positive_radius=config.positive_radius,
        better_box=config.theta_rule == "better",
    )


def make_optimizer(model: CTRBOX, config: Config) -> torch.optim.Optimizer:
    """Over what is trained of the model; weight decay on the weights of convolutions, linear layers and attention alone
    (not on biases, norms, and tables of a transformer), a rate of its own for the backbone (`lr_scale` of a group: what
    the rate of a step is multiplied by)."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    decayed = {id(module.weight) for module in model.modules() if isinstance(module, kinds)}
    decayed |= {id(layer.in_proj_weight) for layer in model.modules() if isinstance(layer, nn.MultiheadAttention)}
    groups = []
    for is_decayed, decay in ((True, config.weight_decay), (False, 0.0)):
        # The backbone first, as in the model: the order over all groups is that of runs that had no such groups.
        for is_backbone, scale in ((True, config.backbone_lr_scale), (False, 1.0)):
            parameters = [
                parameter
                for name, parameter in model.named_parameters()
                if parameter.requires_grad
                and (id(parameter) in decayed, name.startswith(BASE)) == (is_decayed, is_backbone)
            ]
            groups.append(
                {"params": parameters, "weight_decay": decay, "lr": config.init_lr * scale, "lr_scale": scale}
            )
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.init_lr, momentum=0.9, nesterov=True, fused=True)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimizer]
    return kind(groups, lr=config.init_lr, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Take the next steps at this rate, each group at its share of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping) -> None:
    """Go on from what an optimiser of the same model remembers of each parameter, in whatever groups it had them; rates
    and weight decay are those of the settings now. Raises ValueError for the state of other parameters."""
    groups = optimizer.state_dict()["param_groups"]
    counts = [sum(len(group["params"]) for group in part) for part in (saved["param_groups"], groups)]
    if counts[0] != counts[1]:
        raise ValueError(f"it is of {counts[0]} parameters, and {counts[1]} are trained; another --freeze?")
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    for parameter, state in optimizer.state.items():
        for name, values in state.items():
            if torch.is_tensor(values) and values.ndim:
                if values.shape != parameter.shape:
                    raise ValueError("it is of other parameters, or of the same in another order")
                # In the parameter's order in memory, which device and precision choose: a fused step does not look.
                state[name] = torch.empty_like(parameter, dtype=values.dtype).copy_(values)


def learning_rate(config: Config, step: int, num_steps: int, steps_per_epoch: int) -> float:
    """The rate of a step: linear warm-up, then half a cosine to zero, or a factor an epoch. A function of the step
    alone, so that nothing about it needs saving."""
    warmup = round(num_steps * config.warmup)
    if step < warmup:
        return config.init_lr * (step + 1) / warmup
    if config.schedule == "exponential":
        return config.init_lr * config.lr_decay ** (step // steps_per_epoch)
    return config.init_lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))
