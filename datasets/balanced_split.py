"""Groups of pictures shared out to lists, so that each has its share of every class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST_MOVES = 100
WORTH_A_MOVE = 1e-6  # of the squared deviation; what is less is rounding


def split_balanced(
    counts: np.ndarray, groups: np.ndarray, fractions: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """The list, 0 to L-1, of each picture (N,) int64: groups whole, objects of every class shared out by `fractions`.

    counts (N, C): objects of each class. groups (N,) int: pictures with the same number stay together. fractions (L,)
    of the lists, the most important list first, above 0 and 1 in all.

    In the manner of iterative stratification (Sechidis et al., ECML 2011): groups with the rarest classes first, big
    ones before small ones and like ones by chance, each to the list where it adds least to the deviation
    sum((share - fraction)^2 / fraction) over classes and pictures. A class of fewer groups than there are lists is in
    the first lists; else it is in each of them, if groups can be moved for it without taking another class away.

    Raises ValueError when there are fewer groups than lists.
    """
    groups = np.unique(groups, return_inverse=True)[1].reshape(-1)
    num_groups = int(groups.max()) + 1 if len(groups) else 0
    if num_groups < len(fractions):
        raise ValueError(f"{num_groups} groups of pictures cannot be shared out to {len(fractions)} lists")
    totals = np.zeros((num_groups, counts.shape[1] + 1))  # by class, and the number of pictures
    np.add.at(totals, groups, np.column_stack([counts, np.ones(len(groups))]))
    totals = totals[:, totals.any(axis=0)]
    shares = totals / totals.sum(axis=0)
    num_holders = (totals > 0).sum(axis=0)
    rarest = np.where(totals > 0, num_holders, num_groups).min(axis=1)
    size = np.floor(np.log2(shares.max(axis=1)))
    table = _Table(shares, np.asarray(fractions, float), np.minimum(num_holders, len(fractions)))
    for group in np.lexsort((rng.permutation(num_groups), -size, rarest)).tolist():
        table.place(group, int(table.cost_to_add(group).argmin()))
    for column in np.argsort(num_holders, kind="stable").tolist():
        table.bring(column)
    table.settle()
    return table.list_of[groups]


class _Table:
    """Groups and the lists that they are in.

    shares (G, K): each group's part of a class, and in the last column of the pictures; fractions (L,) of the lists;
    num_wanted (K,): in how many lists, from the first on, a class should be.
    """

    def __init__(self, shares: np.ndarray, fractions: np.ndarray, num_wanted: np.ndarray) -> None:
        self.shares, self.fractions, self.num_wanted = shares, fractions, num_wanted
        self.list_of = np.full(len(shares), -1)
        self.have = np.zeros((len(fractions), shares.shape[1]))  # the lists' part of each class
        self.num_holders = np.zeros(self.have.shape, np.int64)  # groups of each list that have the class

    def place(self, group: int, to: int) -> None:
        """Put a group into a list; out of the one that it was in."""
        for number, sign in ((self.list_of[group], -1), (to, 1)):
            if number >= 0:
                self.have[number] += sign * self.shares[group]
                self.num_holders[number] += sign * (self.shares[group] > 0)
        self.list_of[group] = to

    def cost_to_add(self, group: int) -> np.ndarray:
        """By how much the deviation grows in each list (L,) with this group, but for what is the same in all.

        Costs are rounded, so that what is equal on paper is so on every machine.
        """
        share = self.shares[group]
        return ((share * (share + 2 * self.have)).sum(axis=1) / self.fractions).round(12)

    def cost_to_move(
        self, groups: np.ndarray, to: int, column: int | None = None, at_any_price: bool = False
    ) -> np.ndarray:
        """By how much the deviation grows when one of the groups (n,) goes to a list: (n,), below 0 for the better.

        Infinite for a group that is there, and for one with the last objects of a class that its list should have; a
        less important list may give away the class `column`, and any list all but its last pictures `at_any_price`.
        """
        source, share = self.list_of[groups], self.shares[groups]
        would_lose = (share > 0) & (self.num_holders[source] == 1) & (source[:, None] < self.num_wanted)
        if column is not None:
            would_lose[:, column] &= source < to
        if at_any_price:
            would_lose[:, :-1] = False
        cost = (share * (share + 2 * self.have[to])).sum(axis=1) / self.fractions[to]
        cost += (share * (share - 2 * self.have[source])).sum(axis=1) / self.fractions[source]
        return np.where(would_lose.any(axis=1) | (source == to), np.inf, cost.round(12))

    def bring(self, column: int) -> None:
        """See that a class is in every list that should have it, if that costs no such list another class."""
        groups = np.flatnonzero(self.shares[:, column] > 0)
        for to in range(self.num_wanted[column]):
            if self.num_holders[to, column]:
                continue
            cost = self.cost_to_move(groups, to, column)
            if column == self.shares.shape[1] - 1 and np.isinf(cost).all():  # an empty list would be no list
                cost = self.cost_to_move(groups, to, at_any_price=True)
            if cost.min() < np.inf:
                self.place(int(groups[cost.argmin()]), to)

    def settle(self) -> None:
        """Move groups one by one, the best first, as long as that makes up for what `bring` has upset."""
        groups = np.arange(len(self.shares))
        for _ in range(MOST_MOVES):
            costs = np.stack([self.cost_to_move(groups, to) for to in range(len(self.fractions))])
            to, group = np.unravel_index(costs.argmin(), costs.shape)
            if costs[to, group] > -WORTH_A_MOVE:
                break
            self.place(int(group), int(to))
