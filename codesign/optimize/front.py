"""Which points of a set does no other beat, and how much do they dominate?

Points, smaller is better in every column -> the front and its hypervolume.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PAIR = 2  # columns of which one pass finds the front
BLOCK = 512  # rows that are compared at a time


def non_dominated(points: Floats) -> NDArray[np.bool_]:
    """Which rows no other row is at most in all and below in one column.

    Of equal rows the first stays. In sorted order only earlier rows can beat one: two
    columns take one pass, more are held against the front so far, block by block.

    Example:
        >>> non_dominated(np.array([[1.0, 3.0], [2.0, 1.0], [2.0, 2.0]])).tolist()
        [True, True, False]
    """
    order = np.lexsort(points.T[::-1])
    ranked = points[order]
    kept = np.zeros(len(points), bool)
    if points.shape[1] <= PAIR:
        kept[order] = _below_all_before(ranked[:, -1])
        return kept
    front = ranked[:0]
    for start in range(0, len(ranked), BLOCK):
        block = ranked[start : start + BLOCK]
        places = np.flatnonzero(~_beaten(block, front))
        alone = _first_of_block(block[places])
        front = np.concatenate([front, block[places[alone]]])
        kept[order[start + places[alone]]] = True
    return kept


def _below_all_before(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values lie below every earlier one; of two sorted columns, the front."""
    least = np.minimum.accumulate(values)
    return np.append(np.full(min(len(values), 1), True), values[1:] < least[:-1])


def _beaten(points: Floats, front: Floats) -> NDArray[np.bool_]:
    """Which points some row of a front is at most in every column."""
    beaten = np.zeros(len(points), bool)
    for start in range(0, len(front), BLOCK):
        left = np.flatnonzero(~beaten)
        some = front[start : start + BLOCK, None]
        beaten[left] = np.any(np.all(some <= points[left], axis=2), axis=0)
    return beaten


def _first_of_block(points: Floats) -> NDArray[np.bool_]:
    """Which rows of sorted points no earlier one of them is at most everywhere."""
    at_most = np.all(points[:, None] <= points, axis=2)
    return ~np.any(np.triu(at_most, 1), axis=0)


def hypervolume(points: Floats, reference: Floats) -> float:
    """Volume that points dominate within a reference point.

    V = int over the last column of the volume in the others of the points up to
    there; a single column is a length.

    Source: Zitzler and Thiele, "Multiobjective evolutionary algorithms", IEEE
    Trans. Evol. Comput. 3(4), 1999; slicing by objectives.

    Example:
        >>> points = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> hypervolume(points, np.array([2.0, 2.0]))
        3.0
    """
    inside = points[np.all(points < reference, axis=1)]
    if not len(inside):
        return 0.0
    if inside.shape[1] == 1:
        return float(reference[0] - np.min(inside))
    inside = inside[np.argsort(inside[:, -1], kind="stable")]
    ends = np.append(inside[1:, -1], reference[-1])
    return sum(
        float(end - point[-1]) * hypervolume(inside[: count + 1, :-1], reference[:-1])
        for count, (point, end) in enumerate(zip(inside, ends, strict=True))
        if end > point[-1]
    )
