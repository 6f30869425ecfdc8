"""Sparse heads: in the chosen cells what the whole maps say, gradients too, and the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from models import CTRBOX
from models.positives import Cells
from models.sparse_heads import heads_at
from tests.test_ctrbox import OddBackbone

HEADS = {"wh": (10, 3), "reg": (2, 1), "wide": (3, 5)}  # channels and kernel of the last convolution


def make_heads(norm: bool, *names: str) -> dict[str, nn.Sequential]:
    heads = {}
    for name in names or HEADS:
        channels, kernel = HEADS[name]
        layers = [nn.Conv2d(6, 16, 3, padding=1), *([nn.BatchNorm2d(16)] if norm else []), nn.ReLU(inplace=True)]
        heads[name] = nn.Sequential(*layers, nn.Conv2d(16, channels, kernel, padding=kernel // 2))
        if norm:  # as after some training
            nn.init.uniform_(layers[1].running_mean, -1, 1)
            nn.init.uniform_(layers[1].running_var, 0.5, 2)
    return heads


def cells_of(*places: tuple[int, int, int]) -> Cells:
    return Cells(*torch.tensor(places, dtype=torch.int64).reshape(-1, 3).T)


def dense_at(heads: dict[str, nn.Sequential], features: Tensor, cells: Cells) -> dict[str, Tensor]:
    return {name: head(features)[cells.image, :, cells.y, cells.x] for name, head in heads.items()}


# Corners, sides, neighbours, a lattice cell, one cell twice: in two images of 12 x 17 cells.
PLACES = [(0, 0, 0), (0, 0, 16), (1, 11, 0), (1, 11, 16), (0, 5, 0), (1, 0, 8), (0, 4, 4), (0, 4, 5), (0, 4, 5)]


@pytest.mark.parametrize("names", [("wh",), ("reg",), ("wide",), tuple(HEADS)])
@pytest.mark.parametrize(("norm", "training"), [(False, True), (False, False), (True, False)])
def test_the_chosen_cells_say_what_the_whole_map_says(names: tuple[str, ...], norm: bool, training: bool):
    """At the borders too, with kernels 1, 3 and 5, without batch norm and with a frozen one; gradients as well."""
    torch.manual_seed(0)
    heads, cells = make_heads(norm, *names), cells_of(*PLACES)
    results = []
    for compute in (dense_at, heads_at):
        features = torch.randn(2, 6, 12, 17, generator=torch.Generator().manual_seed(1), requires_grad=True)
        for head in heads.values():
            head.train(training).zero_grad()
        found = compute(heads, features, cells)
        sum(value.sin().sum() for value in found.values()).backward()
        grads = [parameter.grad.clone() for head in heads.values() for parameter in head.parameters()]
        results.append((found, [*grads, features.grad]))
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-5)


def test_channels_last_features_give_the_same():
    torch.manual_seed(0)
    heads, features = make_heads(False), torch.randn(2, 6, 12, 17)
    turned = features.to(memory_format=torch.channels_last)
    torch.testing.assert_close(heads_at(heads, turned, cells_of(*PLACES)), heads_at(heads, features, cells_of(*PLACES)))


@pytest.mark.parametrize("norm", [False, True])
def test_no_cells_give_no_rows_and_gradients_of_zero(norm: bool):
    """Distributed training waits for the gradient of every parameter, also where a batch holds no object."""
    heads, features = make_heads(norm), torch.randn(2, 6, 12, 17)
    found = heads_at(heads, features, cells_of())
    assert {name: tuple(value.shape) for name, value in found.items()} == {"wh": (0, 10), "reg": (0, 2), "wide": (0, 3)}
    sum(value.sum() for value in found.values()).backward()
    for head in heads.values():
        for name, parameter in head.named_parameters():
            assert parameter.grad is not None, name
            assert not parameter.grad.any(), name


@pytest.mark.parametrize("places", [[], [(0, 0, 0)], PLACES])
def test_the_statistics_of_a_batch_norm_in_training_are_finite(places: list[tuple[int, int, int]]):
    torch.manual_seed(0)
    heads, features = make_heads(True), torch.randn(2, 6, 12, 17, requires_grad=True)
    before = heads["wh"][1].running_var.clone()
    sum(value.square().sum() for value in heads_at(heads, features, cells_of(*places)).values()).backward()
    norm = heads["wh"][1]
    assert norm.running_mean.isfinite().all()
    assert norm.running_var.isfinite().all()
    assert not torch.equal(norm.running_var, before)
    assert features.grad.isfinite().all()


def test_the_lattice_keeps_the_statistics_near_those_of_the_whole_map():
    """A few cells with objects alone would give those of the objects; the maps of a test are mostly ground."""
    torch.manual_seed(0)
    features = torch.randn(2, 6, 64, 64)
    features[:, :, 30:33, 30:33] += 20
    dense, sparse = make_heads(True, "wh")["wh"], make_heads(True, "wh")["wh"]
    sparse.load_state_dict(dense.state_dict())
    with torch.no_grad():
        of_all, of_objects = dense[0](features).mean((0, 2, 3)), dense[0](features[:, :, 30:33, 30:33]).mean((0, 2, 3))
    dense(features)
    heads_at({"wh": sparse}, features, cells_of((0, 31, 31), (1, 31, 31)))
    drift = (sparse[1].running_mean - dense[1].running_mean).abs().mean()
    assert drift < 0.5 * dense[1].momentum * (of_objects - of_all).abs().mean()


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_where_objects_fill_the_map_the_heads_are_computed_whole():
    """Patches hold each feature nine times: of 2,000 objects on 608 x 608 they took nearly three times the memory."""
    torch.manual_seed(0)
    heads, features = make_heads(True), torch.randn(2, 6, 12, 17)
    everywhere = Cells(*(part.flatten() for part in torch.meshgrid(*map(torch.arange, (2, 12, 17)), indexing="ij")))

    def numbers_kept(compute: Callable) -> int:
        """For the gradient."""
        kept: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()), lambda _: None):
            compute(heads, features, everywhere)
        return sum(kept)

    assert numbers_kept(heads_at) < 1.5 * numbers_kept(dense_at)
    torch.testing.assert_close(heads_at(heads, features, everywhere), dense_at(heads, features, everywhere))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("count", [150, 3000])
def test_gradients_repeat_bit_for_bit_on_two_threads(count: int):
    """The gradient of `table[rows]` adds up in whatever order the threads come; then no run repeats."""
    torch.manual_seed(0)
    heads = make_heads(True, "wh")
    places = torch.stack([torch.randint(0, side, (count,)) for side in (2, 64, 64)])
    start = torch.randn(2, 6, 64, 64)
    grads = []
    for _ in range(4):
        features = start.clone().requires_grad_()
        heads["wh"].zero_grad()
        heads_at(heads, features, Cells(*places))["wh"].sin().sum().backward()
        grads.append([features.grad, *(parameter.grad.clone() for parameter in heads["wh"].parameters())])
    for again in grads[1:]:
        assert all(torch.equal(a, b) for a, b in zip(grads[0], again, strict=True))


@pytest.mark.parametrize("head_norm", ["none", "batch", "layer"])
def test_the_network_says_the_same_in_cells_as_everywhere(head_norm: str):
    torch.manual_seed(0)
    network, cells = CTRBOX(2, OddBackbone(), head_norm).eval(), cells_of((0, 0, 0), (1, 15, 7), (1, 3, 3))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network(images, cells), network(images).at(cells), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head_norm", ["none", "layer"])
def test_without_a_batch_norm_training_in_cells_is_training_on_the_whole_map(head_norm: str):
    """With one the cells' own statistics are taken, and by how many objects there are they differ."""
    torch.manual_seed(0)
    network, cells = CTRBOX(2, OddBackbone(), head_norm).train(), cells_of((0, 0, 0), (1, 15, 7), (1, 3, 3))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network(images, cells), network(images).at(cells), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head_norm", ["none", "batch", "layer"])
def test_where_no_cell_is_chosen_every_parameter_still_has_its_part(head_norm: str):
    """Several processes wait for the gradients of all of them."""
    network, nowhere = CTRBOX(2, OddBackbone(), head_norm).train(), cells_of()
    maps = network(torch.randn(2, 3, 64, 64), nowhere)
    assert [tuple(part.shape) for part in maps[1:]] == [(0, 10), (0, 2), (0, 1)]
    sum(part.sum() for part in maps).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
