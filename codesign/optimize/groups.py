"""How do the lanes of many problems, solved in one batch, become legal?

Lanes in groups of equal size, one problem each -> values from best to worst, and
legal ones around them, group by group.
"""

import numpy as np

from codesign.optimize.discrete import Mask, neighbours, scatter
from codesign.optimize.ends import counted_violation, without_number
from codesign.optimize.interior import Optima
from codesign.optimize.lagrangian import Lanes
from codesign.optimize.space import Floats, Space


def best_first(
    lanes: Lanes | Optima,
    reached: Floats,
    *,
    given: Floats,
    size: int,
    loose: Floats | float = 0.0,
) -> Floats:
    """Values of every group's lanes, first by violation, then by objective.

    Limits may be broken by ``loose``. Lanes without a number take the values of the
    best of their group, or what was given where the group has none.
    """
    lost = without_number(lanes).reshape(-1, size)
    violation = counted_violation(lanes, loose=loose).reshape(-1, size)
    violation = np.where(lost, np.inf, violation)
    objective = np.asarray(lanes.objective).reshape(-1, size)
    order = np.lexsort((objective, violation), axis=-1)
    missing = np.take_along_axis(lost, order, axis=1)
    order = np.where(missing, order[:, :1], order)
    rows = (order + size * np.arange(len(order))[:, None]).ravel()
    none = np.repeat(lost.all(axis=1), size)
    return np.where(none[:, None], given, reached[rows])


def legal_around(
    space: Space, values: Floats, *, held: Mask, size: int, rng: np.random.Generator
) -> Floats:
    """Legal held variables around every group's lanes, which stand best first."""
    move = scatter if np.any(held & space.fine) else neighbours
    groups = values.reshape(-1, size, values.shape[1])
    return np.concatenate(
        [move(space, each, mask=held, count=size, rng=rng) for each in groups]
    )
