"""What does the model predict for a measured serving run?

Measured rows and the models that they served -> one prediction per row, with
the load of the measured window instead of a steady state.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codesign.calibrate.forecast import Forecast, forecast
from codesign.calibrate.runs import Runs, gather_runs
from codesign.config.rows import MeasuredRow, RowFault
from codesign.core.quantities import (
    Fraction,
    JoulesPerToken,
    Seconds,
    Watts,
)


@dataclass(frozen=True)
class Prediction:
    """A measured row, what the model says of it, and the class of its model.

    ``power_at_step`` is the power of the same work spread over the measured
    step time, which tells errors of power from those of time.
    """

    row: MeasuredRow
    kind: str
    inter_token_latency: Seconds
    step_time: Seconds
    power: Watts
    power_at_step: Watts
    energy_per_token: JoulesPerToken
    memory_fraction: Fraction
    time_to_first_token: Seconds = math.nan


@dataclass(frozen=True)
class Predictions:
    """A prediction of each row that allows one, and the rows that do not."""

    done: tuple[Prediction, ...]
    faults: tuple[RowFault, ...]


def predict_rows(
    rows: Sequence[MeasuredRow], models: Mapping[str, Mapping[str, str]]
) -> Predictions:
    """Predictions of measured rows, in their order; see ``gather_runs``.

    Nothing is fitted.
    """
    runs, faults = gather_runs(rows, models)
    if runs is None:
        return Predictions(done=(), faults=faults)
    return Predictions(done=predictions(runs, forecast(runs)), faults=faults)


def predictions(runs: Runs, found: Forecast) -> tuple[Prediction, ...]:
    """One prediction per run from the forecast of all of them.

    P_step = min(TDP, P_static + (P - P_static) T / T_measured)

    The latency predicted is the median between tokens where a median was
    measured, else the mean step.
    """
    measured = np.array([row.step_time for row in runs.rows])
    median = np.array([row.median_latency for row in runs.rows])
    at_step = power_at_step(runs, found, step_time=measured)
    latency = np.where(median, found.inter_token_latency, found.step_time)
    columns = zip(
        runs.rows,
        runs.kinds,
        latency,
        np.asarray(found.step_time),
        np.asarray(found.power),
        at_step,
        np.asarray(found.energy_per_token),
        np.asarray(found.memory_fraction),
        np.asarray(found.time_to_first_token),
        strict=True,
    )
    return tuple(
        Prediction(row, kind, *(float(value) for value in values))
        for row, kind, *values in columns
    )


def power_at_step(runs: Runs, found: Forecast, *, step_time: np.ndarray) -> np.ndarray:
    """Power of the same work spread over another step time, at most the TDP."""
    work = (found.power - found.static_power) * found.step_time
    return np.minimum(
        found.static_power + work / step_time, np.asarray(runs.designs.chip.tdp)
    )
