"""One step: taken whole or not at all, the same in parts, clipped, and harmless where there is nothing to learn."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from datasets.loader import blank_batch
from datasets.targets import Targets, make_targets
from DOTA_devkit.boxes import boxes_to_quads
from models import CTRBOX, IMAGENET, BBAVectorsLoss
from tests.test_ctrbox import OddBackbone
from tools.config import Config
from tools.engine import Engine
from tools.setting_flags import parse_settings
from tools.training.optimizer import make_criterion, make_optimizer
from tools.training.training_step import TrainingStep

INPUT_HW = (64, 64)


def make_batch(num_images: int, seed: int = 0, num_objects: int | None = None) -> tuple[torch.Tensor, Targets]:
    """Noise with 0, 1, 2 ... objects in the images, or `num_objects` in each."""
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.integers(0, 256, (num_images, *INPUT_HW, 3), dtype=np.uint8))
    targets = []
    for image in range(num_images):
        count = image if num_objects is None else num_objects
        boxes = np.column_stack(
            (rng.uniform(8, 56, (count, 2)), rng.uniform(6, 24, (count, 2)), rng.uniform(0, 3, count))
        )
        quads = boxes_to_quads(boxes, "rolabelimg")
        targets.append(make_targets(quads, rng.integers(0, 2, count), np.zeros(count, bool), 2, INPUT_HW))
    most = max(1, *(len(target.mask) for target in targets))
    fields = []
    for name in Targets._fields:
        parts = [torch.from_numpy(getattr(target, name)) for target in targets]
        if name != "hm":
            parts = [torch.cat((part, part.new_zeros(most - len(part), *part.shape[1:]))) for part in parts]
        fields.append(torch.stack(parts))
    return images, Targets(*fields)


def make_step(
    freeze_norm: str = "none",
    optimizer: str = "sgd",
    rate: float = 0.01,
    precision: str = "fp32",
    device: str = "cpu",
    **options: float,
) -> TrainingStep:
    """A step of a small network with batch norms, the same at every call; `options` as TrainingStep's."""
    torch.manual_seed(0)
    network = CTRBOX(2, OddBackbone(), head_norm="batch")
    network.freeze(0, freeze_norm)
    engine = Engine(device, precision)
    model, optimizer = engine.prepare(network, make_optimizer(network, Config(optimizer=optimizer, init_lr=rate)))
    criterion = BBAVectorsLoss(box_weight=1.0, positive_radius=1)
    return TrainingStep(engine, model.train(), optimizer, criterion, IMAGENET, **options)


def without_decay(step: TrainingStep) -> None:
    for group in step.optimizer.param_groups:
        group["weight_decay"] = 0.0


def state_of(step: TrainingStep) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in step.model.state_dict().items()}


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    return max((first[name].double() - second[name].double()).abs().max().item() for name in first)


