"""Where did the lanes of a batch end, and which of them ended best?

Lanes of a descent or an interior point solution -> values, ranks, objectives.
"""

import numpy as np
from numpy.typing import NDArray

from codesign.optimize.discrete import Mask, Pool
from codesign.optimize.interior import Optima
from codesign.optimize.lagrangian import Lanes
from codesign.optimize.space import Floats, Space

RELAXED = 1e-3  # violation below which a relaxed lane counts as feasible


def reached_values(
    space: Space, lanes: Lanes | Optima, *, given: Floats, mask: Mask
) -> Floats:
    """Values at the end of a descent; what is not masked is as given."""
    return np.where(mask, space.decode(np.asarray(lanes.points)), given)


def ranked_ends(lanes: Lanes | Optima, reached: Floats, *, given: Floats) -> Pool:
    """What lanes reached, first by violation, then by objective.

    Lanes without a number are left out; if none has one, what was given stands.
    """
    broken, sound = counted_violation(lanes), ~without_number(lanes)
    if not sound.any():
        endless = np.full(len(given), np.inf)
        return Pool(given, endless, endless, endless)
    ends = Pool(reached, np.asarray(lanes.objective), broken, broken)
    return ends.take(np.flatnonzero(sound)).ranked()


def without_number(lanes: Lanes | Optima) -> NDArray[np.bool_]:
    """Lanes whose end, objective or constraints are not a number."""
    ends = [lanes.points, lanes.objective[:, None], lanes.constraints]
    return np.any([np.isnan(np.asarray(part)).any(axis=1) for part in ends], axis=0)


def counted_violation(lanes: Lanes | Optima, *, loose: Floats | float = 0.0) -> Floats:
    """Violation by which lanes are ranked; ``loose`` and ``RELAXED`` are free."""
    worst = np.max(np.asarray(lanes.constraints) - loose, axis=1)
    return np.maximum(worst, RELAXED).round(3)


def feasible_objective(lanes: Lanes | Optima) -> Floats:
    """Objective of every lane, infinite where a limit is broken or no number."""
    violation = np.max(np.asarray(lanes.constraints), axis=1)
    kept = (violation <= RELAXED) & ~np.isnan(np.asarray(lanes.objective))
    return np.where(kept, np.asarray(lanes.objective), np.inf)
