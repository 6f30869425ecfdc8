"""Heads in chosen cells only: what training reads of three of the four heads, at a fraction of their cost.

The loss reads vectors, offset and orientation in a few hundred of the tens of thousands of cells; to compute them
everywhere takes a third of a training step and most of its memory. Without batch norm, or with a frozen one, the
result is that of the whole map. With batch norm in training the statistics are those of the cells computed here: the
chosen ones, their neighbours, and a lattice over the map that stands for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.positives import Cells

LATTICE = 8  # cells between the lines of the lattice


def heads_at(heads: Mapping[str, nn.Sequential], features: Tensor, cells: Cells) -> dict[str, Tensor]:
    """Compute the heads of features (B, c, h, w) in P cells: {name: (P, channels)}.

    Each head is a 3x3 convolution, [batch norm,] ReLU and a convolution of an odd kernel, all padded with zeros.
    """
    reach = max(head[-1].kernel_size[0] // 2 for head in heads.values())
    wanted, number = _hidden_cells(features, cells, reach)
    patches = _patches(features, wanted)
    return {name: _head_at(head, patches, number, cells, reach) for name, head in heads.items()}


def _hidden_cells(features: Tensor, cells: Cells, reach: int) -> tuple[Cells, Tensor]:
    """List the Q cells whose hidden values are needed; also the number of each cell among them, (B, h + 2 reach,
    w + 2 reach) int64 with a border, Q where there is none."""
    batch, _, height, width = features.shape
    is_wanted = torch.zeros(batch, height + 2 * reach, width + 2 * reach, dtype=torch.bool, device=features.device)
    around = torch.arange(2 * reach + 1, device=features.device)
    is_wanted[cells.image[:, None, None], cells.y[:, None, None] + around[:, None], cells.x[:, None, None] + around] = (
        True
    )
    inner = is_wanted[:, reach : reach + height, reach : reach + width]
    inner[:, LATTICE // 2 :: LATTICE, LATTICE // 2 :: LATTICE] = True
    wanted = Cells(*inner.nonzero(as_tuple=True))
    number = torch.full(is_wanted.shape, len(wanted.image), device=features.device)
    order = torch.arange(len(wanted.image), device=features.device)
    number[wanted.image, wanted.y + reach, wanted.x + reach] = order
    return wanted, number


def _patches(features: Tensor, cells: Cells) -> Tensor:
    """Cut the 3x3 neighbourhoods of the cells out of (B, c, h, w): (Q, 9 c), row by row, channels last."""
    padded = functional.pad(features, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    _, height, width, channels = padded.shape
    corner = (cells.image * height + cells.y) * width + cells.x
    rows = torch.arange(3, device=features.device)
    steps = (rows[:, None] * width + rows).flatten()
    return _rows(padded.reshape(-1, channels), corner[:, None] + steps).flatten(1)


def _head_at(head: nn.Sequential, patches: Tensor, number: Tensor, cells: Cells, reach: int) -> Tensor:
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
    return convolution.weight.permute(0, 2, 3, 1).flatten(1)