def test_a_step_learns_and_tells_its_terms():
    step = make_step()
    before, result = state_of(step), step(*make_batch(4))
    assert result.taken
    assert not result.stop
    assert set(result.terms) == {"hm", "wh", "reg", "cls_theta", "box", "total"}
    assert result.terms["total"] == pytest.approx(sum(value for name, value in result.terms.items() if name != "total"))
    after = state_of(step)
    assert not torch.equal(after["wh.3.weight"], before["wh.3.weight"])
    assert not torch.equal(after["wh.1.running_mean"], before["wh.1.running_mean"])
    losses = [step(*make_batch(4)).terms["total"] for _ in range(8)]
    assert losses[-1] < 0.8 * result.terms["total"]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("flags", "recorded"),
    [
        ("--recipe default", [3.418365, 3.371249, 3.475981]),
        ("--recipe default --head_norm batch", [3.456007, 3.459738, 3.540174]),
        ("--recipe default --head_norm batch --theta_rule tilt", [4.090446, 3.857430, 3.615479]),
        ("--recipe published", [3.240260, 3.072305, 2.937147]),
    ],
)
def test_the_losses_of_three_steps_of_a_recipe_are_the_recorded_ones(flags: str, recorded: list[float]):
    """A refactor may not move training. Recorded with this very test on torch 2.13.0+cpu, one thread, AMD EPYC; of the
    first two rows on an Intel Xeon."""
    config = parse_settings(flags.split())
    torch.manual_seed(0)
    network = CTRBOX(2, OddBackbone(), head_norm=config.head_norm)
    engine = Engine("cpu", "fp32")
    model, optimizer = engine.prepare(network, make_optimizer(network, config))
    step = TrainingStep(
        engine,
        model.train(),
        optimizer,
        make_criterion(config),
        IMAGENET,
        clip_norm=config.clip_norm,
        sparse=config.sparse_heads,
        num_parts=config.accumulate,
    )
    losses = [step(*make_batch(4)).terms["total"] for _ in range(3)]
    assert losses == pytest.approx(recorded, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("num_parts", [1, 2])
@pytest.mark.parametrize("where", ["wh.0.weight", "hm.3.bias", "base_network.stages.0.weight"])
def test_a_step_that_is_not_finite_leaves_weights_and_batch_norms(
    optimizer: str, num_parts: int, where: str, monkeypatch: pytest.MonkeyPatch
):
    """Known defect 3: the published code prints NaN and steps anyway. The statistics of the batch norms, which the
    forward pass has changed by then, are put back, and the state of the optimiser is as it was."""
    step = make_step(optimizer=optimizer, num_parts=num_parts)
    step(*make_batch(4))
    before, state = state_of(step), step.optimizer.state_dict()
    counts = [entry.get("step", torch.zeros(())).clone() for entry in state["state"].values()]
    parameter = dict(step.model.named_parameters())[where]
    hook = parameter.register_hook(lambda grad: grad * math.nan)
    assert not step(*make_batch(4, seed=1)).taken
    assert largest_difference(before, state_of(step)) == 0
    after = [entry.get("step", torch.zeros(())) for entry in step.optimizer.state_dict()["state"].values()]
    assert all(torch.equal(a, b) for a, b in zip(counts, after, strict=True))
    hook.remove()
    assert step(*make_batch(4, seed=2)).taken
    assert all(value.isfinite().all() for value in state_of(step).values())


def test_maps_that_are_not_finite_leave_everything_too():
    step = make_step()
    step(*make_batch(4))
    with torch.no_grad():
        weight = dict(step.model.named_parameters())["base_network.stages.0.weight"]
        kept = weight.clone()
        weight.fill_(math.inf)
    before = state_of(step)
    result = step(*make_batch(4))
    assert not result.taken
    assert not math.isfinite(result.terms["total"])
    after = state_of(step)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    with torch.no_grad():
        weight.copy_(kept)
    assert step(*make_batch(4)).taken


@pytest.mark.parametrize("num_parts", [2, 3, 4, 9])
@pytest.mark.parametrize("sparse", [True, False])
def test_parts_of_a_batch_teach_what_the_whole_does(num_parts: int, sparse: bool):
    """With frozen batch norms; the images hold 0, 1, 2 and 3 objects, so a mean of the parts' losses would differ."""
    whole = make_step("all", sparse=sparse)
    parts = make_step("all", sparse=sparse, num_parts=num_parts)
    start = state_of(whole)
    for seed in range(3):
        first, second = whole(*make_batch(4, seed)), parts(*make_batch(4, seed))
        assert first.terms == pytest.approx(second.terms, rel=1e-5)
    assert largest_difference(state_of(whole), state_of(parts)) < 1e-6
    assert largest_difference(state_of(whole), start) > 1e-3


def test_sparse_heads_teach_what_whole_ones_do():
    dense, sparse = make_step("all", sparse=False), make_step("all", sparse=True)
    for seed in range(3):
        dense(*make_batch(4, seed))
        sparse(*make_batch(4, seed))
    assert largest_difference(state_of(dense), state_of(sparse)) < 1e-5


def test_a_longer_gradient_is_shortened():
    """Of SGD's first step (Nesterov momentum 0.9) the length is 1.9 times rate and gradient."""
    moved = {}
    for clip_norm in (0.0, 1e9, 0.5):
        step = make_step("all", clip_norm=clip_norm, rate=0.01)
        without_decay(step)
        before = state_of(step)
        step(*make_batch(4, num_objects=3))
        after = state_of(step)
        length = math.sqrt(sum((after[name] - before[name]).double().square().sum().item() for name in before))
        moved[clip_norm] = length / (0.01 * 1.9)
    assert moved[0.5] == pytest.approx(0.5, rel=1e-3)
    assert moved[0.0] == pytest.approx(moved[1e9])
    assert moved[0.0] > 1


def test_a_blank_batch_of_an_empty_share_teaches_nothing():
    """Another process's loss and gradient must not change by this one's having no pictures, nor its own statistics by
    the blank one: they may be those that are saved."""
    step = make_step()
    without_decay(step)
    before, blank = state_of(step), blank_batch(2, INPUT_HW)
    result = step(blank.images, blank.targets, is_blank=True)
    assert result.taken
    assert not any(result.terms.values())
    assert largest_difference(before, state_of(step)) == 0
    assert all(not parameter.grad.any() for parameter in step.model.parameters() if parameter.requires_grad)


def test_images_without_objects_teach_the_background_only():
    step = make_step("all")
    result = step(*make_batch(2, num_objects=0))
    assert result.taken
    assert result.terms["total"] == result.terms["hm"] > 0


@pytest.mark.parametrize("asked", [True, False])
def test_a_wish_to_stop_comes_back_with_the_step(asked: bool):
    step = make_step("all")
    result = step(*make_batch(2), asked)
    assert (result.stop, result.taken) == (asked, True)


def test_bf16_learns_and_keeps_its_weights_in_float32():
    step = make_step(precision="bf16")
    losses = [step(*make_batch(4, num_objects=2)).terms["total"] for _ in range(6)]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
    assert {value.dtype for value in step.model.parameters()} == {torch.float32}


def test_a_gradient_that_overflows_takes_no_step_and_is_told_to_the_scaler():
    """A first step of fused SGD would begin its momentum with whatever lies in memory."""
    step, told = make_step(), []
    scaler = SimpleNamespace(
        scale=lambda loss: loss * math.inf, update=lambda: told.append("update"), get_scale=lambda: 2.0
    )
    step.engine.accelerator.scaler = scaler
    before = state_of(step)
    result = step(*make_batch(4, num_objects=2))
    assert not result.taken
    assert result.overflow
    assert told == ["update"]
    assert largest_difference(before, state_of(step)) == 0
    assert not step.optimizer.state


@pytest.mark.skipif(not torch.cuda.is_available(), reason="accelerate scales gradients of fp16 on GPUs only")
@pytest.mark.parametrize("clip_norm", [0.0, 35.0])
def test_an_overflow_of_the_scaled_gradient_leaves_the_weights_and_lowers_the_scale(clip_norm: float):
    """The scaler begins high and comes down by steps that are not taken."""
    step = make_step(precision="fp16", device="cuda", clip_norm=clip_norm)
    scaler = step.engine.accelerator.scaler
    scaler.update(2.0**40)
    before = state_of(step)
    assert not step(*make_batch(4, num_objects=2)).taken
    assert largest_difference(before, state_of(step)) == 0
    assert scaler.get_scale() == 2.0**39
    while not step(*make_batch(4, num_objects=2)).taken:
        assert scaler.get_scale() > 1
    assert largest_difference(before, state_of(step)) > 0
    assert all(value.isfinite().all() for value in state_of(step).values())
