"""Which constants of a serving stack and its chip explain measured runs best?

Runs and constants with priors -> fitted values with their covariance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from codesign.calibrate.forecast import Forecast, forecast_slopes
from codesign.calibrate.runs import Runs
from codesign.config.calibration import Constant
from codesign.config.servers import stack_of
from codesign.core.errors import InputError
from codesign.core.paths import get_path

Floats = NDArray[np.float64]
NOISE = 0.1  # of a logarithm; beyond it a residual counts linearly
TYPICAL_ROWS = 15.0  # rows of a model with weight 1
WEIGHTS = (0.3, 3.0)  # smallest and largest weight of a row
PRIOR_WEIGHT = 3.0  # rows of a model err alike: nine of them count as one
FARTHEST = 3.0  # prior standard deviations that a constant may move
STACK = "stack."
FIRST_TOKEN = 3  # place of its errors among those of a run
OF_REQUESTS = ("stack.request_time", "stack.prompt_token_time")
"""Constants that only first tokens feel; without them those are not fitted, so that
waiting, which a client adds to, does not move the constants of a step."""


@dataclass(frozen=True)
class Fit:
    """Fitted constants: how far each logarithm moved from its preset.

    ``centre`` is the middle of the priors on the same scale, ``covariance`` that
    of the moves, from the curvature of the loss. ``rows`` and ``models`` count
    what was fitted.
    """

    constants: tuple[Constant, ...]
    moves: Floats
    centre: Floats
    covariance: Floats
    rows: int
    models: int

    def shifts(self, runs: Runs) -> Floats:
        """The moves that each run feels, a row per run and a column per constant."""
        return self.moves * _belongs(self.constants, runs)


def fit(
    runs: Runs, constants: Sequence[Constant], *, start: Floats | None = None
) -> Fit:
    """Maximum a posteriori constants of runs on one chip and stack.

    minimize sum_r rho(w_r ln(pred_r / meas_r) / 0.1) + sum_c (3 z_c)^2
    rho(x) = 2 (sqrt(1 + x^2) - 1),  z_c = (ln c - ln prior_c) / spread_c
    over ln latency, ln step time and ln power at the measured step, and ln time to
    the first token where constants of requests are fitted;
    w_r^2 = 15 / rows of the same model, within 0.3 and 3.

    Assumes: independent errors of rows; the weights keep a model with many rows
    from outvoting the others.
    Source: soft-L1 and weights as in docs/theory/calibration.md; solved by the
    trust-region method of SciPy with exact derivatives.

    Raises:
        InputError: the runs are on stacks in which a fitted constant differs.
    """
    own = [c for c in constants if c.path.startswith(STACK)]
    if any(np.ptp(_values(c, runs)) > 0 for c in own):
        stacks = sorted({stack_of(row) for row in runs.rows})
        raise InputError(f"one stack at a time is fitted, not {', '.join(stacks)}.")
    problem = _Problem(runs, tuple(constants))
    spread = problem.spread
    found = least_squares(
        problem.residuals,
        np.maximum(problem.centre if start is None else start, problem.lowest),
        jac=problem.slopes,  # pyright: ignore[reportArgumentType]
        bounds=(problem.lowest, problem.centre + FARTHEST * spread),
        x_scale=spread,
        loss=problem.loss,  # pyright: ignore[reportArgumentType]
    )
    return Fit(
        constants=tuple(constants),
        moves=found.x,
        centre=problem.centre,
        covariance=np.linalg.inv(found.jac.T @ found.jac),
        rows=len(runs.rows),
        models=len({row.model for row in runs.rows}),
    )


def of_requests(constants: Sequence[Constant]) -> bool:
    """Whether constants are fitted that only times to the first token feel."""
    return any(c.path in OF_REQUESTS for c in constants)


def felt(runs: Runs, constants: Sequence[Constant]) -> tuple[Constant, ...]:
    """The constants that change a prediction of the runs, and are not zero there."""
    scalable = [c for c in constants if np.all(_values(c, runs) > 0)]
    problem = _Problem(runs, tuple(scalable))
    slopes = problem.slopes(problem.centre)[: -len(scalable)]
    moving = np.any(slopes != 0, axis=0)
    return tuple(c for c, moves in zip(scalable, moving, strict=True) if moves)


class _Problem:
    """Residuals and slopes, evaluated together and kept for the last point."""

    def __init__(self, runs: Runs, constants: tuple[Constant, ...]) -> None:
        self.runs = runs
        self.paths = tuple(c.path for c in constants)
        self.waiting = of_requests(constants)
        self.belongs = _belongs(constants, runs)
        self.spread = np.array([c.spread for c in constants])
        self.centre = np.array([_centre(c, runs) for c in constants])
        self.lowest = np.array([_lowest(c, runs) for c in constants])
        names = [row.model for row in runs.rows]
        counts = np.array([names.count(name) for name in names])
        self.weights = np.clip(np.sqrt(TYPICAL_ROWS / counts), *WEIGHTS)
        self._last: tuple[bytes, Floats, Floats] | None = None

    def residuals(self, moves: Floats) -> Floats:
        return self._both(moves)[0]

    def slopes(self, moves: Floats) -> Floats:
        return self._both(moves)[1]

    def loss(self, squares: Floats) -> Floats:
        """Soft-L1 of the runs and squares of the priors, with two derivatives."""
        root = np.sqrt(1 + squares)
        table = np.stack([2 * (root - 1), 1 / root, -0.5 / root**3])
        priors = len(self.spread)
        table[:, -priors:] = np.stack(
            [squares[-priors:], np.ones(priors), np.zeros(priors)]
        )
        return table

    def _both(self, moves: Floats) -> tuple[Floats, Floats]:
        key = moves.tobytes()
        if self._last is None or self._last[0] != key:
            self._last = (key, *self._evaluate(moves))
        return self._last[1:]

    def _evaluate(self, moves: Floats) -> tuple[Floats, Floats]:
        found, slopes = forecast_slopes(
            self.runs, paths=self.paths, shifts=moves * self.belongs
        )
        errors, gradients = log_errors(self.runs, found, slopes=slopes)
        known = np.isfinite(errors)
        known[FIRST_TOKEN] &= self.waiting
        scale = self.weights / NOISE
        parts = [np.where(known, errors, 0.0) * scale]
        tables = [
            np.where(known[..., None], gradients, 0.0) * scale[:, None] * self.belongs
        ]
        prior = PRIOR_WEIGHT * (moves - self.centre) / self.spread
        return (
            np.concatenate([*(part.ravel() for part in parts), prior]),
            np.concatenate(
                [
                    *(t.reshape(-1, len(moves)) for t in tables),
                    np.diag(PRIOR_WEIGHT / self.spread),
                ]
            ),
        )


def log_errors(
    runs: Runs, found: Forecast, *, slopes: Forecast
) -> tuple[Floats, Floats]:
    """ln(predicted / measured) of latency, step, power and first token, and its slopes.

    Shapes (4, rows) and (4, rows, constants). Power is that of the same work
    spread over the measured step time, P_s + (P - P_s) T / T_m, at most the TDP;
    NaN where nothing was measured.
    """
    rows = runs.rows
    median = np.array([row.median_latency for row in rows])
    step = np.array([row.step_time for row in rows])
    latency = np.array([row.inter_token_latency for row in rows])
    power = np.array([row.power for row in rows])
    predicted = np.where(median, found.inter_token_latency, found.step_time)
    d_predicted = np.where(
        median[:, None], slopes.inter_token_latency, slopes.step_time
    )
    dynamic = found.power - found.static_power
    at_step = found.static_power + dynamic * found.step_time / step
    d_dynamic = slopes.power - slopes.static_power
    d_at_step = (
        slopes.static_power
        + (
            d_dynamic * np.asarray(found.step_time)[:, None]
            + np.asarray(dynamic)[:, None] * slopes.step_time
        )
        / step[:, None]
    )
    below = at_step < np.asarray(runs.designs.chip.tdp)
    capped = np.where(below, at_step, np.asarray(runs.designs.chip.tdp))
    first = np.asarray(found.time_to_first_token)
    waited = np.array([row.time_to_first_token for row in rows])
    values = np.stack([predicted, np.asarray(found.step_time), capped, first])
    measured = np.stack([latency, step, power, waited])
    d_capped = np.where(below[:, None], d_at_step, 0.0)
    slope = np.stack(
        [d_predicted, slopes.step_time, d_capped, slopes.time_to_first_token]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(values / measured), slope / values[..., None]


def _belongs(constants: Sequence[Constant], runs: Runs) -> Floats:
    """1 where a constant belongs to a run, shape (rows, constants)."""
    return np.array(
        [[not c.tasks or row.task in c.tasks for c in constants] for row in runs.rows],
        float,
    ).reshape(len(runs.rows), len(constants))


def _values(constant: Constant, runs: Runs) -> Floats:
    return np.asarray(get_path(runs.designs, constant.path), float)


def _centre(constant: Constant, runs: Runs) -> float:
    """Middle of the prior, as a move from the value that the runs have."""
    if constant.prior is None:
        return 0.0
    return float(np.log(constant.prior / _values(constant, runs).flat[0]))


def _lowest(constant: Constant, runs: Runs) -> float:
    """Smallest move: three spreads below the centre, or to the lowest value."""
    far = _centre(constant, runs) - FARTHEST * constant.spread
    if not constant.low:
        return far
    return max(far, float(np.log(constant.low / _values(constant, runs).flat[0])))
