"""Positives: the published choice at radius 0, and around it every cell asked for the box of its nearest centre."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.positives import Positives, find_positives
from tests.test_losses import make_targets

SIDE = 8
CENTRES = st.lists(st.tuples(st.floats(0, SIDE - 0.01), st.floats(0, SIDE - 0.01)), max_size=6)


def targets_of(*images: list[tuple[float, float]]) -> SimpleNamespace:
    """Targets of images with objects at these centres (x, y), in cells; `wh` holds the number of the object."""
    slots = max(1, *(len(centres) for centres in images)) + 1  # one at least is padding
    targets = SimpleNamespace(
        hm=torch.zeros(len(images), 1, SIDE, SIDE),
        wh=torch.full((len(images), slots, 10), math.nan),
        reg=torch.full((len(images), slots, 2), math.nan),
        cls_theta=torch.full((len(images), slots, 1), math.nan),
        ind=torch.full((len(images), slots), SIDE * SIDE - 1),
        mask=torch.zeros(len(images), slots, dtype=torch.bool),
    )
    for image, centres in enumerate(images):
        for slot, (x, y) in enumerate(centres):
            targets.wh[image, slot] = slot
            targets.reg[image, slot] = torch.tensor([x % 1, y % 1])
            targets.cls_theta[image, slot] = slot % 2
            targets.ind[image, slot] = int(y) * SIDE + int(x)
            targets.mask[image, slot] = True
    return targets


def owners(found: Positives) -> dict[tuple[int, int, int], int]:
    """{(image, y, x): number of the object that the cell is trained for}."""
    places = zip(*(part.tolist() for part in found.cells), strict=True)
    return dict(zip(places, found.wh[:, 0].int().tolist(), strict=True))


def test_radius_0_lists_the_cells_of_the_centres_as_they_are():
    targets = make_targets(2, SIDE, num_objects=5)
    found = find_positives(targets)
    assert torch.equal(found.cells.image * SIDE**2 + found.cells.y * SIDE + found.cells.x, _flat(targets))
    for name in ("wh", "reg", "cls_theta"):
        assert torch.equal(getattr(found, name), getattr(targets, name)[targets.mask])
    assert torch.equal(found.weight, torch.ones(10))
    assert found.totals.tolist() == [10, 10]


def _flat(targets: SimpleNamespace) -> torch.Tensor:
    image, slot = targets.mask.nonzero(as_tuple=True)
    return image * SIDE**2 + targets.ind[image, slot]


def test_radius_0_keeps_two_objects_of_one_cell():
    found = find_positives(targets_of([(3.2, 3.2), (3.7, 3.7)]))
    assert found.wh[:, 0].tolist() == [0, 1]
    assert found.totals.tolist() == [2, 2]


@pytest.mark.parametrize("radius", [1, 2])
def test_a_lone_object_is_seen_from_its_whole_neighbourhood(radius: int):
    found = find_positives(targets_of([(3.25, 4.5)]), radius)
    assert len(found.weight) == (2 * radius + 1) ** 2
    seen_from = torch.stack((found.cells.x, found.cells.y), dim=-1) + found.reg
    torch.testing.assert_close(seen_from, torch.tensor([3.25, 4.5]).expand_as(seen_from))
    distance = (found.cells.x - 3) ** 2 + (found.cells.y - 4) ** 2
    torch.testing.assert_close(found.weight, torch.exp(-distance / (2 * 0.7**2)))
    assert found.weight.max() == 1
    assert found.totals.tolist() == pytest.approx([1, found.weight.sum().item()])


def test_the_nearest_centre_gets_the_cell():
    """Centres in columns 2 and 4: the column between them goes to the one that is nearer to its middle, 3.5."""
    found = owners(find_positives(targets_of([(2.9, 3.5), (4.9, 3.5)]), radius=1))
    assert {found[0, y, 3] for y in (2, 3, 4)} == {0}
    assert len(found) == 15
    found = owners(find_positives(targets_of([(2.1, 3.5), (4.1, 3.5)]), radius=1))
    assert {found[0, y, 3] for y in (2, 3, 4)} == {1}


def test_of_two_objects_in_one_cell_the_one_nearer_to_its_middle_is_trained():
    found = find_positives(targets_of([(3.1, 3.1), (3.6, 3.6)]), radius=1)
    assert owners(found)[0, 3, 3] == 1
    assert len(found.weight) == 9
    assert found.totals[0] == 2  # for the heat map both count


@pytest.mark.parametrize(("centre", "cells"), [((0.5, 0.5), 4), ((7.5, 7.5), 4), ((0.5, 4.5), 6), ((4.5, 7.5), 6)])
def test_cells_beyond_the_border_fall_away(centre: tuple[float, float], cells: int):
    """And do not come back in at the other side, or in the next image."""
    found = find_positives(targets_of([], [centre], []), radius=1)
    assert len(found.weight) == cells
    assert found.cells.image.tolist() == [1] * cells
    reach = (found.cells.x - int(centre[0])).abs().max(), (found.cells.y - int(centre[1])).abs().max()
    assert reach == (1, 1)


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_without_objects_there_are_no_cells(radius: int):
    found = find_positives(targets_of([], []), radius)
    assert [tuple(part.shape) for part in (*found.cells, *found[1:4])] == [(0,)] * 3 + [(0, 10), (0, 2), (0, 1)]
    assert found.totals.tolist() == [0, 0]
    no_slots = SimpleNamespace(**{name: value[:, :0] for name, value in vars(targets_of([])).items()})
    no_slots.hm = torch.zeros(1, 1, SIDE, SIDE)
    assert find_positives(no_slots, radius).totals.tolist() == [0, 0]


@settings(deadline=None, max_examples=60)
@given(first=CENTRES, second=CENTRES, radius=st.integers(0, 3))
def test_every_cell_has_its_nearest_object_and_no_padding(first, second, radius):
    images = [[tuple(map(_float32, centre)) for centre in centres] for centres in (first, second)]
    found = find_positives(targets_of(*images), radius)
    assert all(part.isfinite().all() for part in (found.wh, found.reg, found.cls_theta, found.weight))
    assert ((found.weight > 0) & (found.weight <= 1)).all()
    claims: dict[tuple[int, int, int], dict[int, float]] = {}
    for image, centres in enumerate(images):
        for slot, (cx, cy) in enumerate(centres):
            for y in range(max(0, int(cy) - radius), min(SIDE, int(cy) + radius + 1)):
                for x in range(max(0, int(cx) - radius), min(SIDE, int(cx) + radius + 1)):
                    claims.setdefault((image, y, x), {})[slot] = math.dist((cx, cy), (x + 0.5, y + 0.5))
    chosen = owners(found)
    assert chosen.keys() == claims.keys()
    if radius:
        assert len(found.weight) == len(claims)  # once each
        for place, slot in chosen.items():
            assert claims[place][slot] <= min(claims[place].values()) + 1e-5


def _float32(value: float) -> float:
    return torch.tensor(value, dtype=torch.float32).item()


@settings(deadline=None, max_examples=40)
@given(images=st.lists(CENTRES, min_size=2, max_size=4), radius=st.integers(0, 2))
def test_the_parts_of_a_batch_list_what_the_whole_does(images, radius):
    """So that the parts of an accumulated or distributed batch add up."""
    whole = find_positives(targets_of(*images), radius)
    parts = [find_positives(targets_of(centres), radius) for centres in images]
    torch.testing.assert_close(sum(part.totals for part in parts), whole.totals)
    for number in range(1, 5):
        assert torch.equal(torch.cat([part[number] for part in parts]), whole[number])
