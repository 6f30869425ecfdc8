"""Heads in chosen cells only: what training reads of three of the four heads, at a fraction of their cost.

The loss reads vectors, offset and orientation in a few hundred of the tens of thousands of cells; to compute them
everywhere takes a third of a training step and most of its memory. The result is that of the whole map, but for batch
norms in training, whose statistics are those of the cells computed here: the chosen ones, their neighbours, and a
lattice over the map that stands for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.freezing import batch_norms
from models.positives import Cells

LATTICE = 8  # cells between the lines of the lattice
# Share of all cells beyond which whole heads take less memory: of three heads of 256 channels on features of 64 and
# 256, the patches of all cells and what is made of them take about 2 and 3 times as much.
WORTH_IT = 0.4


class HiddenCells(NamedTuple):
    """The Q cells whose hidden values P chosen ones need, and the number of each cell among them, (B, h + 2 reach,
    w + 2 reach) int64 with a border, Q where there is none."""

    cells: Cells
    number: Tensor
    reach: int


def heads_at(
    heads: Mapping[str, nn.Sequential], features: Tensor, cells: Cells, hidden: HiddenCells | None = None
) -> dict[str, Tensor]:
    """Compute the heads of features (B, c, h, w) in P cells: {name: (P, channels)}.

    Each head is a 3x3 convolution, [norm,] ReLU and a convolution of an odd kernel, all padded with zeros.
    `hidden`: what `hidden_cells` found for these heads and cells, where it is at hand. Where these are most of the map,
    the heads are computed whole, with the batch norm statistics of all cells.
    """
    batch, _, height, width = features.shape
    hidden = hidden_cells(heads, (batch, height, width), cells) if hidden is None else hidden
    if len(hidden.cells.image) > WORTH_IT * batch * height * width:
        place = (cells.image * height + cells.y) * width + cells.x
        return {name: _rows(head(features).permute(0, 2, 3, 1).flatten(0, 2), place) for name, head in heads.items()}
    patches = _patches(features, hidden.cells)
    return {name: _head_at(head, patches, hidden, cells) for name, head in heads.items()}


def hidden_cells(heads: Mapping[str, nn.Sequential], maps: tuple[int, int, int], cells: Cells) -> HiddenCells:
    """List the cells whose hidden values the heads need for P cells of maps (B, h, w); with batch norms in the heads
    also the lattice's."""
    batch, height, width = maps
    reach, device = max(head[-1].kernel_size[0] // 2 for head in heads.values()), cells.image.device
    is_wanted = torch.zeros(batch, height + 2 * reach, width + 2 * reach, dtype=torch.bool, device=device)
    around = torch.arange(2 * reach + 1, device=device)
    is_wanted[cells.image[:, None, None], cells.y[:, None, None] + around[:, None], cells.x[:, None, None] + around] = (
        True
    )
    inner = is_wanted[:, reach : reach + height, reach : reach + width]
    if any(batch_norms(head) for head in heads.values()):
        inner[:, LATTICE // 2 :: LATTICE, LATTICE // 2 :: LATTICE] = True
    wanted = Cells(*inner.nonzero(as_tuple=True))
    number = torch.full(is_wanted.shape, len(wanted.image), device=device)
    order = torch.arange(len(wanted.image), device=device)
    number[wanted.image, wanted.y + reach, wanted.x + reach] = order
    return HiddenCells(wanted, number, reach)


def _patches(features: Tensor, cells: Cells) -> Tensor:
    """Cut the 3x3 neighbourhoods of the cells out of (B, c, h, w): (Q, 9 c), row by row, channels last."""
    padded = functional.pad(features, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    _, height, width, channels = padded.shape
    corner = (cells.image * height + cells.y) * width + cells.x
    rows = torch.arange(3, device=features.device)
    steps = (rows[:, None] * width + rows).flatten()
    return _rows(padded.reshape(-1, channels), corner[:, None] + steps).flatten(1)


def _head_at(head: nn.Sequential, patches: Tensor, wanted: HiddenCells, cells: Cells) -> Tensor:
    number, reach = wanted.number, wanted.reach
    first, *between, last = head
    hidden = functional.linear(patches, _as_matrix(first), first.bias)[:, :, None, None]
    for layer in between:
        hidden = layer(hidden)
    hidden = hidden.flatten(1)
    hidden = torch.cat((hidden, hidden.new_zeros(1, hidden.shape[1])))  # the last row is the zero padding
    kernel = last.kernel_size[0]
    around = torch.arange(kernel, device=number.device) + reach - kernel // 2
    rows = number[cells.image[:, None, None], cells.y[:, None, None] + around[:, None], cells.x[:, None, None] + around]
    return functional.linear(_rows(hidden, rows.flatten(1)).flatten(1), _as_matrix(last), last.bias)


def _rows(table: Tensor, rows: Tensor) -> Tensor:
    """Pick rows (...) of a table (N, c): (..., c). As an embedding, whose gradient adds up in a fixed order; that of
    `table[rows]` does not on several threads, and no run would repeat."""
    return functional.embedding(rows, table)


def _as_matrix(convolution: nn.Conv2d) -> Tensor:
    """Lay the kernel out as a patch is: (c_out, rows * columns * c_in)."""
    weight = convolution.weight
    # Of one cell it is laid out so already; its gradient then has the weight's strides, as several processes wish.
    return weight.flatten(1) if convolution.kernel_size == (1, 1) else weight.permute(0, 2, 3, 1).flatten(1)
