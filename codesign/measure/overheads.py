"""Which overheads of the software explain the measured runs?

Runs that were served -> the constants of a stack that the model is linear in.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from codesign.calibrate.forecast import forecast
from codesign.calibrate.runs import Runs

Floats = NDArray[np.float64]
FACTORS: tuple[str, ...] = (
    "time_factor_16bit",
    "time_factor_8bit",
    "time_factor_8bit_block",
    "time_factor_4bit",
    "time_factor_nvfp4",
    "time_factor_int4",
)
TIMES: tuple[str, ...] = (
    "layer_time",
    "expert_layer_time",
    "step_time",
    "sequence_time",
)
EXPERT_TIMES: tuple[str, ...] = ("expert_layer_time",)
UNIT = 1e-3  # seconds by which a time is moved to see what it does
LEAST_FACTOR, MOST_FACTOR = 0.1, 1e3
NOTHING = 1e-12  # seconds; what the solver leaves of a time at its bound
PRIOR = 0.03  # weight of "kernels reach their rates" against one run


@dataclass(frozen=True)
class Overheads:
    """Fitted constants by name, and ln(measured / predicted) of every time used."""

    constants: dict[str, float]
    errors: Floats


def fit_overheads(runs: Runs) -> Overheads:
    """Least squares of relative errors of the median and the mean step.

    t = t_rest + x W + x_e E + layers t_l + expert layers t_e + t_s + B t_q

    with W the roofline of weights and caches and E that of routed experts. Times
    are not negative; x has a weak prior of 1, so that few runs suffice. One
    compiled program gives every column, because the model is linear in them.
    """
    quiet = _with(runs, {**dict.fromkeys(TIMES, 0.0), "expert_factor": 1.0})
    quiet = _with(quiet, {**dict.fromkeys(FACTORS, 1.0), "attention_factor": 1.0})
    base = _times(quiet)
    experts = _times(_with(quiet, {"expert_factor": 2.0})) - base
    doubled = dict.fromkeys((*FACTORS, "attention_factor"), 2.0)
    others = _times(_with(quiet, doubled)) - base - experts
    columns = [others, experts] if np.any(experts) else [others]
    names = [name for name in TIMES if np.any(experts) or name not in EXPERT_TIMES]
    columns += [(_times(_with(quiet, {n: UNIT})) - base) / UNIT for n in names]
    measured = _measured(runs)
    rest = base - others - (experts if np.any(experts) else 0.0)
    solution = _solve(np.stack(columns, -1), measured, rest=rest, times=len(names))
    factors = solution[: len(columns) - len(names)]
    constants = dict.fromkeys((*FACTORS, "attention_factor"), float(factors[0]))
    constants["expert_factor"] = float(factors[-1] / factors[0])
    constants |= dict.fromkeys(TIMES, 0.0)
    constants |= zip(names, map(float, solution[len(factors) :]), strict=True)
    predicted = rest + np.stack(columns, -1) @ solution
    return Overheads(constants=constants, errors=np.log(measured / predicted))


def _solve(table: Floats, measured: Floats, *, rest: Floats, times: int) -> Floats:
    factors = table.shape[1] - times
    prior = PRIOR * np.eye(table.shape[1])[:factors]
    scale = np.concatenate([np.ones(factors), np.full(times, UNIT)])
    left = np.concatenate([table / measured[:, None], prior]) * scale
    right = np.concatenate([(measured - rest) / measured, PRIOR * np.ones(factors)])
    low = np.concatenate([np.full(factors, LEAST_FACTOR), np.zeros(times)])
    high = np.concatenate([np.full(factors, MOST_FACTOR), np.full(times, np.inf)])
    found = lsq_linear(left, right, bounds=(low, high)).x * scale
    return np.where(found < NOTHING, 0.0, found)


def _with(runs: Runs, values: dict[str, float]) -> Runs:
    stack = runs.designs.stack
    filled = {k: np.full_like(getattr(stack, k), v) for k, v in values.items()}
    designs = runs.designs.replace(stack=stack.replace(**filled))
    return Runs(runs.rows, designs, runs.loads, technology=runs.technology)


def _times(runs: Runs) -> Floats:
    found = forecast(runs)
    parts = (found.inter_token_latency, found.step_time)
    return np.concatenate([np.asarray(part, float) for part in parts])


def _measured(runs: Runs) -> Floats:
    rows = runs.rows
    latency = [row.inter_token_latency for row in rows]
    return np.array([*latency, *(row.step_time for row in rows)], float)
