"""What is a gain made of? Groups of variables, one after the other and in fair shares.

Tuned and co-designed values -> the best relaxed objective of each set of groups,
steps in the listed order, Shapley shares.
"""

from itertools import pairwise
from math import factorial

import numpy as np
from numpy.typing import NDArray

from codesign.optimize.ends import RELAXED
from codesign.optimize.engine import Engine
from codesign.optimize.problem import Theta
from codesign.optimize.result import Waterfall
from codesign.optimize.space import GOVERNOR, Floats

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("deployment", ("deployment.", "request.")),
    ("formats", ("model.weight_bits", "model.activation_bits", "model.kv_bits")),
    ("sparsity", ("model.num_experts", "model.num_active_experts", "model.zeros")),
    ("shape", ("model.",)),
    ("memory", ("chip.sram.", "chip.dram.", "chip.store.")),
    ("compute", ("chip.compute.",)),
    ("voltage and power", ("chip.voltage", "chip.node", "chip.tdp")),
    ("links", ("chip.link.", "system.")),
    ("rest of the chip", ("chip.",)),
)


SAME = 1e-6  # relative difference of a variable that is none


def group_of(path: str) -> int | None:
    """Place of the first group whose prefixes match; None for the governor's."""
    if path in GOVERNOR:
        return None
    for index, (_, prefixes) in enumerate(GROUPS):
        if path.startswith(prefixes):
            return index
    raise ValueError(f"{path} belongs to no group of the waterfall")


def decompose(
    engine: Engine, theta: Theta, *, tuned: Floats, best: Floats
) -> Waterfall:
    """The gain between two designs, by groups of variables.

    v(S) = the least relaxed ln objective found, all limits kept, of designs that
    differ from ``tuned`` only in the groups of S; a set that holds another is
    never worse.

    step of i     = v(groups up to i) - v(groups before i)
    Shapley share = sum over S without i of |S|! (n - |S| - 1)! / n!
                    (v(S + i) - v(S))

    Both add up to the relaxed gain; ``rounding`` is what whole numbers and tiles
    change in it. Groups in which the designs are the same are left out. All sets
    are solved in one batch: choices of ``best`` where their group is in the set,
    the rest by the interior point method.

    Assumes: the choices of the best design, or of the tuned one, suit each set.
    Source: Shapley, "A value for n-person games", Contributions to the Theory of
    Games II, 1953.
    """
    groups = [group_of(path) for path in engine.space.paths]
    apart = ~np.isclose(tuned, best, rtol=SAME)
    moved = {g for g, differs in zip(groups, apart, strict=True) if differs}
    players = sorted(g for g in moved if g is not None)
    sets = np.array(list(np.ndindex(*(2,) * len(players))), bool)
    always = np.ones(len(sets), bool)
    never = np.zeros(len(sets), bool)
    columns = dict(zip(players, sets.T, strict=True))
    free = np.column_stack(
        [always if g is None else columns.get(g, never) for g in groups]
    )
    reached = _reached(engine, theta, tuned=tuned, best=best, free=free)
    reached = _closed(reached.reshape((2,) * len(players)))
    count = len(players)
    path = [tuple(int(j < i) for j in range(count)) for i in range(count + 1)]
    ends = engine.evaluate(np.stack([tuned, best]), theta).objective
    gain = reached[path[-1]] - reached[path[0]]
    return Waterfall(
        groups=tuple(GROUPS[g][0] for g in players),
        start=float(ends[0]),
        steps=tuple(float(reached[b] - reached[a]) for a, b in pairwise(path)),
        shares=tuple(shapley(reached)),
        rounding=float(ends[1] - ends[0] - gain),
    )


def _reached(
    engine: Engine,
    theta: Theta,
    *,
    tuned: Floats,
    best: Floats,
    free: NDArray[np.bool_],
) -> Floats:
    """Least relaxed ln objective found with each set of free variables."""
    starts = np.where(free, best, tuned)
    lanes = engine.refine(starts, theta, free=free & ~engine.space.coarse)
    violation = np.max(np.asarray(lanes.constraints), axis=1)
    least = np.where(violation <= RELAXED, np.asarray(lanes.objective), np.inf)
    ends = engine.evaluate(np.stack([tuned, best]), theta).objective
    least[[0, -1]] = np.minimum(least[[0, -1]], ends)
    return least


def _closed(reached: Floats) -> Floats:
    """Every set at most as high as the sets that it holds."""
    for axis in range(reached.ndim):
        reached = np.minimum.accumulate(reached, axis=axis)
    return reached


def shapley(worth: Floats) -> list[float]:
    """Shapley shares of a game given as an array with an axis of two per player.

    Example:
        >>> shapley(np.array([[0.0, 1.0], [2.0, 5.0]]))
        [3.0, 2.0]
    """
    count = worth.ndim
    if not count:
        return []
    sizes = np.indices((2,) * (count - 1)).sum(axis=0).reshape(-1).astype(int)
    ways = [
        factorial(k) * factorial(count - k - 1) / factorial(count) for k in range(count)
    ]
    weights = np.array(ways)[sizes]
    return [
        float(weights @ np.diff(worth, axis=player).reshape(-1))
        for player in range(count)
    ]
