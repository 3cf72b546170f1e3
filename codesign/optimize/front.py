"""Which points of a set does no other beat, and how much do they dominate?

Points, smaller is better in every column -> the front and its hypervolume.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def non_dominated(points: Floats) -> NDArray[np.bool_]:
    """Which rows no other row is at most in all and below in one column.

    Of equal rows the first stays.

    Example:
        >>> non_dominated(np.array([[1.0, 3.0], [2.0, 1.0], [2.0, 2.0]])).tolist()
        [True, True, False]
    """
    kept = np.ones(len(points), bool)
    for index, point in enumerate(points):
        at_most = np.all(points <= point, axis=1)
        below = at_most & np.any(points < point, axis=1)
        earlier = at_most[:index] & np.all(points[:index] == point, axis=1)
        kept[index] = not (np.any(below) or np.any(earlier))
    return kept


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
