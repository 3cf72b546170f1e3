"""How does a relaxed optimum become a design that can be built?

Relaxed lanes -> neighbouring combinations of choices, legal values, and a
neighbourhood search on the hard model.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from codesign.optimize.space import Floats, Space

Mask = NDArray[np.bool_]
FEASIBLE = 1e-6  # largest ln(use / limit) that counts as kept
PER_COMBINATION = 2  # designs kept of one combination


@dataclass(frozen=True)
class Pool:
    """Legal designs with their hard objective and how far they break limits.

    ``violation`` is the worst ln(use / limit), ``excess`` the sum of the
    positive ones.
    """

    values: Floats
    objective: Floats
    violation: Floats
    excess: Floats

    def order(self, penalty: float = np.inf) -> NDArray[np.intp]:
        """Indices from best to worst.

        With an infinite penalty feasible designs by objective, then the others
        by violation; else by the exact penalty function f + penalty excess.
        """
        value = np.where(np.isfinite(self.objective), self.objective, np.inf)
        if np.isfinite(penalty):
            return np.argsort(value + penalty * self.excess, kind="stable")
        infeasible = self.violation > FEASIBLE
        worst = np.where(infeasible, self.violation, 0.0)
        return np.lexsort((value, worst, infeasible))

    def best(self, count: int) -> "Pool":
        """The first designs in order."""
        return self.take(self.order()[:count])

    def ranked(self) -> "Pool":
        """All designs in order."""
        return self.take(self.order())

    def dealt(self, place: int, *, count: int) -> "Pool":
        """The share of one of several, as cards are dealt; none is empty."""
        number = len(self.values)
        return self.take(np.arange(place, max(number, place + 1), count) % number)

    def take(self, index: NDArray[np.intp] | slice) -> "Pool":
        """The designs at the given indices."""
        return Pool(
            self.values[index],
            self.objective[index],
            self.violation[index],
            self.excess[index],
        )

    def join(self, other: "Pool") -> "Pool":
        """Both pools; of designs that differ in nothing that counts, the first."""
        objective = np.concatenate([self.objective, other.objective])
        violation = np.concatenate([self.violation, other.violation])
        excess = np.concatenate([self.excess, other.excess])
        outcome = np.stack([objective, violation, excess], axis=1).round(12)
        _, first = np.unique(outcome, axis=0, return_index=True)
        values = np.concatenate([self.values, other.values])
        return Pool(values, objective, violation, excess).take(first)

    def distinct(
        self, count: int, *, columns: Mask, penalty: float, each: int = PER_COMBINATION
    ) -> "Pool":
        """The best designs under a penalty, ``each`` of a combination of columns.

        The columns are the same for all designs, or a row for each.
        """
        seen: dict[bytes, int] = {}
        chosen: list[int] = []
        kinds = np.where(columns, self.values.round(9), 0.0)
        for index in self.order(penalty):
            key = kinds[index].tobytes()
            if seen.setdefault(key, 0) < each:
                seen[key] += 1
                chosen.append(int(index))
        return self.take(np.array(chosen[:count], int))


NEXT_CHANCE = 0.3  # that a neighbour is around one of the best, not the next of them
FAMILY_CHANCE = 0.3  # that it is around the best design of some value of a choice
MOVED_CHOICES = 3  # most choices that a neighbour differs in
STEP_CHANCE = 0.4  # that an integer or multiple leaves its value
TOGETHER_CHANCE = 0.5  # that a copy moves along the way between two designs
TOGETHER = 0.8  # share of the variables that then move
EVEN_CHANCE = 0.2  # that a moved integer or multiple goes to an even size
MOST_DOUBLINGS = 7  # of a step, to the roughest of even sizes
CHOICE_CHANCE = 0.25  # that a moving choice takes another place in its list


def neighbours(
    space: Space, values: Floats, *, mask: Mask, count: int, rng: np.random.Generator
) -> Floats:
    """Combinations of choices around given designs, best first; ``count`` of them.

    All legal combinations where there are no more than ``count`` combinations,
    each around the best designs. Else an eighth of the copies are the best designs,
    every choice rounded to its nearest value, each combination once; up to a half
    the best design of each value that a choice may take, so that no family is lost
    before it was solved; then the best design with one choice one place up or down
    its list; and the others are such designs with a few choices moved so, the best
    most often. A combination that breaks a tie becomes the nearest legal one.
    """
    coarse = np.flatnonzero(mask & space.coarse)
    if space.num_combinations(mask & space.coarse) <= count:
        combinations = _combinations(space, values[0], mask=mask & space.coarse)
        number = len(combinations)
        moved = values[np.minimum(np.arange(count) // number, len(values) - 1)]
        moved[:, coarse] = combinations[np.arange(count) % number]
        return space.mend(moved, mask=mask & space.coarse)
    rounded = space.round(values, mask=mask & space.coarse)
    best = rounded[_distinct(rounded[:, coarse])[: max(count // 8, 1)]]
    families = rng.permutation(_families(space, rounded, columns=coarse))
    families = families[: max(count // 2, 1)]
    kept = np.concatenate([best, families, _one_place(space, best[0], columns=coarse)])
    left = max(count - len(kept), 0)
    ranked = best[(rng.geometric(NEXT_CHANCE, size=left) - 1) % len(best)]
    apart = families[np.arange(left) % len(families)]
    moved = np.where(rng.uniform(size=(left, 1)) < FAMILY_CHANCE, apart, ranked)
    number = rng.integers(1, MOVED_CHOICES + 1, size=left)
    ranks = rng.permuted(np.tile(np.arange(coarse.size), (left, 1)), axis=1)
    for place, column in enumerate(coarse):
        chosen = ranks[:, place] < number
        moved[chosen, column] = _shift(
            space, int(column), values=moved[chosen, column], rng=rng
        )
    lanes = np.concatenate([kept, moved])[:count]
    return space.mend(lanes, mask=mask & space.coarse)


def _distinct(rows: Floats) -> NDArray[np.intp]:
    """Where each different row stands first, in order."""
    return np.sort(np.unique(rows, axis=0, return_index=True)[1])


def _one_place(space: Space, row: Floats, *, columns: NDArray[np.intp]) -> Floats:
    """A legal design with one choice one place up or down its list."""
    found: list[Floats] = []
    for column in columns:
        options = np.sort(np.array(space.variables[column].choices, float))
        here = int(np.argmin(np.abs(np.log(options / row[column]))))
        for there in {max(here - 1, 0), min(here + 1, len(options) - 1)} - {here}:
            found.append(row.copy())
            found[-1][column] = options[there]
    return np.array(found).reshape(-1, len(row))


def pairs(
    space: Space, row: Floats, *, mask: Mask, count: int, rng: np.random.Generator
) -> Floats:
    """A design, and legal ones with one or two of its choices moved by one place.

    Half the experts on half the chips may be better where either alone is worse. Of
    more than ``count`` combinations a random part.
    """
    columns = np.flatnonzero(mask & space.coarse)
    found = [row[None]]
    for place in range(columns.size):
        ones = _one_place(space, row, columns=columns[place : place + 1])
        found.append(ones)
        found += [_one_place(space, one, columns=columns[place + 1 :]) for one in ones]
    rows = space.mend(np.concatenate(found), mask=mask & space.coarse)
    kept = _distinct(rows[:, columns])
    if len(kept) > count:
        kept = np.append(kept[:1], rng.permutation(kept[1:])[: count - 1])
    return rows[kept]


def _families(space: Space, values: Floats, *, columns: NDArray[np.intp]) -> Floats:
    """The best design of each value of each choice, or the nearest one moved there.

    A design is of the value that it would be rounded to.
    """
    found: list[Floats] = []
    for column in columns:
        options = sorted(space.variables[column].choices)
        far = np.abs(np.log(options) - np.log(values[:, column])[:, None])
        nearest = np.argmin(far, axis=1)
        for index, option in enumerate(options):
            own = np.flatnonzero(nearest == index)
            family = values[own[0] if own.size else np.argmin(far[:, index])].copy()
            family[column] = option
            found.append(family)
    return np.array(found)


def _combinations(space: Space, row: Floats, *, mask: Mask) -> Floats:
    """Legal combinations of the masked choices, all if none is legal at a row."""
    columns = np.flatnonzero(mask)
    lists = [space.variables[column].choices for column in columns]
    number = space.num_combinations(mask)
    every = np.array(list(product(*lists)), float).reshape(number, len(columns))
    rows = np.tile(row, (len(every), 1))
    rows[:, columns] = every
    legal = space.legal(rows, mask=mask)
    return every[legal] if legal.any() else every


def scatter(
    space: Space, values: Floats, *, mask: Mask, count: int, rng: np.random.Generator
) -> Floats:
    """Legal values of the masked variables, rounded up or down at random.

    A quarter of the copies round the best designs, each legal combination once, to
    their nearest values; around these every integer and multiple of the others goes
    either way with a chance that grows with its remainder.
    """
    nearest = space.round(values, mask=mask)
    kept = _distinct(nearest[:, mask])[: max(count // 4, 1)]
    lanes = values[kept[np.arange(count) % len(kept)]]
    steps = np.array([v.multiple or 1.0 for v in space.variables])
    dither = rng.uniform(-0.5, 0.5, size=lanes.shape) * steps
    dither[: len(kept)] = 0.0
    return space.round(np.where(mask & space.fine, lanes + dither, lanes), mask=mask)


def step_aside(
    space: Space, values: Floats, *, mask: Mask, count: int, rng: np.random.Generator
) -> Floats:
    """Copies of designs with some integers and multiples a few steps away."""
    lanes = values[np.arange(count) % len(values)].copy()
    for column in np.flatnonzero(mask & space.fine):
        step = space.variables[column].multiple or 1.0
        far = rng.geometric(0.4, size=count) * rng.choice([-1, 1], size=count)
        moving = rng.uniform(size=count) < STEP_CHANCE
        lanes[:, column] += np.where(moving, far * step, 0.0)
    return space.round(lanes, mask=mask)


def _shift(
    space: Space, column: int, *, values: Floats, rng: np.random.Generator
) -> Floats:
    """Each value one place up or down the list of its variable."""
    options = np.sort(np.array(space.variables[column].choices, float))
    here = np.argmin(np.abs(np.log(options) - np.log(values[:, None])), axis=1)
    there = here + rng.choice([-1, 1], size=len(values))
    return options[np.clip(there, 0, len(options) - 1)]


def mutate(
    space: Space,
    values: Floats,
    *,
    mask: Mask,
    scale: float,
    copies: int,
    rng: np.random.Generator,
) -> Floats:
    """Legal variations of each design: a few variables moved at random, or all.

    A few: listed choices step by one place, integers and multiples by whole steps or
    to an even size, continuous variables by a factor; ``scale`` is the spread as a
    share of the box. All but the choices: by a part of the way from one of the designs
    to another, as differential evolution does, so that what limits tie together moves
    together.
    """
    lanes = np.repeat(values, copies, axis=0)
    few = _moved_apart(space, lanes, mask=mask, scale=scale, rng=rng)
    way = _ways(values, count=len(lanes), rng=rng)
    most = mask & ~space.coarse & (rng.uniform(size=lanes.shape) < TOGETHER)
    together = _even(space, np.where(most, lanes * way, lanes), moved=most, rng=rng)
    either = rng.uniform(size=(len(lanes), 1)) < TOGETHER_CHANCE
    return space.round(np.where(either, together, few), mask=mask)


def _moved_apart(
    space: Space,
    given: Floats,
    *,
    mask: Mask,
    scale: float,
    rng: np.random.Generator,
) -> Floats:
    """Designs with a few variables moved, each by itself; not yet legal."""
    count, width = given.shape
    chance = rng.uniform(0.05, 0.5, size=(count, 1))
    moving = (rng.uniform(size=(count, width)) < chance) & mask
    spread = scale * rng.lognormal(0.0, 1.0, size=(count, 1))
    jump = np.exp(rng.normal(size=(count, width)) * spread * (space.high - space.low))
    lanes = np.where(moving & ~space.coarse, given * jump, given)
    lanes = _even(space, lanes, moved=moving, rng=rng)
    for column in np.flatnonzero(mask & space.coarse):
        shifted = moving[:, column] & (rng.uniform(size=count) < CHOICE_CHANCE)
        lanes[shifted, column] = _shift(
            space, int(column), values=lanes[shifted, column], rng=rng
        )
    for column in np.flatnonzero(mask & space.fine):
        step = space.variables[column].multiple or 1.0
        near = np.abs(lanes[:, column] - given[:, column]) < step / 2
        stuck = moving[:, column] & near
        lanes[stuck, column] += step * rng.choice([-1, 1], size=int(stuck.sum()))
    return lanes


def _ways(values: Floats, *, count: int, rng: np.random.Generator) -> Floats:
    """Factors over a part of the way from one design to another, at random."""
    one, other = rng.integers(len(values), size=(2, count))
    return (values[one] / values[other]) ** rng.uniform(0.0, 1.0, size=(count, 1))


def _even(
    space: Space, values: Floats, *, moved: Mask, rng: np.random.Generator
) -> Floats:
    """Some moved integers and multiples at a multiple of a power of two of a step.

    Tiles of work are powers of two, so such sizes leave none of them part empty.
    """
    steps = np.array([v.multiple or 1.0 for v in space.variables])
    units = steps * 2.0 ** rng.integers(1, MOST_DOUBLINGS + 1, size=values.shape)
    even = units * np.maximum(np.round(values / units), 1.0)
    chosen = moved & space.fine & (rng.uniform(size=values.shape) < EVEN_CHANCE)
    return np.where(chosen, even, values)
