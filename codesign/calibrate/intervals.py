"""How far may a measurement lie from what the model predicts?

Predictions of unseen models -> an interval of ln(measured / predicted) by metric.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from codesign.calibrate.groups import METRICS, metric_error
from codesign.calibrate.predict import Prediction
from codesign.config.stacks import stack_info

Floats = NDArray[np.float64]
LEVEL = 0.8  # share of measurements that an interval should hold
FEWEST_MODELS = 3


@dataclass(frozen=True)
class Interval:
    """Lower and upper end of ln(measured / predicted)."""

    low: float
    high: float

    def around(self, predicted: float) -> tuple[float, float]:
        """The interval of the measurement for a prediction."""
        return predicted * math.exp(self.low), predicted * math.exp(self.high)


UNFITTED = {
    "inter_token_latency": Interval(math.log(0.9), math.log(1.5)),
    "step_time": Interval(math.log(0.9), math.log(1.5)),
    "power": Interval(math.log(0.8), math.log(1.4)),
    "power_at_step": Interval(math.log(0.8), math.log(1.4)),
    "energy_per_token": Interval(math.log(0.9), math.log(1.4)),
    "time_to_first_token": Interval(math.log(0.7), math.log(3.0)),
}
"""Assumed intervals where a stack was not fitted: a data sheet with constants of
another chip, scored on B200 with those of H100. First tokens: from the fast end of
vLLM to engines whose recipes hold requests back. Source: docs/theory/calibration.md."""


def fitted_metrics(stack: str) -> set[str]:
    """Metrics whose interval comes from runs, not from ``UNFITTED``."""
    return set(stack_info(stack).fit.get("errors") or {})


@cache
def stack_intervals(stack: str) -> dict[str, Interval]:
    """80 % intervals of runs on a serving stack, wide ones if it was not fitted."""
    fitted = stack_info(stack).fit.get("errors") or {}
    found = {
        metric: Interval(float(ends["low"]), float(ends["high"]))
        for metric, ends in fitted.items()
    }
    return UNFITTED | found


def error_intervals(unseen: Sequence[Prediction]) -> dict[str, Interval]:
    """80 % interval of the logarithmic error of each metric.

    ends = q(0.5) + (1 + 1 / n) (q(p) - q(0.5)),  p = 0.1 and 0.9

    with q the quantiles of the errors of all runs, the n models weighing the same.
    Metrics that fewer than three models measured are left out.

    Assumes: a new model errs as one more draw from those seen; n of them show 1 + 1 / n
    less of the spread.
    Source: docs/decisions/32_quantiles_of_unseen_models.md.
    """
    found: dict[str, Interval] = {}
    for metric in METRICS:
        by_model = _errors_by_model(unseen, metric)
        if len(by_model) >= FEWEST_MODELS:
            found[metric] = _interval(list(by_model.values()))
    return found


def coverage(unseen: Sequence[Prediction]) -> dict[str, float]:
    """Share of runs inside intervals that come from the other models alone."""
    found: dict[str, float] = {}
    for metric in METRICS:
        by_model = _errors_by_model(unseen, metric)
        if len(by_model) <= FEWEST_MODELS:
            continue
        inside: list[bool] = []
        for model, errors in by_model.items():
            others = [e for name, e in by_model.items() if name != model]
            interval = _interval(others)
            inside += list((errors >= interval.low) & (errors <= interval.high))
        found[metric] = float(np.mean(inside))
    return found


def _interval(errors: Sequence[Floats]) -> Interval:
    wider = 1 + 1 / len(errors)
    tail = (1 - LEVEL) / 2
    low, middle, high = _quantiles(errors, (tail, 0.5, 1 - tail))
    return Interval(
        low=float(middle + wider * (low - middle)),
        high=float(middle + wider * (high - middle)),
    )


def _quantiles(errors: Sequence[Floats], levels: Sequence[float]) -> Floats:
    """Quantiles of the errors of all models, each model with the same weight."""
    values = np.concatenate(errors)
    weights = np.concatenate([np.full(len(e), 1 / len(e)) for e in errors])
    order = np.argsort(values)
    below = np.cumsum(weights[order]) - weights[order] / 2
    return np.interp(levels, below / len(errors), values[order])


def _errors_by_model(
    predictions: Sequence[Prediction], metric: str
) -> Mapping[str, Floats]:
    """ln(measured / predicted) of the runs that were measured, by model."""
    by_model: dict[str, list[float]] = {}
    for prediction in predictions:
        error = metric_error(prediction, metric)
        if math.isfinite(error):
            by_model.setdefault(prediction.row.model, []).append(-math.log1p(error))
    return {model: np.array(errors) for model, errors in by_model.items()}
