"""Which constants of serving stacks and their chips explain measured runs best?

Runs and constants with priors, stack by stack -> fitted values with their covariance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

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
UNFELT = 1e-9  # of a weighted error, which rounding moves by less
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


@dataclass(frozen=True)
class Case:
    """Runs on one stack, and the constants that are fitted to them."""

    runs: Runs
    constants: tuple[Constant, ...]

    def __post_init__(self) -> None:
        own = [c for c in self.constants if c.path.startswith(STACK)]
        if any(np.ptp(_values(c, self.runs)) > 0 for c in own):
            stacks = sorted({stack_of(row) for row in self.runs.rows})
            raise InputError(
                f"runs of one stack make a case, not of {', '.join(stacks)}."
            )


def fit(
    cases: Sequence[Case], *, start: Sequence[Floats] | None = None
) -> tuple[Fit, ...]:
    """Maximum a posteriori constants of stacks, each with runs of its own.

    minimize sum_r rho(w_r ln(pred_r / meas_r) / 0.1) + 9 z^T R^-1 z
    rho(x) = 2 (sqrt(1 + x^2) - 1),  z_c = (ln c - ln prior_c) / spread_c
    over ln latency, ln step time and ln power at the measured step, and ln time to
    the first token where constants of requests are fitted;
    w_r^2 = 15 / rows of the same model in the case, within 0.3 and 3;
    R is 1 on the diagonal and sqrt(k_a k_b) between the same constant of two stacks,
    k its ``common``.

    Assumes: independent errors of rows; the weights keep a model with many rows
    from outvoting the others.
    Source: soft-L1 and weights as in docs/theory/calibration.md; solved by the
    trust-region method of SciPy with exact derivatives.
    """
    problem = _Together(cases)
    found = least_squares(
        problem.residuals,
        np.maximum(
            problem.centre if start is None else np.concatenate(start), problem.lowest
        ),
        jac=problem.slopes,  # pyright: ignore[reportArgumentType]
        bounds=(problem.lowest, problem.centre + FARTHEST * problem.spread),
        x_scale=problem.spread,
        loss=problem.loss,  # pyright: ignore[reportArgumentType]
    )
    covariance = np.linalg.inv(found.jac.T @ found.jac)
    return tuple(
        Fit(
            constants=case.constants,
            moves=found.x[place],
            centre=problem.centre[place],
            covariance=covariance[place, place],
            rows=len(case.runs.rows),
            models=len({row.model for row in case.runs.rows}),
        )
        for case, place in zip(cases, problem.places, strict=True)
    )


def of_requests(constants: Sequence[Constant]) -> bool:
    """Whether constants are fitted that only times to the first token feel."""
    return any(c.path in OF_REQUESTS for c in constants)


def felt(runs: Runs, constants: Sequence[Constant]) -> tuple[Constant, ...]:
    """The constants that change a prediction of the runs, and are not zero there."""
    scalable = tuple(c for c in constants if np.all(_values(c, runs) > 0))
    _, slopes = _Measured(Case(runs, scalable)).errors(_centres(scalable, runs))
    moving = np.max(np.abs(slopes), axis=0) > UNFELT
    return tuple(c for c, moves in zip(scalable, moving, strict=True) if moves)


class _Together:
    """Residuals of all cases and of the priors, and their slopes."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases = [_Measured(case) for case in cases]
        ends = np.cumsum([0, *(len(case.constants) for case in cases)])
        self.places = [slice(*pair) for pair in pairwise(map(int, ends))]
        constants = [c for case in cases for c in case.constants]
        self.spread = np.array([c.spread for c in constants])
        self.centre = np.concatenate([_centres(c.constants, c.runs) for c in cases])
        self.lowest = np.concatenate(
            [[_lowest(c, case.runs) for c in case.constants] for case in cases]
        )
        root = np.linalg.cholesky(_prior_covariance(constants))
        self.prior = np.asarray(PRIOR_WEIGHT * np.linalg.inv(root), np.float64)

    def residuals(self, moves: Floats) -> Floats:
        parts = [
            case.errors(moves[place])[0]
            for case, place in zip(self.cases, self.places, strict=True)
        ]
        return np.concatenate([*parts, self.prior @ (moves - self.centre)])

    def slopes(self, moves: Floats) -> Floats:
        parts: list[Floats] = []
        for case, place in zip(self.cases, self.places, strict=True):
            own = case.errors(moves[place])[1]
            parts.append(np.zeros((len(own), len(moves))))
            parts[-1][:, place] = own
        return np.concatenate([*parts, self.prior])

    def loss(self, squares: Floats) -> Floats:
        """Soft-L1 of the runs and squares of the priors, with two derivatives."""
        root = np.sqrt(1 + squares)
        table = np.stack([2 * (root - 1), 1 / root, -0.5 / root**3])
        priors = len(self.spread)
        table[:, -priors:] = np.stack(
            [squares[-priors:], np.ones(priors), np.zeros(priors)]
        )
        return table


class _Measured:
    """Weighted errors of the runs of a case, kept for the last point."""

    def __init__(self, case: Case) -> None:
        self.runs = case.runs
        self.paths = tuple(c.path for c in case.constants)
        self.waiting = of_requests(case.constants)
        self.belongs = _belongs(case.constants, case.runs)
        names = [row.model for row in case.runs.rows]
        counts = np.array([names.count(name) for name in names])
        self.weights = np.clip(np.sqrt(TYPICAL_ROWS / counts), *WEIGHTS)
        self._last: tuple[bytes, Floats, Floats] | None = None

    def errors(self, moves: Floats) -> tuple[Floats, Floats]:
        """w ln(pred / meas) / 0.1 of all metrics and rows, and its slopes."""
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
        scaled = np.where(known, errors, 0.0) * scale
        bent = np.where(known[..., None], gradients, 0.0)
        bent = bent * scale[:, None] * self.belongs
        return scaled.ravel(), bent.reshape(-1, len(moves))


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


def _centres(constants: Sequence[Constant], runs: Runs) -> Floats:
    return np.array([_centre(c, runs) for c in constants])


def _prior_covariance(constants: Sequence[Constant]) -> Floats:
    """Of the logarithms of all constants of all cases."""
    spread = np.array([c.spread for c in constants])
    share = np.sqrt([c.common for c in constants])
    same = np.array([[a.label == b.label for b in constants] for a in constants])
    together = same * np.outer(share, share)
    np.fill_diagonal(together, 1.0)
    return together * np.outer(spread, spread)


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
