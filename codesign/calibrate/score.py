"""How far are predictions from measurements?

Predicted and measured values -> errors, and their summary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """Relative errors of one metric over a group of rows; NaN without rows.

    ``mean`` and ``median`` are of |error| (MAPE and median APE), ``bias`` is
    the mean of the signed error: positive where the model predicts too much.
    """

    count: int
    mean: float
    median: float
    bias: float


def relative_error(predicted: float, measured: float) -> float:
    """predicted / measured - 1, NaN where nothing was measured.

    Example:
        >>> relative_error(1.5, 1.0)
        0.5
    """
    known = math.isfinite(measured) and measured > 0
    return predicted / measured - 1.0 if known else math.nan


def score(errors: Sequence[float]) -> Score:
    """Summary of relative errors; those that are NaN do not count.

    Example:
        >>> found = score([0.1, -0.3, float("nan")])
        >>> found.count, round(found.mean, 9), round(found.bias, 9)
        (2, 0.2, -0.1)
    """
    known = np.array([error for error in errors if math.isfinite(error)])
    if known.size == 0:
        return Score(count=0, mean=math.nan, median=math.nan, bias=math.nan)
    size = np.abs(known)
    return Score(
        count=known.size,
        mean=float(size.mean()),
        median=float(np.median(size)),
        bias=float(known.mean()),
    )
